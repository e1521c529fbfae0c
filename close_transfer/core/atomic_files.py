"""Writing files so that a reader never sees half of one, and fingerprints of what was read.

Whatever cannot be written (a full disk, a quota, a limit, missing rights) is a `WriteError`, raised
here and nowhere else.
"""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import UnionType
from typing import Any

from close_transfer.core.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
_REPORTED = _FULL | _REFUSED | {errno.EIO, errno.ENOENT, errno.ESTALE, errno.ENXIO}


class WriteError(UserError):
    """Something could not be written; what stood there before is untouched."""

    def __init__(self, what: str, mend: str, again: str = "run the same command again") -> None:
        """`what` happened, what would `mend` it, and how to go on `again`."""
        super().__init__(f"{what}. What was complete before is intact: {mend}, then {again}")
        self._what, self._mend = what, mend

    def then(self, again: str) -> "WriteError":
        """The same with another way to go on."""
        return WriteError(self._what, self._mend, again)


def error_number(error: BaseException) -> int | None:
    """The operating system's number of an error, also of one that a library written in Rust reports."""
    if isinstance(error, OSError):
        return error.errno
    reported = re.search(r"\(os error (\d+)\)", str(error))
    return int(reported[1]) if reported else None


def write_error(error: BaseException, path: Path) -> WriteError | None:
    """The error as a sentence about `path`; None if it is not one of writing."""
    if isinstance(error, WriteError):
        return error
    number = error_number(error)
    if number not in _REPORTED or not _concerns(error, path):
        return None
    folder = next(candidate for candidate in (path, *path.absolute().parents) if candidate.is_dir())
    reason = f"{os.strerror(number)}; {shutil.disk_usage(folder).free / 1e6:,.1f} MB are free there"
    if number == errno.EFBIG:
        reason += ", so it is a limit on the size of a file (ulimit -f)"
    mend = "make room" if number in _FULL else "choose a place that can be written to"
    return WriteError(f"{path}: could not be written ({reason})", mend)


def _concerns(error: BaseException, path: Path) -> bool:
    """Whether an error is about `path`, what is in it, or a folder above it; most name no file."""
    named = getattr(error, "filename", None)
    if not isinstance(named, str):
        return True
    error_folder, path_folder = Path(named).absolute().parent, path.absolute().parent
    return error_folder.is_relative_to(path_folder) or path_folder.is_relative_to(error_folder)


@contextmanager
def report_write_errors(path: Path) -> Iterator[None]:
    """Errors of writing `path` become a `WriteError` that names it.

    Raises:
        WriteError: if the disk is full, or the place cannot be written to.
    """
    try:
        yield
    except Exception as error:
        failure = write_error(error, path)
        if failure is None or failure is error:
            raise
        raise failure from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renames it to `path` when the block ends well.

    Whatever stood at `path` stays untouched until then, and after any error. The content is
    flushed to the disk before the rename.

    Raises:
        WriteError: if it cannot be written.
    """
    with report_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        # mkstemp makes private files; a finished file gets the permissions of any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary = Path(name)
        try:
            yield temporary
            sync(temporary)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def remove_stale(folder: Path, name: str | None = None) -> None:
    """Removes what killed writers of `name` (or of any file) left in a folder; no other may be at work there."""
    for temporary in folder.glob(f".{glob.escape(name) if name else '*'}.*.tmp"):
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flushes a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that cannot flush a folder
            raise
    finally:
        os.close(handle)


def append_line(handle: int, line: str) -> int:
    """Appends a line to a file open for appending, all of it or nothing; the number of bytes."""
    content = line.encode() + b"\n"
    size, num_written = os.fstat(handle).st_size, 0
    try:
        while num_written < len(content):
            num_written += os.write(handle, content[num_written:])
    except OSError:
        os.ftruncate(handle, size)
        raise
    return num_written


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically. NaN and infinity are refused, as JSON has none.

    Raises:
        ValueError: if `value` holds a number that JSON cannot hold.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file that a command wrote.

    Raises:
        UserError: naming the file, if it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged_file_error(path, str(error)) from error


def read_fields(path: Path, kinds: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """These fields of a JSON object that a command wrote.

    Raises:
        UserError: naming the file, if it is no such object, or a field is missing or of another kind.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise damaged_file_error(path, "it holds no object")
    for name, kind in kinds.items():
        if name not in value or not isinstance(value[name], kind):
            raise damaged_file_error(path, f"field {name!r} is missing or of another kind")
    return {name: value[name] for name in kinds}


def damaged_file_error(path: Path, reason: str) -> UserError:
    """That a file is not as a command wrote it."""
    first_line = (reason.splitlines() or ["no reason given"])[0][:200]
    return UserError(
        f"{path}: is damaged ({first_line}); restore it from a copy, or make it again by the command that wrote it"
    )


def replace_link(link: Path, target: Path) -> None:
    """Points the symbolic link at `target`, relative to the link's folder, in one step."""
    with report_write_errors(link):
        temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
        with suppress(FileNotFoundError):
            temporary.unlink()
        try:
            temporary.symlink_to(os.path.relpath(target, link.parent))
            temporary.replace(link)
        finally:
            temporary.unlink(missing_ok=True)
        sync(link.parent)


def fingerprint(parts: Iterable[bytes | str]) -> str:
    """SHA-256 over the parts and their boundaries, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def fingerprint_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
