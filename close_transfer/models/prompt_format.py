"""Text formats: the tokens around the vector's tokens, and the end of a target.

    encoder-decoder   reads  [vector] prompt </s>            writes  target </s>
    plain             reads  <bos> [vector] prompt           writes  target <eos>
    chat              reads  user turn with [vector] prompt  writes  target, end of the turn

`<bos>` is there only for families whose tokenizer adds it. Every target ends with a token that ends
generation, so that the model learns where to stop.
"""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from close_transfer.core.errors import UserError, get_first_line

Format = Literal["encoder-decoder", "plain", "chat"]

# Placeholder for the vector while a chat template is rendered; no template changes it and no text holds it.
_VECTOR, _ANSWER = "\u2063vector\u2063", "\u2063answer\u2063"
_AT_ONCE = 4096  # texts per call of the tokenizer, which holds several lists per text until it returns
_SPACE_MARKS = ("▁", "Ġ")  # SentencePiece's and byte-level BPE's marks for a space before a word


class TextFormat:
    """Token ids of prompts and targets for one language model.

    Attributes:
        kind: "encoder-decoder", "plain" or "chat"; see the module.
        before: ids before the vector's tokens.
        end: the id that ends a target.
        padding: an id for positions that masks hide.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, kind: Format) -> None:
        """Read the family's special tokens from its tokenizer.

        Raises:
            UserError: if the tokenizer has no end token or no vocabulary, or its chat template cannot be used.
        """
        if tokenizer.eos_token_id is None:
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path} has no end token, so generation could not stop. Set its eos_token "
                "and save it with the model"
            )
        self.kind = kind
        self.tokenizer = tokenizer
        self.end: int = tokenizer.eos_token_id
        self.padding: int = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._after = ""
        self.before: tuple[int, ...] = ()
        if kind == "plain":
            first_ids = tokenizer("").input_ids[:1]
            self.before = tuple(first_ids) if first_ids == [tokenizer.bos_token_id] else ()
        elif kind == "chat":
            self._read_template()
        first_token = next(iter(tokenizer.tokenize("a")), None)
        if first_token is None:  # transformers makes such a tokenizer from a folder without tokenizer files
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path} has no vocabulary, as if its files were missing. Save the model's "
                "tokenizer into the same folder"
            )
        # A word that continues a prompt begins with a space; some tokenizers add it by themselves.
        self._joint = " " if kind == "plain" and not first_token.startswith(_SPACE_MARKS) else ""

    def _read_template(self) -> None:
        """Return the template's ids before and after a user's words, and the id after an answer."""
        question = {"role": "user", "content": _VECTOR}
        try:
            rendered_question = self._render([question], add_generation_prompt=True)
            rendered_answer = self._render([question, {"role": "assistant", "content": _ANSWER}])
            before, self._after = rendered_question.split(_VECTOR)
            after_answer = rendered_answer.split(_ANSWER)[1]
        except Exception as error:  # templates are programs and may raise anything
            raise UserError(
                f"the chat template of {self.tokenizer.name_or_path} cannot be used ({get_first_line(error)}). Give lm.format=plain"
            ) from error
        self.before = tuple(self._tokenize(before))
        # A tokenizer's list of special ids may lack some that it treats as special.
        added = self.tokenizer.added_tokens_decoder
        special = {*self.tokenizer.all_special_ids, *(token_id for token_id, token in added.items() if token.special)}
        ends = [token_id for token_id in self._tokenize(after_answer) if token_id in special]
        self.end = ends[0] if ends else self.end

    def _render(self, messages: Sequence[dict[str, str]], **settings: Any) -> str:
        text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, enable_thinking=False, **settings)
        assert isinstance(text, str)
        return text

    def _tokenize(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def _tokenize_all(self, texts: Sequence[str], add_special_tokens: bool = False) -> list[list[int]]:
        """Tokenize each distinct text once; an empty text has no token, not even an end token."""
        distinct = list(dict.fromkeys(filter(None, texts)))
        ids_of: dict[str, list[int]] = {"": []}
        for start in range(0, len(distinct), _AT_ONCE):
            part = distinct[start : start + _AT_ONCE]
            encoded = self.tokenizer(part, add_special_tokens=add_special_tokens, return_attention_mask=False)
            ids_of.update(zip(part, encoded.input_ids, strict=True))
        return [ids_of[text] for text in texts]

    def encode_prompt(self, prompt: str, max_tokens: int) -> tuple[list[int], bool]:
        """Return the ids after the vector's tokens, and True if the prompt was cut to `max_tokens` tokens.

        Tokens that a chat template adds are not counted. An empty prompt has no token, not even an end token.
        """
        return self.encode_prompts([prompt], max_tokens)[0]

    def encode_prompts(self, prompts: Sequence[str], max_tokens: int) -> list[tuple[list[int], bool]]:
        """Return what `encode_prompt` returns for each of many prompts; one call is faster than many."""
        if self.kind == "encoder-decoder":
            encoded = self._tokenize_all(prompts, add_special_tokens=True)
            return [(truncate_ids(ids, max_tokens), len(ids) > max_tokens) for ids in encoded]
        after = self._tokenize(self._after) if self._after else []
        return [([*ids[:max_tokens], *after], len(ids) > max_tokens) for ids in self._tokenize_all(prompts)]

    def encode_target(self, target: str, max_tokens: int, prompt: str = "") -> tuple[list[int], bool]:
        """Return a target's ids with its end token, and True if it was cut to `max_tokens` tokens; the end token stays.

        Args:
            target: text to be written.
            max_tokens: maximum number of tokens, including the end token.
            prompt: text before the target.
        """
        return self.encode_targets([target], max_tokens, [prompt])[0]

    def encode_targets(
        self, targets: Sequence[str], max_tokens: int, prompts: Sequence[str]
    ) -> list[tuple[list[int], bool]]:
        """Return what `encode_target` returns for each of many targets and its prompt; one call is faster than many."""
        if self.kind == "encoder-decoder":
            no_text = self.tokenizer("").input_ids if "" in targets else []
            encoded = [ids or no_text for ids in self._tokenize_all(targets, add_special_tokens=True)]
        else:
            joined = [self._joint * bool(prompt) + text for text, prompt in zip(targets, prompts, strict=True)]
            encoded = [[*ids, self.end] for ids in self._tokenize_all(joined)]
        return [(truncate_ids(ids, max_tokens), len(ids) > max_tokens) for ids in encoded]

    def decode(self, ids: Tensor) -> list[str]:
        """Decode generated `ids`, shape (texts, tokens), without special tokens."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]


def truncate_ids(ids: list[int], max_tokens: int) -> list[int]:
    """Cut to at most `max_tokens` ids; the last one, the end token, stays."""
    return ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]]
