"""Settings of the parts that a run is made of: task, encoder, mapper, language model, loop, embedding cache."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from close_transfer.core.roles import Names, Role
from close_transfer.core.schema import AboveZero, Natural, NonNegative, Positive, StrictModel

# Learning rates of language models that are trained from scratch go by it: comparing a prompt with a scene is learned
# at a lower rate than writing without a prompt.
LearningRateGroup = Literal["prompted", "unprompted"]


def _refuse_non_text(value: Any) -> Any:
    """Answers that Hydra took for numbers or truth values are refused, as how they were written is lost."""
    odd = [answer for answer in value if not isinstance(answer, str)] if isinstance(value, (list, tuple)) else []
    if odd:
        quoted = ",".join(f"'{answer}'" for answer in value)
        raise ValueError(
            f'{odd[0]} is no text; quote what looks like a number, true or false: "task.labels=[{quoted}]"'
        )
    return value


def _require_model_name(value: Any) -> Any:
    if value in ("", "???"):
        raise ValueError("which model? give lm.name=NAME of the hub, or a folder, for which lm=FOLDER is short")
    return value


class TaskConfig(StrictModel):
    """What is trained and how its text is shaped."""

    name: str
    noise: NonNegative  # standard deviation per coordinate when `noise` is not given
    epochs: Positive  # of training, if neither the data nor `train.epochs` says otherwise
    learning_rate_group: LearningRateGroup
    max_target_tokens: Positive
    max_prompt_tokens: Positive
    lowercase_targets: bool
    num_beams: Positive
    # Those below are settings of some tasks only; None in the others. Each task's class names its own.
    prompt: str | None = None  # words that every caption continues
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None  # how scorers split text
    metric: Literal["captions", "accuracy", "vqa", "text"] | None = None
    labels: Annotated[tuple[str, ...], BeforeValidator(_refuse_non_text)] | None = None  # empty: any text

    @property
    def own_settings(self) -> dict[str, Any]:
        """Settings that only some tasks have, by name; without those that are not given."""
        optional = [name for name, field in type(self).model_fields.items() if not field.is_required()]
        return {name: value for name in optional if (value := getattr(self, name)) is not None}


# One vector of the whole image, or one of each cell of a grid over it.
Features = Literal["pooled", "grid"]


class EncoderSettings(StrictModel):
    """Settings of one kind of frozen encoder, and the facts about it that other parts depend on.

    Attributes:
        kind: its name here and in `encoders.ENCODERS`.
        encodes_images: it turns images into vectors; False if vectors come from files.
        hub_tags: words by which a search on the hub should find models with this encoder.
    """

    encodes_images: ClassVar[bool] = True
    hub_tags: ClassVar[tuple[str, ...]] = ()

    kind: str

    @property
    def encodes_text(self) -> bool:
        """It turns texts into vectors of the space of its images."""
        return True

    @property
    def is_joint(self) -> bool:
        """It encodes texts and images, so that the two can be compared."""
        return self.encodes_text and self.encodes_images

    @property
    def made_for(self) -> str:
        """The only dataset whose texts and images it knows; empty if it is for any."""
        return ""

    @property
    def display_name(self) -> str:
        """Its name in messages before it is built."""
        return self.kind


class OpenClipConfig(EncoderSettings):
    """A frozen encoder that `open_clip` builds."""

    hub_tags = ("clip",)

    kind: Literal["open_clip"]
    model: Annotated[str, Names.FILE_OR_HUB]
    pretrained: str | None
    weights: Annotated[str | None, Names.FILE]
    tokenizer: Annotated[str | None, Names.FILE_OR_HUB]
    features: Features
    seed: Natural
    batch_size: Annotated[Positive, Role.THROUGHPUT]

    @model_validator(mode="before")
    @classmethod
    def _openai_where_nothing_is_said(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("pretrained") != "auto":
            return values
        is_own = values.get("weights") or str(values.get("model")).startswith(("picturebook", "local-dir:", "hf-hub:"))
        return values | {"pretrained": None if is_own else "openai"}

    @property
    def encodes_text(self) -> bool:
        return self.features == "pooled"

    @property
    def made_for(self) -> str:
        return self.model if self.model == "picturebook" else ""

    @property
    def display_name(self) -> str:
        return self.model


class TimmConfig(EncoderSettings):
    """An image encoder without a text tower, that `timm` builds."""

    kind: Literal["timm"]
    model: Annotated[str, Names.FILE_OR_HUB]
    pretrained: Literal["yes", "random"]
    weights: Annotated[str | None, Names.FILE]
    features: Features
    seed: Natural
    batch_size: Annotated[Positive, Role.THROUGHPUT]

    @property
    def encodes_text(self) -> bool:
        return False

    @property
    def display_name(self) -> str:
        return self.model


class PrecomputedConfig(EncoderSettings):
    """Vectors that were encoded elsewhere; row i belongs to line i of the data file."""

    encodes_images = False

    kind: Literal["precomputed"]
    text_embeddings: Annotated[str | None, Names.FILE]
    image_embeddings: Annotated[str | None, Names.FILE]

    @property
    def encodes_text(self) -> bool:
        return False


ClipConfig = Annotated[OpenClipConfig | TimmConfig | PrecomputedConfig, Field(discriminator="kind")]
ENCODER_KINDS: dict[str, type[EncoderSettings]] = {
    get_args(member.model_fields["kind"].annotation)[0]: member for member in get_args(get_args(ClipConfig)[0])
}


def find_encoder_class(values: Mapping[str, Any]) -> type[EncoderSettings]:
    """Return the class of an encoder's saved settings; `EncoderSettings` itself if they name no kind that is known."""
    return ENCODER_KINDS.get(values.get("kind", ""), EncoderSettings)


