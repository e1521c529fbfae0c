"""Settings of how a trained model answers, which `eval_image.py` and `predict.py` share."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig
from close_transfer.core.schema import AboveZero, Natural, Positive, StrictModel


class TextMemoryConfig(StrictModel):
    """The memory of texts that `eval_image.py` and `predict.py` project on, and where vectors are kept."""

    text_memory: str | None  # train, or a file of vectors
    text_memory_size: Positive | None
    text_memory_temperature: AboveZero
    text_memory_search: Literal["exact", "nearest"]
    embedding_cache: EmbeddingCacheConfig

    @property
    def text_memory_file(self) -> Path | None:
        """The file of vectors that `text_memory=` names, if it names one."""
        return None if self.text_memory is None or self.text_memory == "train" else Path(self.text_memory)

    @model_validator(mode="after")
    def _memory_is_there(self) -> "TextMemoryConfig":
        if self.text_memory is None and self.text_memory_size is not None:
            raise ValueError(
                f"text_memory_size={self.text_memory_size}, but there is no memory; give text_memory=train or text_memory=FILE.npy"
            )
        return self


class AnsweringConfig(TextMemoryConfig):
    """How text is written, and which of several texts is the answer."""

    num_beams: Positive | None  # None: the task's own, 1 where it samples
    num_return: Positive
    top_p: Annotated[float, Field(gt=0, le=1)] | None  # samples instead of searching
    temperature: AboveZero
    sampling_seed: Natural
    rerank: bool  # by similarity to what was shown
    rerank_encoder: ClipConfig | None = None  # whose similarity; the run's own encoder when None

    @model_validator(mode="after")
    def _sampling_is_whole(self) -> "AnsweringConfig":
        if self.top_p is None and self.temperature != 1:
            raise ValueError(f"temperature={self.temperature} is of sampling; give top_p too, such as top_p=0.9")
        if self.rerank and self.num_return == 1:
            raise ValueError("rerank=true chooses among candidates; give num_return, such as num_return=5")
        if self.rerank_encoder is not None and not self.rerank:
            raise ValueError("rerank_encoder is of rerank=true; give that too, or leave it out")
        return self
