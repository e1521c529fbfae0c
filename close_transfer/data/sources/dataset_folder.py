"""Checks of a dataset for the `datasets` library, before the library reads files that the dataset names.

A folder of others may name any file: its card (README.md) in `configs: data_files`, and what `save_to_disk` wrote in
state.json. Only files inside the folder are read, by readers that run no code of the dataset.
"""

import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
from pyarrow.parquet import read_schema

from close_transfer.core.errors import UserError
from close_transfer.core.readers.open_file import get_unpack_limit, is_file, unpack_error
from close_transfer.core.readers.packed_files import check_packed_file
from close_transfer.core.readers.parquet import check_unpacked_size

# Readers of the library for captions and images. Others unpickle, or follow links inside a file to other files.
_READERS = ("arrow", "csv", "imagefolder", "json", "parquet", "text", "webdataset")
_PARQUET = b"PAR1"  # first bytes of such a file
_CACHE = "cache"  # reads what the library prepared from a dataset of the hub before
# Errors for damaged archives. `zipfile` raises RuntimeError, or a subclass of it, also for a member that is encrypted or
# compressed in a way that it does not know.
_DAMAGE = (OSError, EOFError, LookupError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def is_saved(folder: Path) -> bool:
    """Return True if `save_to_disk` wrote the folder."""
    return is_file(folder / "dataset_dict.json") or is_file(folder / "state.json")


def check_builder(builder: Any, path: str) -> None:
    """Check the reader and the files that the library chose for a dataset.

    Args:
        builder: `datasets.DatasetBuilder` that has read nothing yet.
        path: folder or name of the dataset, for messages.

    Raises:
        UserError: names a file outside the dataset, or a reader that is not allowed.
    """
    reader = _find_reader(builder)
    if reader == _CACHE:
        return
    if reader not in _READERS:
        raise UserError(
            f"data.path={path}: its files need the library's reader {reader}; allowed are {', '.join(_READERS)}. Convert the "
            "dataset to one of them"
        )
    for files in (builder.config.data_files or {}).values():
        _check_files(map(str, files), str(builder.base_path or path), path, "README.md")


def _find_reader(builder: Any) -> str:
    """Return the name of the reader that the library chose."""
    for base in type(builder).__mro__:  # the library derives a class per dataset from its reader
        if base.__module__.startswith("datasets.packaged_modules."):
            return base.__module__.split(".")[2]
    return type(builder).__module__.rpartition(".")[2]


def find_parquet_columns(builder: Any) -> list[str]:
    """Return the columns of a local folder's Parquet files, which the library can read one by one; else nothing.

    A dataset of the hub is left out: without a connection the library finds it only as it was prepared before, with the
    same columns.

    Raises:
        Exception: of many kinds, if the first file is damaged.
    """
    if _find_reader(builder) != "parquet":
        return []
    files = [str(file) for files in (builder.config.data_files or {}).values() for file in files]
    if not files or not all(map(os.path.isfile, files)):
        return []
    return list(builder.config.columns or read_schema(files[0]).names)  # the dataset's card may choose columns


def check_sizes(builder: Any, columns: list[str] | None) -> None:
    """Check what the files of a dataset unpack to; those of the hub are downloaded, as the library does next.

    Args:
        builder: as of `check_builder`, which has checked it.
        columns: columns of Parquet files that will be read; None for all.

    Raises:
        UserError: if a file unpacks to far more than its size.
        Exception: of many kinds, if a file is damaged or cannot be downloaded.
    """
    named = [str(file) for files in (builder.config.data_files or {}).values() for file in files]
    if _find_reader(builder) == "imagefolder":
        named = list(filter(_is_packed, named))
    files = list(dict.fromkeys(file.rpartition("::")[2] for file in named))  # an archive once, not per member or split
    if not all(map(os.path.isfile, files)):
        files = datasets.DownloadManager(record_checksums=False).download(files)
    for file in map(Path, files):
        with file.open("rb") as content:
            is_parquet = content.read(len(_PARQUET)) == _PARQUET
        if is_parquet:
            check_unpacked_size(file, columns)
        else:
            check_packed_file(file)


def _is_packed(file: str) -> bool:
    """Return True if the library unpacks this file of an image folder; images stay as they are."""
    return file.lower().endswith(".zip") or Path(file).name.startswith("metadata.")


def check_saved(folder: Path) -> None:
    """Check the files that a folder of `save_to_disk` names.

    Raises:
        UserError: names a file outside the folder, or a damaged list of files.
    """
    tables = [folder]
    if is_file(folder / "dataset_dict.json"):
        splits = _read_entry(folder / "dataset_dict.json", "splits")
        _check_files((str(folder / str(split)) for split in splits), str(folder), str(folder), "dataset_dict.json")
        tables = [folder / str(split) for split in splits]
    for table in tables:
        if not is_file(table / "state.json"):  # the library reports it
            continue
        names = (item.get("filename") if isinstance(item, dict) else item for item in _read_data_files(table))
        _check_files((str(table / str(name)) for name in names), str(table), str(folder), "state.json")


def _read_data_files(table: Path) -> Iterator[Any]:
    yield from _read_entry(table / "state.json", "_data_files")
    yield from _read_entry(table / "state.json", "_indices_data_files")


def _read_entry(path: Path, key: str) -> list[Any]:
    """Return a list of a JSON file of `save_to_disk`; an absent one is empty."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))[key] or []
    except KeyError:
        return []
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: is damaged ({error}). Restore it from its source") from None
    if not isinstance(value, list):
        raise UserError(f"{path}: is damaged ({key} is not a list). Restore it from its source")
    return value


def _check_files(files: Iterable[str], base: str, path: str, named_by: str) -> None:
    """Raise `UserError` if a file is outside the folder or the repository `base`.

    Links are not followed, because parts of a dataset may be links to other disks.
    """
    for file in files:
        container = file.rpartition("::")[2]  # "zip://inner.csv::outer.zip"
        if not _is_inside(container, base):
            raise UserError(
                f"data.path={path}: {named_by} names {container[:200]}, which is outside the dataset. Remove it there, or put "
                "the file into the folder"
            )


def _is_inside(file: str, base: str) -> bool:
    protocol, separator, location = base.rpartition("://")
    if separator:
        if not file.startswith(f"{protocol}://"):
            return False
        folder, name = location, file.removeprefix(f"{protocol}://")
    else:
        folder, name = str(Path(base).absolute()), str(Path(file.removeprefix("file://")).absolute())
    return os.path.normpath(name).startswith(os.path.normpath(folder).rstrip("/") + "/")


def find_image(name: str, path: str) -> Path | bytes:
    """Return the file or the content of an image that a row of a dataset names.

    Args:
        name: path, or `zip://NAME::ARCHIVE` for a file in an archive.
        path: folder or name of the dataset.

    Raises:
        UserError: names a file outside the dataset, or one that the archive lacks or that cannot be unpacked.
    """
    member, _, file = name.rpartition("::")
    caches = [
        datasets.config.HF_DATASETS_CACHE,
        datasets.config.DOWNLOADED_DATASETS_PATH,
        huggingface_hub.constants.HF_HUB_CACHE,
    ]
    folders = [path] if Path(path).is_dir() else []
    if not any(_is_inside(file, str(folder)) for folder in (*folders, *caches)):
        raise UserError(
            f"data.path={path}: a row names the image {name[:200]}, which is outside the dataset. Put the image into the folder, "
            "or into the row"
        )
    if not member:
        return Path(file)
    try:
        with zipfile.ZipFile(file) as archive:
            entry = archive.getinfo(member.removeprefix("zip://"))
            if entry.file_size > get_unpack_limit(Path(file)):
                raise unpack_error(Path(file))
            return archive.read(entry)
    except UserError:
        raise
    except _DAMAGE as error:
        raise UserError(
            f"data.path={path}: the image {name[:200]} cannot be read ({error}). Restore the archive from its source"
        ) from None
