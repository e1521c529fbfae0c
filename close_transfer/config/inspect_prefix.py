"""Settings of the command that shows the words nearest to prefix tokens."""

from typing import Annotated

from close_transfer.config.saved_run import RunReference
from close_transfer.core.roles import Role
from close_transfer.core.schema import Positive


class InspectPrefixConfig(RunReference):
    """Settings of `inspect_prefix.py`."""

    images: str | None
    num_images: Positive
    num_words: Positive
    device: Annotated[str, Role.LOCATION]
