"""Readers: one file a family of data, each yields Examples."""

from close_transfer.config import DataConfig, PicturebookData, TableData
from close_transfer.errors import UserError
from close_transfer.sources import picturebook, table
from close_transfer.sources.loaded import Loaded

__all__ = ["Loaded", "load_examples"]


def load_examples(data: DataConfig, task: str, split: str) -> Loaded:
    """The examples of one split of some data for a task.

    Raises:
        UserError: if the data cannot serve the task or the split, or cannot be read.
    """
    if isinstance(data, PicturebookData):
        return picturebook.load(data, task, split)  # type: ignore[arg-type]
    if isinstance(data, TableData):
        if split == "test-novel":
            raise UserError("split=test-novel: only data=picturebook has it; use split=test")
        return table.load(data, task, split)
    raise AssertionError(f"no source for {data!r}")
