"""What all settings share: names, ranges, and the class that refuses unknown keys."""

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

TaskName = Literal["captioning", "captioning-multi", "snli-ve", "vqa", "vqa-e", "visual-news"]
EvalSplit = Literal["train", "val", "test", "test-novel"]
OnBadRows = Literal["error", "skip"]
Scene = Literal["image", "text"]
Checkpoint = Literal["best", "last"]

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Strict(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    # Config groups of which only the choice counts here; the settings below them cannot be given.
    choices_only: ClassVar[tuple[str, ...]] = ()


C = TypeVar("C", bound=Strict)
