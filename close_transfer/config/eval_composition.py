"""Settings of the command that tests composition."""

from typing import Annotated

from pydantic import BeforeValidator, model_validator

from close_transfer.config.choices import as_tuple
from close_transfer.config.components import ClipConfig, EmbeddingCacheConfig
from close_transfer.config.saved_run import ScoredRun
from close_transfer.core.roles import Names, Role, Writes
from close_transfer.core.schema import Natural, Positive


class EvalCompositionConfig(ScoredRun):
    """Settings of `eval_composition.py`."""

    clip: ClipConfig | None = None
    items: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Names.FILE, Role.TEST]
    images: Annotated[str | None, Names.FILE, Role.TEST]
    num_order: Annotated[Positive, Role.TEST]
    num_per_swap: Annotated[Positive, Role.TEST]
    num_twins_per_swap: Annotated[Positive, Role.TEST]
    seed: Annotated[Natural, Role.TEST]
    batch_size: Annotated[Positive, Role.THROUGHPUT]
    num_bootstrap: Annotated[Positive, Role.REPORTING]
    embedding_cache: Annotated[EmbeddingCacheConfig, Role.LOCATION]
    output: Annotated[str, Role.LOCATION, Writes.FOLDER]
    device: Annotated[str, Role.LOCATION]

    @model_validator(mode="after")
    def _check_images(self) -> "EvalCompositionConfig":
        if self.items and self.images is None:
            raise ValueError("items= names images. Give images=FOLDER with them")
        if self.images is not None and not self.items:
            raise ValueError(f"images={self.images} only applies with items=. Give items=FILE, or leave images out")
        return self