class MapperSettings(StrictModel):
    """What every mapper's settings have: its name in `models.mappers.MAPPERS`, and how many tokens a vector becomes."""

    name: str
    num_tokens: Positive


class LinearMapperConfig(MapperSettings):
    """One linear layer from a vector to tokens (CLOSE), or from each vector of a grid (LiMBeR)."""

    name: Literal["linear"]
    num_constant_tokens: Natural


class MlpMapperConfig(MapperSettings):
    """Two linear layers (ClipCap)."""

    name: Literal["mlp"]
    hidden_dim: Positive | None


class TransformerMapperConfig(MapperSettings):
    """A transformer over tokens of the vector and learned ones (ClipCap, CapDec)."""

    name: Literal["transformer"]
    num_vector_tokens: Positive
    num_layers: Positive
    num_heads: Positive


MapperConfig = Annotated[LinearMapperConfig | MlpMapperConfig | TransformerMapperConfig, Field(discriminator="name")]


class ScratchLM(StrictModel):
    """A language model built from a config and trained from scratch, tokenizer included."""

    kind: Literal["scratch"]
    name: str
    architecture: Literal["t5", "gpt2", "llama"]
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)]
    config: dict[str, Any]  # for transformers' config of the architecture
    learning_rate: AboveZero
    learning_rates: dict[LearningRateGroup, AboveZero]
    warmup_steps: Natural


class LoraConfig(StrictModel):
    """Low-rank updates of a language model's linear layers."""

    rank: Positive
    alpha: AboveZero
    dropout: Annotated[float, Field(ge=0, lt=1)]
    layers: tuple[str, ...] | None


class PretrainedLM(StrictModel):
    """A language model with pretrained weights: a hub name or a local directory."""

    kind: Literal["pretrained"]
    name: Annotated[str, BeforeValidator(_require_model_name), Names.FILE_OR_HUB]
    tuning: Literal["full", "lora", "frozen"]
    lora: LoraConfig
    dtype: Literal["float32", "bfloat16", "float16"]
    format: Literal["auto", "plain", "chat"]
    learning_rate: AboveZero
    warmup_steps: Natural

    @model_validator(mode="after")
    def _trained_in_full_precision(self) -> "PretrainedLM":
        if self.tuning == "full" and self.dtype != "float32":
            raise ValueError(
                f"lm.dtype={self.dtype}: weights that are trained lose small steps in 16 bits; leave it out (train.precision=bf16 "
                "computes in 16 bits all the same), or give lm.tuning=lora or lm.tuning=frozen"
            )
        return self


LMConfig = Annotated[ScratchLM | PretrainedLM, Field(discriminator="kind")]


class LoopConfig(StrictModel):
    """The training loop."""

    epochs: Positive
    max_steps: Positive | None
    batch_size: Positive
    gradient_accumulation: Positive
    learning_rate: AboveZero
    warmup_steps: Natural
    schedule: Literal["linear", "cosine", "constant", "close-code"]
    max_examples_per_epoch: Positive | None
    weight_decay: NonNegative
    clip_grad_norm: AboveZero | None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    precision: Literal["auto", "fp32", "bf16"]
    num_validations: Positive
    max_val_examples: Positive
    log_every: Annotated[Positive, Role.REPORTING]
    tensorboard: Annotated[bool, Role.REPORTING]


class EmbeddingCacheConfig(StrictModel):
    """Where encoded vectors are kept, and in which precision."""

    folder: Annotated[str, Names.FILE]
    dtype: Literal["float32", "float16"]
    shard_rows: Positive
