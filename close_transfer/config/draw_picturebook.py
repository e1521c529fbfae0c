"""Settings of the command that draws a contact sheet of Picturebook."""

from typing import Annotated, Literal

from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import Natural, Positive, StrictModel


class DrawPicturebookConfig(StrictModel):
    """Settings of `draw_picturebook.py`."""

    split: Literal["clip", "train", "val", "test", "test-novel"]
    seed: Natural
    columns: Positive
    rows: Positive
    output: Annotated[str, Role.LOCATION, Writes.FILE]
