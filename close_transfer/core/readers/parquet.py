"""Rows of Parquet files, read in batches and with a limit of their unpacked size.

A repeated value takes a few bytes in a file, however long it is. So texts stay in their dictionary until the size of a batch
is known.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import compute
from pyarrow.parquet import ParquetFile

from close_transfer.core.errors import UserError, get_first_line
from close_transfer.core.readers.columns import match_columns
from close_transfer.core.readers.open_file import get_unpack_limit, is_file, unpack_error
from close_transfer.core.readers.parquet_pages import Chunk, iterate_pages, read_chunks

_MAX_BATCH_ROWS = 65_536  # fewer make dictionaries slow, because every batch has a copy of them
_PART_ROWS = 4096  # rows as Python objects in memory at a time
_BATCH_SIZE = 64 * 2**20  # bytes of a batch, in the file and unpacked
_LARGE_VALUE = 4096  # bytes on average; longer than any caption
_VALUE_SIZE = 8  # bytes that any value takes in memory; a million equal values take a few bytes in a file
_BUFFER_SIZE = 2**20  # bytes read at a time; otherwise all bytes of a column and row group

# Errors of pyarrow for damaged files, whose columns may have other names in two places.
_DAMAGE = (pyarrow.ArrowException, OSError, ValueError, LookupError, OverflowError, MemoryError, RecursionError)


def read_parquet(
    path: Path, setting: str, columns: Sequence[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield every row as (row number counted from 1, fields by name).

    Args:
        path: the file.
        setting: name of the setting that holds the path, for messages.
        columns: names of the columns to read, or patterns such as `caption_*`; None for all that hold no bytes, because
            those of images fill the memory and no caller uses them.

    Raises:
        UserError: if the file does not exist, is not Parquet, lacks a column, holds nothing but bytes, unpacks to far
            more than its size, or cannot be read to its end.
    """
    if not is_file(path):
        raise UserError(f"{setting}={path}: there is no such file")
    number = 0
    try:
        for batch in _read_batches(path, setting, columns):
            for part in _unpack(batch):
                for record in part.to_pylist():
                    number += 1
                    yield number, record
    except UserError:
        raise
    except _DAMAGE as error:
        raise UserError(
            f"{path}, row {number + 1}: the file is damaged or not Parquet ({get_first_line(error)}). Restore it from its source"
        ) from None


def check_unpacked_size(path: Path, columns: Sequence[str] | None = None) -> None:
    """Check a Parquet file that another library will unpack.

    Args:
        path: the file.
        columns: names of the columns that will be read; None for all.

    Raises:
        UserError: if it unpacks to far more than its size.
        ValueError: if it is damaged; pyarrow's errors of damage are of this kind.
    """
    with ParquetFile(path) as file:
        groups = _read_checked_groups(file, path, columns)
    chunks = [chunk for group in groups for chunk in group]
    if sum(_bound_values(path, chunk) for chunk in chunks) <= get_unpack_limit(path):
        return
    repeating = {chunk.name for chunk in chunks if chunk.is_bytes and _may_repeat(chunk)}
    for _ in _read_batches(path, "data.path", sorted(repeating)):
        pass


def _read_checked_groups(file: ParquetFile, path: Path, columns: Sequence[str] | None) -> list[list[Chunk]]:
    """Return the chosen columns of each row group, after a check of what footer and pages say that they unpack to.

    Raises:
        UserError: if that is far more than the file's size.
        ValueError: if a footer or header is damaged.
    """
    limit = get_unpack_limit(path)
    groups = [[chunk for chunk in group if columns is None or _is_read(chunk, columns)] for group in read_chunks(path)]
    chunks = [chunk for group in groups for chunk in group]
    declared = sum(
        chunk.size + chunk.num_values * max(_VALUE_SIZE, file.schema.column(chunk.column).length or 0)
        for chunk in chunks
    )
    if declared > limit:
        raise unpack_error(path)
    num_bytes = 0
    for chunk in chunks:
        for page in iterate_pages(path, chunk):
            num_bytes += page.size
            if num_bytes > limit:
                raise unpack_error(path)
    return groups


def _is_read(chunk: Chunk, columns: Sequence[str]) -> bool:
    """Return True if pyarrow reads a column for one of these names, which may be the first part of its path."""
    return any(f"{chunk.path}.".startswith(f"{name}.") for name in columns)


def _bound_values(path: Path, chunk: Chunk) -> int:
    """Return the bytes that a column's values take at most; each may repeat all that there is to repeat."""
    if chunk.has_deltas:
        return chunk.num_values * sum(page.size for page in iterate_pages(path, chunk))
    num_bytes = size_of_dictionary = 0
    for page in iterate_pages(path, chunk):
        size_of_dictionary = page.size if page.is_dictionary else size_of_dictionary
        num_bytes += page.num_values * size_of_dictionary if page.refers else page.size
    return num_bytes


def _may_repeat(chunk: Chunk) -> bool:
    """Return True if values of a column may take more bytes in memory than in the file."""
    return chunk.has_dictionary or chunk.has_deltas


