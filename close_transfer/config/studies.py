"""Settings of the studies."""

from typing import Annotated

from pydantic import Field

from close_transfer.config.base import NonNegative, Positive, Strict


class RealVectorsConfig(Strict):
    """All of `study_real_vectors.py`."""

    pairs: str  # folder with image_embeddings.npy, caption_embeddings.npy, captions.jsonl
    language_model: str | None  # folder of a language model; None: only the probe
    noises: tuple[NonNegative, ...]
    folds: Annotated[int, Field(ge=2)]
    seeds: Positive
    least_keyword: Positive
    most_keyword: Positive
    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    num_beams: Positive
    max_target_tokens: Positive
    num_bootstrap: Positive
    jobs: Positive
    output: str
