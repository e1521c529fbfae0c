"""Checksums of the files in a folder, written last and checked before anything is loaded; and of JSON files in themselves."""

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from close_transfer.core.atomic_files import (
    damaged_file_error,
    fingerprint,
    fingerprint_file,
    read_json,
    select_fields,
    write_json,
)
from close_transfer.core.errors import UserError

_logger = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"
_CHECKSUM = "checksum"  # field of a JSON file that holds the checksum of the others
_MODEL_FILES = ("config.json", "encoder.json", "model.safetensors", "tokenizer.json")


def write_checksums(folder: Path, names: Collection[str]) -> None:
    """Write size and SHA-256 of these files of a folder to its checksums.json.

    Raises:
        WriteError: if it cannot be written.
    """
    entries = {
        name: {"size": (folder / name).stat().st_size, "sha256": fingerprint_file(folder / name)}
        for name in sorted(names)
    }
    write_json(folder / CHECKSUMS, entries)


def check_model_checksums(folder: Path, optional: Collection[str] = ()) -> None:
    """Check the files of a saved model; without checksums.json log a note, because a user may have deleted it on purpose.

    Raises:
        UserError: as `check_checksums`.
    """
    if (folder / CHECKSUMS).is_file():
        present = [name for name in _MODEL_FILES if (folder / name).is_file()]
        check_checksums(folder, present, optional)
    else:
        _logger.warning("note: %s has no %s, so changes of its files since training are not noticed", folder, CHECKSUMS)


def check_checksums(folder: Path, required: Collection[str] = (), optional: Collection[str] = ()) -> None:
    """Check that the files of a folder are the ones that its checksums.json describes.

    Args:
        folder: folder with checksums.json.
        required: names of files that checksums.json must list.
        optional: names of files that may be missing.

    Raises:
        UserError: if checksums.json or a file that it lists is missing or damaged.
    """
    listed = folder / CHECKSUMS
    if not listed.is_file():
        raise damaged_file_error(listed, "it is missing")
    entries = read_json(listed)
    if not isinstance(entries, dict) or not all(_is_entry(name, entry) for name, entry in entries.items()):
        raise damaged_file_error(listed, "it does not list files with size and SHA-256")
    for name in required:
        if name not in entries:
            raise damaged_file_error(listed, f"it does not list {name}")
    for name, entry in entries.items():
        path = folder / name
        if name in optional and not path.is_file():
            continue
        if not path.is_file() or path.stat().st_size != entry["size"] or fingerprint_file(path) != entry["sha256"]:
            raise UserError(
                f"{path}: is missing, or damaged (its size or SHA-256 is not the one in {CHECKSUMS}). Restore the file from a "
                f"copy, or make the folder again; if you changed it on purpose, delete {CHECKSUMS}"
            )


def _is_entry(name: str, entry: object) -> bool:
    """Return True if this describes a file of the folder itself, not one elsewhere."""
    return (
        name not in ("", ".", "..")
        and Path(name).name == name
        and isinstance(entry, dict)
        and type(entry.get("size")) is int
        and isinstance(entry.get("sha256"), str)
        and len(entry["sha256"]) == hashlib.sha256().digest_size * 2
    )


def write_checked_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Write fields as a JSON object with their checksum, so that `read_checked_fields` notices a changed value.

    Raises:
        ValueError: if a value holds NaN or infinity.
        WriteError: if it cannot be written.
    """
    write_json(path, {**fields, _CHECKSUM: _compute_checksum(fields)})


def read_checked_json(path: Path) -> dict[str, Any]:
    """Return the fields that `write_checked_json` wrote, without their checksum.

    Raises:
        UserError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise damaged_file_error(path, "it is missing")
    fields = read_json(path)
    if not isinstance(fields, dict):
        raise damaged_file_error(path, "it does not hold a JSON object")
    if fields.pop(_CHECKSUM, None) != _compute_checksum(fields):
        raise damaged_file_error(path, "its contents do not match its checksum")
    return fields


def read_checked_fields(path: Path, kinds: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """Return some of the fields that `write_checked_json` wrote.

    Args:
        path: the JSON file.
        kinds: field name -> type of its value.

    Raises:
        UserError: as `read_checked_json`, and if a field is missing or has another type.
    """
    return select_fields(read_checked_json(path), kinds, path)


def _compute_checksum(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, ensure_ascii=False)
    return fingerprint([text.encode("utf-8", "surrogatepass")])[:16]  # a damaged file may hold lone surrogates