def _read_batches(path: Path, setting: str, columns: Sequence[str] | None) -> Iterator[pyarrow.RecordBatch]:
    """Yield batches whose texts are in dictionaries, until they would unpack to more than the limit."""
    with ParquetFile(path) as file:
        columns = _choose_columns(file.schema_arrow, path, setting, columns)
        groups = _read_checked_groups(file, path, columns)
        if len(groups) != file.num_row_groups:
            raise ValueError("its footer has another number of row groups")
        dictionaries = {chunk.path for group in groups for chunk in group if _keeps_dictionary(chunk, file.schema)}
        batch_rows = [_choose_batch_rows(file, number, group) for number, group in enumerate(groups)]
    limit, num_bytes = get_unpack_limit(path), 0
    with ParquetFile(path, read_dictionary=sorted(dictionaries), buffer_size=_BUFFER_SIZE) as file:
        for number, rows in enumerate(batch_rows):
            for batch in file.iter_batches(rows, row_groups=[number], columns=columns):
                num_bytes += sum(_measure(column) for column in batch.columns)
                if num_bytes > limit:
                    raise unpack_error(path)
                yield batch


def _choose_columns(schema: pyarrow.Schema, path: Path, setting: str, columns: Sequence[str] | None) -> list[str]:
    """Return the names of the columns to read; errors and arguments as of `read_parquet`."""
    shown = ", ".join(repr(name[:60]) for name in schema.names[:12])
    if columns is None:
        readable = [field.name for field in schema if not _holds_bytes(field.type)]
        if not readable:
            raise UserError(f"{setting}={path}: all its columns hold bytes ({shown}). Give a file with texts")
        return readable
    chosen: dict[str, None] = {}
    for column in columns:
        matching = match_columns(column, schema.names)
        if not matching:
            raise UserError(
                f"{setting}={path}: there is no column {column!r}; its columns are {shown}. Give one of them"
            )
        chosen |= dict.fromkeys(matching)
    return list(chosen)


def _holds_bytes(kind: pyarrow.DataType) -> bool:
    types = pyarrow.types
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    return any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))


def _keeps_dictionary(chunk: Chunk, schema: Any) -> bool:
    """Return True if a column of texts stays in its dictionary until it is measured.

    Images do not, because the dictionary would hold all of them; they are read a few rows at a time. Lists always do,
    because one row may repeat a value any number of times.
    """
    is_list = schema.column(chunk.column).max_repetition_level > 0
    return chunk.is_bytes and chunk.has_dictionary and (is_list or not _has_large_values(chunk))


def _has_large_values(chunk: Chunk) -> bool:
    return chunk.size > _LARGE_VALUE * max(1, chunk.num_values)


def _choose_batch_rows(file: ParquetFile, number: int, group: Sequence[Chunk]) -> int:
    num_rows = max(1, file.metadata.row_group(number).num_rows)
    row_size = 1
    for chunk in group:
        # Each value of these may repeat what all values hold together.
        repeats = chunk.has_deltas or file.schema.column(chunk.column).length or _has_large_values(chunk)
        row_size += chunk.size // (1 if repeats else num_rows)
    return max(1, min(_MAX_BATCH_ROWS, _BATCH_SIZE // row_size))


def _measure(array: pyarrow.Array) -> int:
    """Return the number of bytes of an array after its dictionaries are unpacked."""
    kind = array.type
    if pyarrow.types.is_dictionary(kind):
        lengths = compute.binary_length(array.dictionary).take(array.indices)
        return (compute.sum(lengths).as_py() or 0) + _VALUE_SIZE * len(array)
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_map(kind):
        inner = [array.keys, array.items] if pyarrow.types.is_map(kind) else [array.flatten()]
        return _VALUE_SIZE * len(array) + sum(_measure(part) for part in inner)
    if pyarrow.types.is_struct(kind):
        return sum(_measure(part) for part in array.flatten())
    return array.nbytes


def _unpack(batch: pyarrow.RecordBatch) -> Iterator[pyarrow.RecordBatch]:
    """Yield parts of a batch without dictionaries, each small unless one row is large."""
    fields = [field.with_type(_drop_dictionaries(field.type)) for field in batch.schema]
    size = sum(_measure(column) for column in batch.columns)
    num_parts = min(batch.num_rows, max(-(-size // _BATCH_SIZE), -(-batch.num_rows // _PART_ROWS)))
    part_rows = -(-batch.num_rows // max(1, num_parts))
    for start in range(0, batch.num_rows, part_rows or 1):
        part = batch.slice(start, part_rows)
        if len(batch) > part_rows and sum(_measure(column) for column in part.columns) > 2 * _BATCH_SIZE:
            yield from _unpack(part)  # long texts are next to each other
            continue
        columns = [column.cast(field.type) for column, field in zip(part.columns, fields, strict=True)]
        yield pyarrow.RecordBatch.from_arrays(columns, schema=pyarrow.schema(fields))


def _drop_dictionaries(kind: pyarrow.DataType) -> pyarrow.DataType:
    if pyarrow.types.is_dictionary(kind):
        return kind.value_type
    if pyarrow.types.is_list(kind):
        return pyarrow.list_(_drop_dictionaries(kind.value_type))
    if pyarrow.types.is_large_list(kind):
        return pyarrow.large_list(_drop_dictionaries(kind.value_type))
    if pyarrow.types.is_struct(kind):
        return pyarrow.struct([field.with_type(_drop_dictionaries(field.type)) for field in kind])
    return kind
