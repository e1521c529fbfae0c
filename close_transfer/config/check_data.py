"""Settings of the command that checks what is there of a dataset."""

from close_transfer.config.data import DataConfig
from close_transfer.core.schema import Strict


class PrepareConfig(Strict):
    """All of `prepare_data.py`."""

    data: DataConfig
    leakage: bool
