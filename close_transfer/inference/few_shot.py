"""Questions about images answered by a frozen language model that sees a few answered ones first.

LiMBeR's evaluation (arXiv 2209.15162, section 4.1), after Frozen (Tsimpoukelli et al. 2021, arXiv 2106.13884): what is in
front of the question is a row of images, each as the mapper's tokens, with their questions and answers in words.
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


@dataclass(frozen=True)
class Shot:
    """A raw vector, shape ([k,] dim), with a question and, where it was answered, the answer; `input_modality`: of the vector."""

    vector: Float32Array
    question: str
    answer: str = ""
    input_modality: InputModality = "image"


class FewShot:
    """Answers questions after some answered ones, by greedy decoding."""

    def __init__(
        self,
        network: TransferNetwork,
        tokenizer: PreTrainedTokenizerBase,
        form: str = "question: {question} answer:",
        max_new_tokens: int = 8,
        max_words: int | None = None,
    ) -> None:
        """Takes a model apart for prompts of several images.

        Args:
            network: a captioner.
            tokenizer: of its language model.
            form: the words around a question.
            max_new_tokens: tokens that are written.
            max_words: words of them that are the answer, for a language model that goes on with something else; None:
                up to the first line break or the next question.

        Raises:
            UserError: if the language model is no decoder only, which cannot read images between words.
        """
        if network.config.text_format["kind"] == "encoder-decoder":
            raise UserError(
                "few-shot prompts put images between words, which needs a language model that is a decoder only"
            )
        self._network = network.eval()
        self._format = TextFormat(tokenizer, "plain")
        self._form = form
        self._max_new_tokens = max_new_tokens
        self._max_words = max_words

    @torch.inference_mode()
    def answers(self, prompts: Sequence[Sequence[Shot]], batch_size: int = 64) -> list[str]:
        """The answer to the last question of each prompt.

        Args:
            prompts: answered shots, then the one to be answered.
            batch_size: prompts at once.
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
        check_positions(self._network.lm, longest + self._max_new_tokens, "give fewer shots, or shorter questions")
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
        """What the language model expects in front of any text, as in training; shape (tokens, h), often none."""
        ids = torch.tensor(self._format.before, dtype=torch.long, device=self._network.device)
        return self._network.lm.get_input_embeddings()(ids)

    def _embed_shot(self, shot: Shot) -> tuple[Tensor, Tensor]:
        """The mapper's tokens, and those of the words behind them; shape (tokens, h) each."""
        network = self._network
        vector = torch.from_numpy(np.asarray(shot.vector, dtype=np.float32))[None].to(network.device)
        embeddings = network.lm.get_input_embeddings()
        prefix = network.mapper(network.adapter(vector, shot.input_modality))[0]
        ids = self._format.encode_prompt(self._form.format(question=shot.question), 10_000)[0]
        if shot.answer:
            ids = [*ids, *self._format.encode_target(shot.answer, 10_000, "before it")[0][:-1]]
        words = embeddings(torch.tensor(ids, device=network.device))
        return prefix.to(words.dtype), words


def build_prompts(supports: Sequence[Shot], questions: Sequence[Shot], num_shots: int, seed: int) -> list[list[Shot]]:
    """Each question behind so many answered ones, drawn for each anew.

    Args:
        supports: answered, of the training split.
        questions: to be answered.
        num_shots: answered ones in front of each; 0 or more.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    return [
        [*(supports[i] for i in rng.choice(len(supports), num_shots, replace=False)), question]
        for question in questions
    ]
