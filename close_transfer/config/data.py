"""Settings of the data, one class a source; `name` tells them apart."""

from typing import Annotated, Literal

from pydantic import Field

from close_transfer.config.base import Natural, NonNegative, OnBadRows, Positive, Share, Strict, TaskName


class PicturebookData(Strict):
    """The built-in world."""

    name: Literal["picturebook"]
    seed: Natural
    num_train: Positive  # scenes; the examples a scene gives differ by task
    num_val: Positive
    num_test: Positive
    num_test_novel: Positive
    noise: dict[TaskName, NonNegative]  # where the task's default does not fit this data
    epochs: dict[TaskName, Positive]


class TableData(Strict):
    """Own captions: .txt, .jsonl or .csv, each also .gz."""

    name: Literal["table"]
    path: str
    val_path: str | None
    val_share: Share  # of the scenes, held out for validation when there is no val_path
    text_column: str
    group_column: str | None
    image_column: str | None
    id_column: str | None
    on_bad_rows: OnBadRows
    noise: dict[TaskName, NonNegative]
    epochs: dict[TaskName, Positive]


DataConfig = Annotated[PicturebookData | TableData, Field(discriminator="name")]
