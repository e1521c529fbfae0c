"""Rows of Parquet files, read in batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow.parquet import ParquetFile

from close_transfer.core.errors import UserError
from close_transfer.core.readers.open_file import is_file

_BATCH_ROWS = 4096  # rows in memory at a time


def read_parquet(path: Path, setting: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield every row as (row number counted from 1, fields by name).

    Raises:
        UserError: if the file does not exist, is not Parquet, or cannot be read to its end.
    """
    if not is_file(path):
        raise UserError(f"{setting}={path}: there is no such file")
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except (pyarrow.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"{path}, row {number + 1}: the file is damaged or not Parquet ({reason}). Restore it from its source"
        ) from None
