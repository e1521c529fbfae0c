"""Few-shot visual question answering with a frozen language model.

This is the evaluation of LiMBeR (arXiv 2209.15162, section 4.1), after Frozen (Tsimpoukelli et al. 2021, arXiv
2106.13884): the prompt interleaves images, each as the mapper's tokens, with their questions and answers in words, and
ends with the question to answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import Float32Array
from close_transfer.core.errors import UserError
from close_transfer.models.lm_wrappers import Context, check_positions
from close_transfer.models.network import TransferNetwork
from close_transfer.models.prompt_format import TextFormat

# Tokens of a question or an answer. Nothing is cut, because the positions of the whole prompt are checked instead.
_NO_LIMIT = 10_000


@dataclass(frozen=True)
class Shot:
    """A question about a scene, with or without its answer.

    Attributes:
        vector: raw vector of the encoder, shape (dim,), or a grid, shape (cells, dim).
        question: text of the question.
        answer: text of the answer; empty for the question to answer.
        input_modality: modality that the vector comes from.
    """

    vector: Float32Array
    question: str
    answer: str = ""
    input_modality: InputModality = "image"


class FewShotAnswerer:
    """Greedy decoder of answers to questions that follow answered ones."""

    def __init__(
        self,
        network: TransferNetwork,
        tokenizer: PreTrainedTokenizerBase,
        form: str = "question: {question} answer:",
        max_new_tokens: int = 8,
        max_words: int | None = None,
    ) -> None:
        """Prepare a captioner for prompts with several images.

        Args:
            network: a captioner with a decoder-only language model.
            tokenizer: tokenizer of its language model.
            form: template of a question, with `{question}` in it.
            max_new_tokens: maximum number of tokens to generate.
            max_words: words that the answer is cut to, for a language model that continues with other text; None
                keeps the text up to the first line break or the next question.

        Raises:
            UserError: if the language model has an encoder, so it cannot read images between words.
        """
        if network.config.text_format["kind"] == "encoder-decoder":
            raise UserError(
                "a few-shot prompt has images between its words, and this model's language model has an encoder, which "
                "cannot read them. Use a run with a decoder-only language model, such as lm=gpt2"
            )
        self._network = network.eval()
        self._format = TextFormat(tokenizer, "plain")
        self._form = form
        self._max_new_tokens = max_new_tokens
        self._max_words = max_words

    @torch.inference_mode()
    def answer(self, prompts: Sequence[Sequence[Shot]], batch_size: int = 64) -> list[str]:
        """Answer the last question of each prompt.

        Args:
            prompts: for each prompt, answered shots, then the one to answer.
            batch_size: prompts per batch.

        Raises:
            UserError: if a prompt and its answer may need more positions than the language model has.
        """
        answers: list[str] = []
        for start in tqdm(range(0, len(prompts), batch_size), desc="answering", unit="batch"):
            answers += self._answer_batch(prompts[start : start + batch_size])
        return answers

    def _answer_batch(self, prompts: Sequence[Sequence[Shot]]) -> list[str]:
        rows = [
            torch.cat([self._embed_beginning(), *(part for shot in prompt for part in self._embed_shot(shot))])
            for prompt in prompts
        ]
        longest = max(map(len, rows))
        check_positions(self._network.lm, longest, self._max_new_tokens, "Give fewer shots, or shorter questions")
        # Padding is on the left, because a decoder continues from the last token of each row.
        states = torch.stack([torch.cat([row.new_zeros(longest - len(row), row.shape[1]), row]) for row in rows])
        mask = torch.stack([torch.arange(longest) >= longest - len(row) for row in rows]).long().to(states.device)
        output = self._network.conditioning.generate(
            self._network.lm,
            Context(states, mask),
            max_new_tokens=self._max_new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=self._format.padding,
            eos_token_id=self._format.end,
        )
        beginning = self._form.partition("{question}")[0].strip()
        texts = self._format.decode(self._network.conditioning.extract_generated(output))
        answers = (text.split("\n")[0] for text in texts)
        first_answers = (answer.partition(beginning)[0] if beginning else answer for answer in answers)
        return [" ".join(answer.split()[: self._max_words]) for answer in first_answers]

    def _embed_beginning(self) -> Tensor:
        """Return the embedded tokens that begin any text, as in training; shape (tokens, h), often zero tokens."""
        ids = torch.tensor(self._format.before, dtype=torch.long, device=self._network.device)
        return self._network.lm.get_input_embeddings()(ids)

    def _embed_shot(self, shot: Shot) -> tuple[Tensor, Tensor]:
        """Return the mapper's tokens and the embedded words after them; shape (tokens, h) each."""
        network = self._network
        vector = torch.from_numpy(np.asarray(shot.vector, dtype=np.float32))[None].to(network.device)
        embeddings = network.lm.get_input_embeddings()
        prefix = network.mapper(network.adapt(vector, shot.input_modality))[0]
        question = self._form.format(question=shot.question)
        ids = self._format.encode_prompt(question, _NO_LIMIT)[0]
        if shot.answer:  # without its end token, because the next shot follows
            ids = [*ids, *self._format.encode_target(shot.answer, _NO_LIMIT, question)[0][:-1]]
        words = embeddings(torch.tensor(ids, device=network.device))
        return prefix.to(words.dtype), words


def build_prompts(supports: Sequence[Shot], questions: Sequence[Shot], num_shots: int, seed: int) -> list[list[Shot]]:
    """Build a prompt per question: `num_shots` answered shots, drawn anew for each question, then the question.

    Args:
        supports: answered shots to draw from, of the training split.
        questions: shots to answer.
        num_shots: answered shots per prompt; 0 or more.
        seed: seed of the draws.
    """
    rng = np.random.default_rng(seed)
    return [
        [*(supports[i] for i in rng.choice(len(supports), num_shots, replace=False)), question]
        for question in questions
    ]
