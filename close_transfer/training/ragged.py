"""Rows of token ids of different lengths, and their padding."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from close_transfer.core.arrays import IntArray


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, stored one after the other.

    Attributes:
        values: values of all rows, shape (total,).
        starts: start of each row in `values`, and the end of the last row, shape (rows + 1,).
    """

    values: NDArray[np.uint16] | NDArray[np.int32]
    starts: IntArray

    @classmethod
    def from_rows(cls, rows: Iterable[Iterable[int]]) -> "Ragged":
        builder = RaggedBuilder()
        builder.extend(rows)
        return builder.build()

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.values[self.starts[row] : self.starts[row + 1]].astype(np.int32)

    def compute_lengths(self) -> IntArray:
        return np.diff(self.starts)

    def pad(self, rows: Sequence[int] | IntArray, padding: int, multiple: int = 1) -> Tensor:
        """Return these rows in one tensor, shape (rows, length), int64.

        Args:
            rows: numbers of the rows, which may repeat.
            padding: value that fills a row up.
            multiple: number that divides the length: the longest row is padded up to the next multiple.
        """
        values, _ = self._pad(rows, padding, multiple)
        return torch.from_numpy(values)

    def pad_with_mask(self, rows: Sequence[int] | IntArray, padding: int, multiple: int = 1) -> tuple[Tensor, Tensor]:
        """Return what `pad` returns, and a mask of the same shape and dtype: 1 for a value, 0 for padding."""
        values, is_value = self._pad(rows, padding, multiple)
        return torch.from_numpy(values), torch.from_numpy(is_value).long()

    def _pad(self, rows: Sequence[int] | IntArray, padding: int, multiple: int) -> tuple[IntArray, NDArray[np.bool_]]:
        selected = np.asarray(rows, dtype=np.int64)
        starts = self.starts[selected]
        lengths = self.starts[selected + 1] - starts
        columns = np.arange(round_up(int(lengths.max(initial=0)), multiple))
        is_value = columns < lengths[:, None]
        padded = np.full(is_value.shape, padding, dtype=np.int64)
        padded[is_value] = self.values[(starts[:, None] + columns)[is_value]]
        return padded, is_value


class RaggedBuilder:
    """Rows that are collected part by part."""

    def __init__(self) -> None:
        self._values, self._starts = array("i"), array("q", [0])

    def extend(self, rows: Iterable[Iterable[int]]) -> None:
        for row in rows:
            self._values.extend(row)
            self._starts.append(len(self._values))

    def build(self) -> Ragged:
        """Return the rows; none can be added after that."""
        values = np.asarray(self._values, dtype=np.int32)
        fits = values.min(initial=0) >= 0 and values.max(initial=0) <= np.iinfo(np.uint16).max
        # Most vocabularies fit into 16 bits, which saves 30 bytes per caption: 30 MB of a million.
        return Ragged(values.astype(np.uint16) if fits else values, np.asarray(self._starts, dtype=np.int64))


def round_up(number: int, multiple: int) -> int:
    """Return the smallest multiple that is at least `number`."""
    return -(-number // multiple) * multiple
