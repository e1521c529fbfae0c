"""Settings of a run's parts: task, encoder, mapper, language model, training loop, embedding cache."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from close_transfer.config.choices import CudaGraphs, Precision
from close_transfer.core.languages import LanguageCode
from close_transfer.core.roles import Names, Role
from close_transfer.core.schema import AboveZero, Natural, NonNegative, Positive, StrictModel

# Key of the learning rates of language models that are trained from scratch: comparing a prompt with a scene needs a
# lower rate than writing without a prompt.
LearningRateGroup = Literal["prompted", "unprompted"]


def _refuse_non_text(value: Any) -> Any:
    """Refuse answers that Hydra parsed as numbers or booleans, because their original spelling is lost."""
    odd = [answer for answer in value if not isinstance(answer, str)] if isinstance(value, (list, tuple)) else []
    if odd:
        # Booleans and null as YAML spells them: Python's True would become a label that the data do not have.
        spellings = [
            {True: "true", False: "false", None: "null"}[v] if v is None or isinstance(v, bool) else v for v in value
        ]
        quoted = ",".join(f"'{spelling}'" for spelling in spellings)
        raise ValueError(
            f'{spellings[value.index(odd[0])]} is not a text. Quote answers that look like a number, true or false: "task.labels=[{quoted}]"'
        )
    return value


class TaskConfig(StrictModel):
    """Settings of the task, including the lengths and case of its texts."""

    name: str
    noise: NonNegative  # standard deviation per coordinate when `noise` is not given
    epochs: Positive  # training epochs, unless the data or `train.epochs` gives another number
    learning_rate_group: LearningRateGroup
    max_target_tokens: Positive
    max_prompt_tokens: Positive
    lowercase_targets: bool
    num_beams: Positive
    # The settings below apply to some tasks only, and are None for the others. Each task's class names its settings.
    prompt: str | None = None  # words that every caption continues
    language: LanguageCode | None = None  # how scorers split text
    metric: Literal["captions", "accuracy", "vqa", "text"] | None = None
    labels: Annotated[tuple[str, ...], BeforeValidator(_refuse_non_text)] | None = None  # empty: any text

    @property
    def own_settings(self) -> dict[str, Any]:
        """Return the given settings that only some tasks have, by name."""
        optional = [name for name, field in type(self).model_fields.items() if not field.is_required()]
        return {name: value for name in optional if (value := getattr(self, name)) is not None}


# One vector per image, or one per cell of a grid over the image.
Features = Literal["pooled", "grid"]


class EncoderSettings(StrictModel):
    """Settings of one kind of frozen encoder, and the facts about it that other parts depend on.

    Attributes:
        kind: name of the kind, also in `encoders.ENCODERS`.
        encodes_images: True if it encodes images; False if vectors come from files.
        hub_tags: tags on the hub for models with this encoder.
    """

    encodes_images: ClassVar[bool] = True
    hub_tags: ClassVar[tuple[str, ...]] = ()

    kind: str

    @property
    def encodes_text(self) -> bool:
        """Return True if it encodes texts into the same space as images."""
        return True

    @property
    def has_text_vectors(self) -> bool:
        """Return True if there are vectors of texts, encoded or from a file."""
        return self.encodes_text

    @property
    def is_joint(self) -> bool:
        """Return True if it encodes texts and images, so that the two can be compared."""
        return self.encodes_text and self.encodes_images

    @property
    def made_for(self) -> str:
        """Return the only dataset for which the encoder was trained; empty if it is a general encoder."""
        return ""

    @property
    def display_name(self) -> str:
        """Return its name for messages before it is built."""
        return self.kind


class OpenClipConfig(EncoderSettings):
    """Settings of a frozen encoder of `open_clip`."""

    hub_tags = ("clip",)

    kind: Literal["open_clip"]
    model: Annotated[str, Names.FILE_OR_HUB]
    pretrained: str | None
    weights: Annotated[str | None, Names.FILE]
    tokenizer: Annotated[str | None, Names.FILE_OR_HUB]
    features: Features
    precision: Precision
    seed: Natural
    batch_size: Annotated[Positive, Role.THROUGHPUT]

    @model_validator(mode="before")
    @classmethod
    def _resolve_auto_tag(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("pretrained") != "auto":
            return values
        has_own_weights = values.get("weights") or str(values.get("model")).startswith(
            ("picturebook", "local-dir:", "hf-hub:")
        )
        return values | {"pretrained": None if has_own_weights else "openai"}

    @property
    def encodes_text(self) -> bool:
        return self.features == "pooled"

    @property
    def made_for(self) -> str:
        return self.model if self.model == "picturebook" else ""

    @property
    def display_name(self) -> str:
        return self.model


class _ImageEncoderSettings(EncoderSettings):
    """Settings of an image encoder without a text tower."""

    model: Annotated[str, Names.FILE_OR_HUB]
    features: Features
    precision: Precision
    batch_size: Annotated[Positive, Role.THROUGHPUT]

    @property
    def encodes_text(self) -> bool:
        return False

    @property
    def display_name(self) -> str:
        return self.model


class TimmConfig(_ImageEncoderSettings):
    """Settings of an image encoder of `timm`."""

    kind: Literal["timm"]
    pretrained: Literal["yes", "random"]
    weights: Annotated[str | None, Names.FILE]
    # At 32 pixels every architecture of timm still has a cell.
    image_size: Annotated[int, Field(ge=32)] | None
    seed: Natural


class CaptionerEncoderConfig(_ImageEncoderSettings):
    """Settings of an image encoder that `train_captioner.py` or `train_image_encoder.py` trained; `model` is its folder."""

    kind: Literal["captioner"]

    @model_validator(mode="before")
    @classmethod
    def _require_model(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("model") in (None, "", "???"):
            raise ValueError(
                "no model is named. Give clip.model=FOLDER, a folder that scripts/train_captioner.py or "
                "scripts/train_image_encoder.py wrote"
            )
        return values


class PrecomputedConfig(EncoderSettings):
    """Files of vectors that were computed elsewhere; row i belongs to line i of the data file."""

    encodes_images = False

    kind: Literal["precomputed"]
    text_embeddings: Annotated[str | None, Names.FILE]
    image_embeddings: Annotated[str | None, Names.FILE]

    @property
    def encodes_text(self) -> bool:
        return False

    @property
    def has_text_vectors(self) -> bool:
        return self.text_embeddings is not None


_Encoders = OpenClipConfig | TimmConfig | CaptionerEncoderConfig | PrecomputedConfig
ClipConfig = Annotated[_Encoders, Field(discriminator="kind")]
ENCODER_KINDS: dict[str, type[EncoderSettings]] = {
    get_args(member.model_fields["kind"].annotation)[0]: member for member in get_args(get_args(ClipConfig)[0])
}


def find_encoder_class(values: Mapping[str, Any]) -> type[EncoderSettings]:
    """Return the class of an encoder's saved settings; `EncoderSettings` itself if their kind is unknown."""
    return ENCODER_KINDS.get(values.get("kind", ""), EncoderSettings)


