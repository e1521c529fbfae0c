"""Settings of the command that checks what is there of a dataset."""

from close_transfer.config.data import DataConfig
from close_transfer.core.schema import StrictModel


class CheckDataConfig(StrictModel):
    """Settings of `check_data.py`."""

    data: DataConfig
    all: bool
    leakage: bool
