"""Decoding of scene vectors: text by beam search or sampling, labels by their likelihood."""

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, __version__

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import Float32Array, IntArray
from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError
from close_transfer.data.examples import Prediction
from close_transfer.encoders.out_of_memory import advise_halving, explain_lack_of_memory
from close_transfer.inference.beam_search import SearchSettings, search_beams
from close_transfer.inference.decoding_precision import decode_in
from close_transfer.inference.journal import PredictionJournal, parse_prediction
from close_transfer.inference.label_scores import LabelIds, score_labels, score_many_labels, score_rows
from close_transfer.models.lm_wrappers import Context, check_positions
from close_transfer.models.network import TransferNetwork
from close_transfer.models.prompt_format import TextFormat
from close_transfer.models.token_trees import has_token_tree
from close_transfer.training.ragged import Ragged


@dataclass(frozen=True)
class Decoding:
    """Settings of the decoding.

    Attributes:
        num_beams: number of beams of the beam search; 1 is greedy.
        num_return: candidates per answer, likeliest first; at most `num_beams` in beam search.
        top_p: share of the probability that the sampled tokens hold together, above 0 and at most 1 (nucleus sampling,
            Holtzman et al. 2019, arXiv 1904.09751); None uses beam search.
        temperature: temperature of sampling.
        seed: seed of sampling.
        precision: precision of matrix products, except the logits; weights stay as they are.
    """

    num_beams: int
    num_return: int = 1
    top_p: float | None = None
    temperature: float = 1.0
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if self.top_p is not None and self.num_beams != 1:
            raise UserError(
                f"top_p={self.top_p} samples and num_beams={self.num_beams} searches, so they cannot be combined. Give "
                "num_beams=1 to sample, or leave top_p out"
            )
        if self.top_p is None and self.num_return > self.num_beams:
            raise UserError(
                f"num_return={self.num_return} is more than num_beams={self.num_beams}. Raise num_beams, or sample "
                "with top_p=0.9 num_beams=1"
            )

    def build_generate_arguments(self) -> dict[str, Any]:
        """Return these settings as keyword arguments of transformers' `generate`."""
        common = {"num_beams": self.num_beams, "num_return_sequences": self.num_return}
        if self.top_p is None:
            return {**common, "do_sample": False}
        # transformers' own default, top_k=50, would cut the nucleus short.
        return {**common, "do_sample": True, "top_p": self.top_p, "top_k": 0, "temperature": self.temperature}


# Returns the raw vectors, shape (rows, dim), of positions of examples.
GatherVectors = Callable[[IntArray], Float32Array]


