"""Language models behind one interface: read a vector's tokens and a prompt, then score or generate targets.

`EncoderDecoder` serves models with an encoder and a decoder, `DecoderOnly` models with a decoder only.

Shapes: b scenes, m tokens of the vector, p prompt tokens, s = all tokens that are read, t targets,
l target tokens, h width of the language model, v vocabulary.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from close_transfer.core.errors import UserError

IGNORED = -100  # label of a padded target token; the value that PyTorch's cross entropy ignores


@dataclass(frozen=True)
class Context:
    """States that targets are generated from, shape (b, s, h), and a mask (b, s) of the valid ones."""

    states: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> "Context":
        """Select contexts by row index; rows may repeat."""
        return Context(self.states[rows], self.mask[rows])

    def repeat(self, times: int) -> "Context":
        """Repeat every scene `times` times in a row."""
        return Context(self.states.repeat_interleave(times, dim=0), self.mask.repeat_interleave(times, dim=0))


@runtime_checkable
class Conditioning(Protocol):
    """Interface of a language model that writes from vectors."""

    def read(
        self, lm: PreTrainedModel, before: Sequence[int], prefix: Float[Tensor, "b m h"], prompt: Float[Tensor, "b p h"],
        prompt_mask: Int[Tensor, "b p"],
    ) -> Context:  # fmt: skip
        """Return the context of the tokens `before` the vector, the vector's tokens, and the prompt."""

    def compute_logits(
        self, lm: PreTrainedModel, context: Context, labels: Int[Tensor, "t l"]
    ) -> Float[Tensor, "t l v"]:
        """Return logits of every target token; labels that are `IGNORED` are padding."""

    def generate(self, lm: PreTrainedModel, context: Context, **settings: Any) -> Any:
        """Return the output of transformers' `generate` as a dictionary."""

    def extract_generated(self, output: Any) -> Int[Tensor, "t l"]:
        """Return the generated tokens of such an output, without those that were read."""


class EncoderDecoder:
    """T5-like models: the encoder reads a scene once, for any number of targets."""

    def read(
        self, lm: PreTrainedModel, before: Sequence[int], prefix: Tensor, prompt: Tensor, prompt_mask: Tensor
    ) -> Context:
        assert not before
        mask = torch.cat([prompt_mask.new_ones(prefix.shape[:2]), prompt_mask], dim=1)
        embedded = torch.cat([prefix, prompt], dim=1)
        return Context(lm.get_encoder()(inputs_embeds=embedded, attention_mask=mask).last_hidden_state, mask)

    def compute_logits(self, lm: PreTrainedModel, context: Context, labels: Tensor) -> Tensor:
        # From labels, transformers would also compute a loss, which costs a tenth of a small model's step and is not used.
        if hasattr(lm, "prepare_decoder_input_ids_from_labels"):
            targets = {"decoder_input_ids": lm.prepare_decoder_input_ids_from_labels(labels=labels)}  # type: ignore[operator]
        else:
            targets = {"labels": labels}
        return lm(
            encoder_outputs=BaseModelOutput(last_hidden_state=context.states),
            attention_mask=context.mask,
            use_cache=False,
            **targets,
        ).logits

    def generate(self, lm: PreTrainedModel, context: Context, **settings: Any) -> Any:
        states = BaseModelOutput(last_hidden_state=context.states)
        return lm.generate(  # type: ignore[operator]
            encoder_outputs=states, attention_mask=context.mask, return_dict_in_generate=True, **settings
        )

    def extract_generated(self, output: Any) -> Tensor:
        return output.sequences[:, 1:]  # the first token starts the decoder


class DecoderOnly:
    """GPT-like models: one row of tokens, the scene's followed by the target's.

    Contexts of different lengths are padded on the left, so that the target follows the last token of each.
    Positions count the tokens that the mask shows.
    """

    def read(
        self, lm: PreTrainedModel, before: Sequence[int], prefix: Tensor, prompt: Tensor, prompt_mask: Tensor
    ) -> Context:
        mask = torch.cat([prompt_mask.new_ones(prefix.shape[:2]), prompt_mask], dim=1)
        states = torch.cat([prefix, prompt], dim=1)
        if before:
            before_embeddings = lm.get_input_embeddings()(torch.tensor(before, device=prefix.device)).to(prefix.dtype)
            states = torch.cat([before_embeddings.expand(len(prefix), -1, -1), states], dim=1)
            mask = torch.cat([mask.new_ones(len(mask), len(before)), mask], dim=1)
        num_padded = mask.shape[1] - mask.sum(dim=1, keepdim=True)
        source_positions = (torch.arange(mask.shape[1], device=mask.device) - num_padded) % mask.shape[1]
        return Context(
            states.gather(1, source_positions[..., None].expand_as(states)), mask.gather(1, source_positions)
        )

    def compute_logits(self, lm: PreTrainedModel, context: Context, labels: Tensor) -> Tensor:
        input_ids = labels[:, :-1]  # no label follows the last token
        is_token = input_ids != IGNORED
        targets = lm.get_input_embeddings()(input_ids.masked_fill(~is_token, 0)).to(context.states.dtype)
        mask = torch.cat([context.mask, is_token.to(context.mask.dtype)], dim=1)
        settings: dict[str, Any] = {}
        if "position_ids" in inspect.signature(lm.forward).parameters:
            settings["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
        return lm(
            inputs_embeds=torch.cat([context.states, targets], dim=1),
            attention_mask=mask,
            use_cache=False,
            logits_to_keep=labels.shape[1],
            **settings,
        ).logits

    def generate(self, lm: PreTrainedModel, context: Context, **settings: Any) -> Any:
        return lm.generate(  # type: ignore[operator]
            inputs_embeds=context.states, attention_mask=context.mask, return_dict_in_generate=True, **settings
        )

    def extract_generated(self, output: Any) -> Tensor:
        return output.sequences  # generate() returns tokens after the embeddings only


def check_positions(lm: PreTrainedModel, num_read: int, num_written: int, remedy: str) -> None:
    """Check that a language model has enough positions; T5's relative positions have no limit.

    Args:
        lm: language model.
        num_read: tokens of the image and the prompt; they take positions of a decoder-only model.
        num_written: tokens of the target, with the end token.
        remedy: sentence that says what to do.

    Raises:
        UserError: if it has not, with the remedy.
    """
    num_positions = getattr(lm.config, "max_position_embeddings", None)
    needed, subject = num_read + num_written, "an image with its text"
    if lm.config.is_encoder_decoder:
        needed, subject = num_written, "a text"
    if num_positions is not None and needed > num_positions:
        raise UserError(
            f"the language model has {num_positions:,} positions, but {subject} may take {needed:,}. {remedy}"
        )


def build_lm_wrapper(is_encoder_decoder: bool) -> Conditioning:
    """Build the wrapper that fits a language model's config."""
    return EncoderDecoder() if is_encoder_decoder else DecoderOnly()
