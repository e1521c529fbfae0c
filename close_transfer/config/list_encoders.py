"""Settings of the command that lists encoders."""

from close_transfer.core.schema import Strict


class ListEncodersConfig(Strict):
    """All of `list_encoders.py`."""

    name: str | None
