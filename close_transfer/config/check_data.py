"""Settings of the command that checks a dataset's files."""

from close_transfer.config.data import DataConfig
from close_transfer.core.schema import StrictModel


class CheckDataConfig(StrictModel):
    """Settings of `check_data.py`."""

    data: DataConfig
    all: bool
    leakage: bool
