"""Settings of the decoding: beam search or sampling, and its precision."""

from dataclasses import dataclass
from typing import Any, Literal

from close_transfer.core.errors import UserError


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
        precision: precision of the steps that write; logits, and contexts that an encoder reads, are computed in fp32, and
            weights stay as they are. A decoder-only model reads its context in this precision.
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
