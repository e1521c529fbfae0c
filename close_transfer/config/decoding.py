"""Settings of decoding, which `eval_image.py` and `predict.py` share."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from close_transfer.config.choices import DecodingPrecision
from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig
from close_transfer.core.roles import CountsWith, Role
from close_transfer.core.schema import AboveZero, Natural, Positive, StrictModel


class TextMemoryConfig(StrictModel):
    """Settings of the text memory on which images are projected, and of the embedding cache."""

    text_memory: Annotated[str | None, CountsWith("text_memory")]
    text_memory_size: Annotated[Positive | None, CountsWith("text_memory")]
    text_memory_temperature: Annotated[AboveZero, CountsWith("text_memory")]
    text_memory_search: Annotated[Literal["exact", "nearest"], CountsWith("text_memory")]
    embedding_cache: Annotated[EmbeddingCacheConfig, Role.LOCATION]

    @property
    def text_memory_file(self) -> Path | None:
        """Return the file of vectors that `text_memory=` names; None if it names none."""
        return None if self.text_memory is None or self.text_memory == "train" else Path(self.text_memory)

    @model_validator(mode="after")
    def _check_memory(self) -> "TextMemoryConfig":
        if self.text_memory is None and self.text_memory_size is not None:
            raise ValueError(
                f"text_memory_size={self.text_memory_size} only applies with text_memory. Give text_memory=train or "
                "text_memory=FILE.npy, or leave it out"
            )
        return self


class AnsweringConfig(TextMemoryConfig):
    """Settings of beam search or sampling, and of re-ranking the candidates."""

    num_beams: Positive | None
    num_return: Annotated[Positive, CountsWith("top_p", "rerank")]
    top_p: Annotated[Annotated[float, Field(gt=0, le=1)] | None, CountsWith("top_p")]
    temperature: Annotated[AboveZero, CountsWith("top_p")]
    sampling_seed: Annotated[Natural, CountsWith("top_p")]
    decoding_precision: DecodingPrecision
    rerank: Annotated[bool, CountsWith("rerank")]
    rerank_encoder: Annotated[ClipConfig | None, CountsWith("rerank")] = None

    @model_validator(mode="after")
    def _check_sampling(self) -> "AnsweringConfig":
        if self.top_p is None and self.temperature != 1:
            raise ValueError(
                f"temperature={self.temperature} only applies with top_p. Give top_p too, such as top_p=0.9, or leave it out"
            )
        if self.rerank and self.num_return == 1:
            raise ValueError(
                "rerank=true chooses among candidates, but num_return=1 asks for one. Give more, such as num_return=5"
            )
        if self.rerank_encoder is not None and not self.rerank:
            raise ValueError("rerank_encoder only applies with rerank=true. Give that too, or leave it out")
        return self
