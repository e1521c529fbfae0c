"""Settings of the command that writes Picturebook's text."""

from typing import Annotated, Literal

from close_transfer.config.choices import EvalSplit
from close_transfer.config.data import PicturebookData
from close_transfer.core.roles import Role, Writes
from close_transfer.core.schema import Positive, StrictModel


class WritePicturebookTextConfig(StrictModel):
    """Settings of `write_picturebook_text.py`."""

    data: PicturebookData
    split: EvalSplit
    what: Literal["captions", "questions"]
    form: str
    per_line: Positive
    output: Annotated[str, Role.LOCATION, Writes.FILE]
