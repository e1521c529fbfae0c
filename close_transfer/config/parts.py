"""Settings of the parts that a run is made of: task, encoder, mapper, language model, loop, store."""

from typing import Annotated, Any, Literal

from pydantic import Field

from close_transfer.config.base import AboveZero, Natural, NonNegative, Positive, Strict, TaskName


class TaskConfig(Strict):
    """What is trained and how its text is shaped."""

    name: TaskName
    noise: NonNegative  # standard deviation per coordinate when `noise` is not given
    max_target_tokens: Positive
    max_prompt_tokens: Positive
    lowercase_targets: bool
    num_beams: Positive


class OpenClipConfig(Strict):
    """A frozen encoder that `open_clip` builds."""

    kind: Literal["open_clip"]
    model: str  # an architecture, "local-dir:PATH", "hf-hub:NAME", or "picturebook"
    pretrained: str | None  # a tag of open_clip's list
    weights: str | None  # a local file instead
    batch_size: Positive


class PrecomputedConfig(Strict):
    """Vectors that were encoded elsewhere; row i belongs to line i of the data file."""

    kind: Literal["precomputed"]
    text_embeddings: str | None
    image_embeddings: str | None


ClipConfig = Annotated[OpenClipConfig | PrecomputedConfig, Field(discriminator="kind")]


class MapperConfig(Strict):
    """How a vector becomes tokens of the language model."""

    name: Literal["linear"]
    num_tokens: Positive
    num_constant_tokens: Natural


class ScratchLM(Strict):
    """A language model built from a config and trained from scratch, tokenizer included."""

    kind: Literal["scratch"]
    name: str
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)]
    config: dict[str, Any]  # for transformers' T5Config
    learning_rate: AboveZero
    learning_rates: dict[TaskName, AboveZero]
    warmup_steps: Natural


class PretrainedLM(Strict):
    """A language model with pretrained weights: a hub name or a local directory."""

    kind: Literal["pretrained"]
    name: str
    learning_rate: AboveZero
    warmup_steps: Natural


LMConfig = Annotated[ScratchLM | PretrainedLM, Field(discriminator="kind")]


class LoopConfig(Strict):
    """The training loop."""

    epochs: Positive
    max_steps: Positive | None  # stops earlier; the schedule ends there too
    batch_size: Positive  # scenes an optimiser step, over all processes and accumulation
    accumulation: Positive
    learning_rate: AboveZero
    warmup_steps: Natural
    schedule: Literal["linear", "cosine", "constant", "close-code"]
    max_examples_per_epoch: Positive | None  # a random draw each epoch; None: all of them
    weight_decay: NonNegative
    clip_grad_norm: AboveZero | None
    precision: Literal["auto", "fp32", "bf16"]
    validations: Positive  # how many, spread over training; the last is at its end
    max_val_examples: Positive
    log_every: Positive
    tensorboard: bool


class StoreConfig(Strict):
    """Where encoded vectors are kept, and in which precision."""

    folder: str
    dtype: Literal["float32", "float16"]
    shard_rows: Positive = 2048  # what a kill loses at most
