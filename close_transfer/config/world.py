"""Settings of the commands that make Picturebook's own pictures and CLIP."""

from typing import Annotated, Any, Literal

from pydantic import Field

from close_transfer.config.base import EvalSplit
from close_transfer.config.data import PicturebookData
from close_transfer.core.schema import Natural, NonNegative, Positive, Strict


class ContrastiveConfig(Strict):
    """All of `train_picturebook_clip.py`."""

    embed_dim: Positive
    image_size: Positive
    vision: dict[str, Any]  # the rest of open_clip's vision_cfg
    context_length: Positive
    text: dict[str, Any]  # the rest of open_clip's text_cfg
    vocab_size: Annotated[int, Field(ge=300)]
    num_scenes: Positive
    num_test: Positive
    steps: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Positive
    weight_decay: NonNegative
    temperature: Annotated[float, Field(gt=0)]
    learn_temperature: bool
    objective: Literal["contrastive", "classes", "none"]
    image_offset: NonNegative  # length that the last bias of each tower starts with
    text_offset: NonNegative
    seed: Natural
    output: str


class PicturebookTextConfig(Strict):
    """All of `write_picturebook_text.py`."""

    data: PicturebookData
    split: EvalSplit
    what: Literal["captions", "questions"]
    form: str
    per_line: Positive
    output: str


class ContactSheetConfig(Strict):
    """All of `draw_picturebook.py`."""

    split: Literal["clip", "train", "val", "test", "test-novel"]
    seed: Natural
    columns: Positive
    rows: Positive
    output: str


class ExportGrammarConfig(Strict):
    """All of `export_grammar.py`."""

    num_train: Positive  # scenes of split train
    seed: Natural
    min_count: Positive  # captions that a frame must occur in
    min_expected: Positive  # times that values would stand together by chance, to be kept apart if they never do
    output: str