class MapperSettings(StrictModel):
    """Settings that all mappers share: the name in `models.mappers.MAPPERS`, and the number of tokens per vector."""

    name: str
    num_tokens: Positive


class LinearMapperConfig(MapperSettings):
    """Settings of one linear layer from a vector to tokens (CLOSE), or from each vector of a grid (LiMBeR)."""

    name: Literal["linear"]
    num_constant_tokens: Natural


class MlpMapperConfig(MapperSettings):
    """Settings of two linear layers (ClipCap)."""

    name: Literal["mlp"]
    hidden_dim: Positive | None


class IdentityMapperConfig(MapperSettings):
    """Settings of no mapper at all: the encoder's vectors are the tokens, for a decoder that was trained with it."""

    name: Literal["identity"]


class TransformerMapperConfig(MapperSettings):
    """Settings of a transformer over tokens of the vector and learned tokens (ClipCap, CapDec)."""

    name: Literal["transformer"]
    num_vector_tokens: Positive
    num_layers: Positive
    num_heads: Positive


_Mappers = LinearMapperConfig | MlpMapperConfig | TransformerMapperConfig | IdentityMapperConfig
MapperConfig = Annotated[_Mappers, Field(discriminator="name")]


class LoopConfig(StrictModel):
    """Settings of the training loop."""

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
    precision: Precision
    cuda_graphs: CudaGraphs
    num_validations: Positive
    max_val_examples: Positive
    log_every: Annotated[Positive, Role.REPORTING]
    tensorboard: Annotated[bool, Role.REPORTING]

    @model_validator(mode="after")
    def _check_batch_size(self) -> "LoopConfig":
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"train.batch_size={self.batch_size} cannot be split into train.gradient_accumulation="
                f"{self.gradient_accumulation} equal parts. Give a multiple of it"
            )
        return self


class EmbeddingCacheConfig(StrictModel):
    """Folder, precision and shard size of the cache of encoded vectors, and who reads images for the encoder."""

    folder: Annotated[str, Names.FILE]
    dtype: Literal["float32", "float16"]
    shard_rows: Positive
    image_workers: Annotated[Literal["auto"] | Natural, Role.THROUGHPUT]
