"""Names that several settings choose from."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

EvalSplit = Literal["train", "val", "test", "test-novel"]
# What training saw: T0 text only, T1 also statistics of unpaired images, T2 unpaired images, T3 images generated from the
# text, T4 images with their text.
DataRegime = Literal["T0", "T1", "T2", "T3", "T4"]
# Whose embeddings the model is fed, in training or in evaluation; the setting is `scene`.
InputModality = Literal["text", "image"]
Checkpoint = Literal["best", "last"]
# Ways to choose the noise: from texts, from statistics of unpaired images, from statistics of pairs.
AutoNoise = Literal["auto", "auto-unpaired", "auto-paired"]
NoiseRule = Literal["largest_coordinate", "cosine", "shifted_validation"]
ExtraMetricName = Literal["spice", "clipscore"]


def as_tuple(value: Any) -> Any:
    """A single choice as a list of one."""
    return (value,) if isinstance(value, str) else value


# `task=` names a file of the group; what is in it was settled when the run was trained.
ChosenTask = Annotated[str, BeforeValidator(lambda task: task["name"] if isinstance(task, dict) else task)]


def _require_value(value: Any) -> Any:
    if value in ("", "???"):
        raise ValueError("this one has no default and must be given")
    return value


Given = Annotated[str, BeforeValidator(_require_value)]
