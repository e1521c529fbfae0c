"""Sets of names from which several settings choose."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator

EvalSplit = Literal["train", "val", "test", "test-novel"]
# Data that training saw; `WORDS_BY_DATA_REGIME` describes each.
DataRegime = Literal["T0", "T1", "T2", "T3", "T4"]
# Modality of the embeddings that the model reads, in training or in evaluation; the setting is `scene`.
InputModality = Literal["text", "image"]
Checkpoint = Literal["best", "last"]
# Ways to choose the noise: from texts, from statistics of unpaired images, from statistics of pairs.
AutoNoise = Literal["auto", "auto-unpaired", "auto-paired"]
NoiseRule = Literal["largest_coordinate", "cosine", "shifted_validation"]
# Precision that training or an encoder computes in, on auto by the device; weights are always kept in fp32.
Precision = Literal["auto", "fp32", "bf16", "fp16"]
# Precision of decoding. No fp16, because T5's activations exceed its range.
DecodingPrecision = Literal["auto", "fp32", "bf16"]
CudaGraphs = Literal["auto", "always", "never"]
ExtraMetricName = Literal["spice", "clipscore"]


def as_tuple(value: Any) -> Any:
    """Return a single choice as a tuple of one."""
    return (value,) if isinstance(value, str) else value


# `task=` names a file of the group. Only the name counts, because the run was trained with its own task settings.
ChosenTask = Annotated[str, BeforeValidator(lambda task: task["name"] if isinstance(task, dict) else task)]


def _require_value(value: Any) -> Any:
    if value in ("", "???"):
        raise ValueError("has no default. Give a value")
    return value


Given = Annotated[str, BeforeValidator(_require_value)]


class RegimeWords(NamedTuple):
    """Descriptions of the data that training saw: in a table, while training on text, in a model card, in a sentence."""

    table: str
    training: str
    card: str
    sentence: str


_UNPAIRED_STATISTICS = "text, and statistics of unpaired images"
_UNPAIRED, _GENERATED = "text, and unpaired images", "text, and images generated from it"
WORDS_BY_DATA_REGIME: dict[str, RegimeWords] = {
    "T0": RegimeWords(
        "text only",
        "text only, no image is opened",
        "text only; no image was seen in training",
        "no image was seen in training",
    ),
    "T1": RegimeWords(
        _UNPAIRED_STATISTICS,
        _UNPAIRED_STATISTICS,
        _UNPAIRED_STATISTICS,
        "training also used statistics of unpaired images",
    ),
    "T2": RegimeWords(_UNPAIRED, _UNPAIRED, _UNPAIRED, "training also used unpaired images"),
    "T3": RegimeWords(_GENERATED, _GENERATED, _GENERATED, "training also used images generated from its text"),
    "T4": RegimeWords(
        "images with their text",
        "text, and statistics of pairs",
        "images paired with text",
        "training also used statistics of image-text pairs",
    ),
}