class Decoder:
    """Decoder of a trained model: searches or samples answers, and scores a task's labels."""

    def __init__(
        self,
        model: TransferNetwork,
        tokenizer: PreTrainedTokenizerBase,
        decoding: Decoding,
        batch_size: int = 64,
        input_modality: InputModality = "image",
    ) -> None:
        """Set up the decoder.

        Args:
            model: network, which is switched to evaluation mode.
            tokenizer: tokenizer of its language model.
            decoding: settings of the decoding.
            batch_size: examples per batch.
            input_modality: modality that the vectors come from, because some adapters treat images and texts
                differently.
        """
        self._model = model.eval()
        self._format = TextFormat(tokenizer, model.config.text_format["kind"])
        self._decoding = decoding
        self._batch_size = batch_size
        self._input_modality: InputModality = input_modality
        self._max_prompt = model.config.task["max_prompt_tokens"]
        self._max_new = model.config.task["max_target_tokens"]

    @property
    def key(self) -> dict[str, Any]:
        """Return everything but weights and inputs that an answer depends on, for the key of a journal."""
        # Batch size, device and versions are in it, because each can change the last digits of a score.
        return {
            **asdict(self._decoding),
            "batch_size": self._batch_size,
            "input_modality": self._input_modality,
            "device": self._model.device.type,
            "versions": {"torch": torch.__version__, "transformers": __version__},
        }

    def predict(
        self,
        ids: Sequence[str],
        vectors: GatherVectors,
        prompts: Sequence[str],
        labels: Sequence[str] = (),
        journal: PredictionJournal | None = None,
    ) -> list[Prediction]:
        """Answer all examples, in batches of prompts of similar length; return the answers in the examples' order.

        Args:
            ids: identifiers of the examples.
            vectors: returns raw scene vectors, shape (rows, dim), for positions of examples.
            prompts: a prompt per example; empty for examples without one.
            labels: labels to score by likelihood in addition to the generated text; empty if the task has none.
            journal: batches that were answered before a kill; the other answers are added to it.
        """
        # Similar lengths share a batch, so little is padding. The sort is stable, so the batches are the same again.
        order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
        predictions: dict[int, Prediction] = {}
        answered = dict(journal.read_batches()) if journal else {}
        with tqdm(total=len(ids), unit="example", desc="decoding") as bar:
            for start in range(0, len(order), self._batch_size):
                rows = order[start : start + self._batch_size]
                if start in answered:
                    batch = [parse_prediction(fields) for fields in answered.pop(start)]
                    bar.initial += len(rows)  # tqdm leaves these out of the rate
                else:
                    batch = self.predict_batch(
                        [ids[r] for r in rows], vectors(rows), [prompts[r] for r in rows], labels
                    )
                    if journal:
                        journal.append(start, [asdict(prediction) for prediction in batch])
                predictions.update(zip(rows.tolist(), batch, strict=True))
                bar.update(len(rows))
        return [predictions[row] for row in range(len(ids))]

    def predict_batch(
        self, ids: Sequence[str], vectors: Float32Array, prompts: Sequence[str], labels: Sequence[str]
    ) -> list[Prediction]:
        """Answer one batch.

        Args:
            ids: identifiers of the examples.
            vectors: raw scene vectors, shape (rows, dim), or (rows, cells, dim) for grids.
            prompts: a prompt per example; empty for examples without one.
            labels: labels to score by likelihood; empty if the task has none.

        Raises:
            UserError: if prompt and answer may need more positions than the language model has, or a GPU's memory is too
                small.
        """
        work = f"answering {self._batch_size} examples at a time with num_beams={self._decoding.num_beams}"
        with (
            explain_lack_of_memory(work, advise_halving("batch_size", self._batch_size)),
            decode_in(self._decoding.precision, self._model.lm),
        ):
            return self._answer(ids, vectors, prompts, labels)

    def _answer(
        self, ids: Sequence[str], vectors: Float32Array, prompts: Sequence[str], labels: Sequence[str]
    ) -> list[Prediction]:
        context = self._read(vectors, prompts)
        remedy = "Give shorter prompts, or train with a smaller task.max_prompt_tokens"
        check_positions(self._model.lm, context.states.shape[1], self._max_new, remedy)
        label_scores = None
        if labels:
            label_ids = self._encode_labels(prompts, labels, self._max_new)
            label_scores = score_labels(self._model.lm, self._model.conditioning, context, label_ids)
        with torch.random.fork_rng(enabled=self._decoding.top_p is not None):
            # Each batch has its own seed, so it is sampled the same whether or not batches before it came from a journal.
            if self._decoding.top_p is not None:
                torch.manual_seed(int(fingerprint([str(self._decoding.seed), *ids])[:15], 16))
            texts, scores = self._generate(context)
        predictions = []
        for row, example_id in enumerate(ids):
            count = self._decoding.num_return
            candidate_rows = sorted(range(row * count, (row + 1) * count), key=lambda candidate: -scores[candidate])
            label, likelihoods = "", ()
            if label_scores is not None:
                label, likelihoods = labels[int(label_scores[row].argmax())], tuple(label_scores[row].tolist())
            predictions.append(
                Prediction(
                    example_id,
                    tuple(texts[candidate] for candidate in candidate_rows),
                    tuple(scores[candidate] for candidate in candidate_rows),
                    label,
                    likelihoods,
                )
            )
        return predictions

    def score_texts(
        self, vectors: Float32Array, prompts: Sequence[str], texts: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Return the log-likelihood of each given text, summed over its tokens with the end token, in nats.

        Args:
            vectors: raw scene vectors, shape (rows, dim), or (rows, cells, dim) for grids.
            prompts: a prompt per row; empty without one.
            texts: texts of each row, as the model learned to write them; none is cut.

        Raises:
            UserError: if prompt and text may need more positions than the language model has.
        """
        rows = [row for row, group in enumerate(texts) for _ in group]
        written = [text for group in texts for text in group]
        ids = [
            target for target, _ in self._format.encode_targets(written, sys.maxsize, [prompts[row] for row in rows])
        ]
        with decode_in(self._decoding.precision, self._model.lm):
            context = self._read(vectors, prompts)
            check_positions(self._model.lm, context.states.shape[1], max(map(len, ids)), "Give shorter texts")
            selected = context.select(torch.tensor(rows, device=context.states.device))
            likelihoods = iter(score_rows(self._model.lm, self._model.conditioning, selected, ids).tolist())
        return [list(itertools.islice(likelihoods, len(group))) for group in texts]

    def score_every_text(self, vectors: Float32Array, prompts: Sequence[str], texts: Sequence[str]) -> Tensor:
        """Return the log-likelihood of every text for every row, shape (rows, texts); the rest is as for `score_texts`.

        The texts share a row's context, and tokens that begin several of them are computed once.
        """
        ids = self._encode_labels(prompts, texts, sys.maxsize)
        longest = max(len(text) for row in ids for text in row)
        with decode_in(self._decoding.precision, self._model.lm):
            context = self._read(vectors, prompts)
            check_positions(self._model.lm, context.states.shape[1], longest, "Give shorter texts")
            return score_many_labels(self._model.lm, self._model.conditioning, context, ids)

    def _read(self, vectors: Float32Array, prompts: Sequence[str]) -> Context:
        states = torch.from_numpy(vectors).to(self._model.device)
        return self._model.read(states, *self._encode_prompts(prompts), self._input_modality)

    def _encode_prompts(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = Ragged.from_rows([ids for ids, _ in self._format.encode_prompts(prompts, self._max_prompt)])
        ids, mask = rows.pad_with_mask(range(len(rows)), self._format.padding)
        return ids.to(self._model.device), mask.to(self._model.device)

    def _generate(self, context: Context) -> tuple[list[str], list[float]]:
        """Return texts and their scores, log-probability per token, `num_return` per example in order."""
        if self._decoding.top_p is not None or not has_token_tree(self._model.lm):
            return self._generate_by_transformers(context)
        settings = SearchSettings(
            self._decoding.num_beams,
            self._decoding.num_return,
            self._max_new,
            self._format.end,
            self._format.padding,
        )
        texts, scores = search_beams(self._model.lm, context, settings)
        return self._format.decode(texts.flatten(0, 1)), scores.flatten().tolist()

    def _generate_by_transformers(self, context: Context) -> tuple[list[str], list[float]]:
        """Sample, or search with a language model of a family that has no tree of tokens."""
        output = self._model.conditioning.generate(
            self._model.lm,
            context,
            max_new_tokens=self._max_new,
            output_scores=self._decoding.num_beams > 1,
            output_logits=self._decoding.num_beams == 1,
            pad_token_id=self._format.padding,
            eos_token_id=self._format.end,
            **self._decoding.build_generate_arguments(),
        )
        tokens = self._model.conditioning.extract_generated(output)
        if self._decoding.num_beams > 1:
            scores = output.sequences_scores
        else:
            token_scores = self._model.lm.compute_transition_scores(
                output.sequences, output.logits, normalize_logits=True
            )
            num_ends = (tokens == self._format.end).int().cumsum(dim=1)
            is_counted = (num_ends - (tokens == self._format.end).int()) == 0  # up to and including the end token
            scores = (token_scores.masked_fill(~is_counted, 0).sum(dim=1) / is_counted.sum(dim=1)).float()
        return self._format.decode(tokens), scores.tolist()

    def _encode_labels(self, prompts: Sequence[str], labels: Sequence[str], max_tokens: int) -> list[LabelIds]:
        ids_by_prompt: dict[str, LabelIds] = {}
        for prompt in dict.fromkeys(prompts):
            targets = self._format.encode_targets(labels, max_tokens, [prompt] * len(labels))
            ids_by_prompt[prompt] = tuple(tuple(ids) for ids, _ in targets)
        return [ids_by_prompt[prompt] for prompt in prompts]
