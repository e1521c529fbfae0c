"""Settings of the command that draws a contact sheet of Picturebook."""

from typing import Literal

from close_transfer.core.schema import Natural, Positive, StrictModel


class DrawPicturebookConfig(StrictModel):
    """Settings of `draw_picturebook.py`."""

    split: Literal["clip", "train", "val", "test", "test-novel"]
    seed: Natural
    columns: Positive
    rows: Positive
    output: str
