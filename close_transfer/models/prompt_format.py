"""Text as a language model wants it: what stands around the vector's tokens, and how a target ends.

    encoder-decoder   reads  [vector] prompt </s>            writes  target </s>
    plain             reads  <bos> [vector] prompt           writes  target <eos>
    chat              reads  user turn with [vector] prompt  writes  target, end of the turn

`<bos>` stands there only for families whose tokenizer puts it there. Every target ends with a token that
ends generation, so that the model learns where to stop.
"""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from close_transfer.core.errors import UserError

Format = Literal["encoder-decoder", "plain", "chat"]

# Stands for the vector while a chat template is rendered; no template changes it and no text holds it.
_VECTOR, _ANSWER = "\u2063vector\u2063", "\u2063answer\u2063"
_SPACE_MARKS = ("▁", "Ġ")  # what SentencePiece and byte-level BPE write for a space before a word


class TextFormat:
    """Token ids of prompts and targets for one language model.

    Attributes:
        kind: see the module.
        before: ids in front of the vector's tokens.
        end: the id that ends a target.
        padding: an id for places that masks hide.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, kind: Format) -> None:
        """Reads the family's special tokens off its tokenizer.

        Raises:
            UserError: if the tokenizer has no end token or no vocabulary, or its chat template cannot be used.
        """
        if tokenizer.eos_token_id is None:
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path} has no end token, so no text could end; set its eos_token "
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
        if first_token is None:  # what transformers makes of a folder without a tokenizer's files
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path} knows no text, as if its files were missing; save the model's "
                "tokenizer into the same folder"
            )
        # A word that goes on from a prompt has a space before it; some tokenizers put it there unasked.
        self._joint = " " if kind == "plain" and not first_token.startswith(_SPACE_MARKS) else ""

    def _read_template(self) -> None:
        """What the template writes before and after a user's words, and behind an answer."""
        question = {"role": "user", "content": _VECTOR}
        try:
            rendered_question = self._render([question], add_generation_prompt=True)
            rendered_answer = self._render([question, {"role": "assistant", "content": _ANSWER}])
            before, self._after = rendered_question.split(_VECTOR)
            after_answer = rendered_answer.split(_ANSWER)[1]
        except Exception as error:  # templates are programs and raise what they like
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"the chat template of {self.tokenizer.name_or_path} cannot be used ({reason}); give lm.format=plain"
            ) from error
        self.before = tuple(self._tokenize(before))
        # Not all that a tokenizer treats as special stands in its list of special ids.
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

    def prompt_ids(self, prompt: str, max_tokens: int) -> tuple[list[int], bool]:
        """What stands behind the vector's tokens, and whether the prompt was cut to `max_tokens` tokens.

        What a chat template adds is not counted. An empty prompt is no token, not even the end.
        """
        if self.kind == "encoder-decoder":
            ids = self.tokenizer(prompt).input_ids if prompt else []
            return truncate_ids(ids, max_tokens), len(ids) > max_tokens
        ids = self._tokenize(prompt) if prompt else []
        after = self._tokenize(self._after) if self._after else []
        return [*ids[:max_tokens], *after], len(ids) > max_tokens

    def target_ids(self, target: str, max_tokens: int, prompt: str = "") -> tuple[list[int], bool]:
        """A target with its end token, and whether it was cut to `max_tokens` tokens; the end token stays.

        Args:
            target: what is to be written.
            max_tokens: tokens, the end token among them.
            prompt: what stands before it.
        """
        if self.kind == "encoder-decoder":
            ids = self.tokenizer(target).input_ids
        else:
            ids = [*self._tokenize(self._joint * bool(prompt) + target), self.end]
        return truncate_ids(ids, max_tokens), len(ids) > max_tokens

    def text(self, ids: Tensor) -> list[str]:
        """What was written, special tokens left out; `ids` of shape (texts, tokens)."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]


def truncate_ids(ids: list[int], max_tokens: int) -> list[int]:
    """At most so many ids; the last one, the end token, stays."""
    return ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]]
