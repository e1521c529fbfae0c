"""How a language model reads a vector's tokens and a prompt, and what it writes after them.

One class for models with an encoder and a decoder, one for models that are a decoder only; a third kind
would be a third class.

Shapes: b scenes, m tokens of the vector, p prompt tokens, s all of them, t targets, l target tokens,
h width of the language model, v vocabulary.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from close_transfer.core.errors import UserError

IGNORED = -100  # label of a padded target token


@dataclass(frozen=True)
class Context:
    """What targets are written from: states of shape (b, s, h), and a mask (b, s) of which of them count."""

    states: Tensor
    mask: Tensor

    def of(self, rows: Tensor) -> "Context":
        """The contexts of these scenes, each as often as it is named."""
        return Context(self.states[rows], self.mask[rows])

    def repeated(self, times: int) -> "Context":
        """Every scene so many times in a row."""
        return Context(self.states.repeat_interleave(times, dim=0), self.mask.repeat_interleave(times, dim=0))


class Conditioning(Protocol):
    """A way to write from vectors."""

    def read(
        self, lm: PreTrainedModel, before: Sequence[int], prefix: Float[Tensor, "b m h"], prompt: Float[Tensor, "b p h"],
        prompt_mask: Int[Tensor, "b p"],
    ) -> Context:  # fmt: skip
        """The context of tokens `before` the vector's, the vector's, and the prompt's."""

    def logits(self, lm: PreTrainedModel, context: Context, labels: Int[Tensor, "t l"]) -> Float[Tensor, "t l v"]:
        """Logits of every target token; `IGNORED` where there is none."""

    def generate(self, lm: PreTrainedModel, context: Context, **settings: Any) -> Any:
        """What transformers' `generate` gives, as a dictionary."""

    def written(self, output: Any) -> Int[Tensor, "t l"]:
        """The tokens of such an output that the model wrote."""


class EncoderDecoder:
    """T5 and its like: the encoder reads a scene once, however many targets are written from it."""

    def read(
        self, lm: PreTrainedModel, before: Sequence[int], prefix: Tensor, prompt: Tensor, prompt_mask: Tensor
    ) -> Context:
        assert not before
        mask = torch.cat([prompt_mask.new_ones(prefix.shape[:2]), prompt_mask], dim=1)
        embedded = torch.cat([prefix, prompt], dim=1)
        return Context(lm.get_encoder()(inputs_embeds=embedded, attention_mask=mask).last_hidden_state, mask)

    def logits(self, lm: PreTrainedModel, context: Context, labels: Tensor) -> Tensor:
        return lm(
            encoder_outputs=BaseModelOutput(last_hidden_state=context.states),
            attention_mask=context.mask,
            labels=labels,
            use_cache=False,
        ).logits

    def generate(self, lm: PreTrainedModel, context: Context, **settings: Any) -> Any:
        states = BaseModelOutput(last_hidden_state=context.states)
        return lm.generate(  # type: ignore[operator]
            encoder_outputs=states, attention_mask=context.mask, return_dict_in_generate=True, **settings
        )

    def written(self, output: Any) -> Tensor:
        return output.sequences[:, 1:]  # the first one starts the decoder


class DecoderOnly:
    """GPT-2 and its like: one row of tokens, the scene's and then the target's.

    Contexts of different lengths are filled up on the left, so that the last token of each is the one that
    the target follows; positions are counted over what the mask shows.
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

    def logits(self, lm: PreTrainedModel, context: Context, labels: Tensor) -> Tensor:
        input_ids = labels[:, :-1]  # the last one is followed by nothing
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

    def written(self, output: Any) -> Tensor:
        return output.sequences  # begins behind the embeddings it was given


def check_positions(lm: PreTrainedModel, needed: int, remedy: str) -> None:
    """Whether a language model has places for a row of tokens; T5 counts distances and takes any number.

    Raises:
        UserError: with the remedy, if it has not.
    """
    num_positions = getattr(lm.config, "max_position_embeddings", None)
    if not lm.config.is_encoder_decoder and num_positions is not None and needed > num_positions:
        raise UserError(
            f"the language model has {num_positions:,} positions, and an image with its text may take {needed:,}; {remedy}"
        )


def build_lm_wrapper(is_encoder_decoder: bool) -> Conditioning:
    """The way to write for a language model whose config says so."""
    return EncoderDecoder() if is_encoder_decoder else DecoderOnly()
