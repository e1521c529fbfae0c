"""Settings of the command that lists encoders."""

from close_transfer.core.schema import StrictModel


class ListEncodersConfig(StrictModel):
    """Settings of `list_encoders.py`."""

    name: str | None
