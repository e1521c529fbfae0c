"""Atomic file writing, JSON files that commands write, locks, and fingerprints.

A reader never sees a file that is half written. Failed writes (full disk, quota, size limit, missing permission) raise
`WriteError`, here and nowhere else.
"""

import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import UnionType
from typing import Any

from close_transfer.core.errors import UserError
from close_transfer.core.output_paths import find_output_fault
from close_transfer.core.roles import Writes

# Errors that more space would solve, and errors that another place would solve: a message gives the right advice.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
# Another process may be writing the same file now, but no writer pauses for an hour.
_ABANDONED = 3600.0
_REPORTED = _FULL | _REFUSED | {errno.EIO, errno.ENOENT, errno.ESTALE, errno.ENXIO}


class WriteError(UserError):
    """Failed write. The earlier content of the file is intact."""

    def __init__(self, problem: str, remedy: str, next_step: str = "run the same command again") -> None:
        """Compose the message.

        Args:
            problem: sentence that names the file and the reason, without a full stop.
            remedy: action that solves the problem, such as "make room".
            next_step: action that continues the work afterwards.
        """
        super().__init__(f"{problem}. What was complete before is intact: {remedy}, then {next_step}")
        self._problem, self._remedy = problem, remedy

    def with_next_step(self, next_step: str) -> "WriteError":
        """Return the same error with another way to continue."""
        return WriteError(self._problem, self._remedy, next_step)


def error_number(error: BaseException) -> int | None:
    """Return the `errno` of an error, or None if it has none."""
    if isinstance(error, OSError):
        return error.errno
    # safetensors and tokenizers are written in Rust and report the number in the text only.
    reported = re.search(r"\(os error (\d+)\)", str(error))
    return int(reported[1]) if reported else None


def write_error(error: BaseException, path: Path) -> WriteError | None:
    """Convert an error into a `WriteError` about `path`; return None if it is not a write error."""
    if isinstance(error, WriteError):
        return error
    number = error_number(error)
    if number not in _REPORTED or not _concerns(error, path):
        return None
    folder = next(candidate for candidate in (path, *path.absolute().parents) if candidate.is_dir())
    reason = f"{os.strerror(number)}; {shutil.disk_usage(folder).free / 1e6:,.1f} MB are free there"
    if number == errno.EFBIG:
        reason += ", so it is a limit on the size of a file (ulimit -f)"
    remedy = "make room" if number in _FULL else "choose a place that can be written to"
    return WriteError(f"{path}: could not be written ({reason})", remedy)


def _concerns(error: BaseException, path: Path) -> bool:
    """Return True if an error is about `path`, a file below it or a folder above it, or names no file."""
    error_file = getattr(error, "filename", None)
    if not isinstance(error_file, str):
        return True
    error_folder, path_folder = Path(error_file).absolute().parent, path.absolute().parent
    return error_folder.is_relative_to(path_folder) or path_folder.is_relative_to(error_folder)


@contextmanager
def report_write_errors(path: Path) -> Iterator[None]:
    """Turn errors of writing `path` within the block into a `WriteError` that names it.

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
    """Yield a temporary path in the folder of `path`, and rename it to `path` when the block ends without an error.

    An existing file at `path` is untouched until then, and after any error. The content is flushed to the disk before
    the rename. Temporary files that killed writers of `path` left are removed.

    Raises:
        UserError: if `path` exists and is not a regular file, such as a device or a link to nothing.
        WriteError: if it cannot be written.
    """
    with report_write_errors(path):
        if not path.is_dir() and (fault := find_output_fault(path, Writes.FILE)):
            raise UserError(f"{path}: {fault}")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        # The file is created within `try`, because a signal can raise `Terminated` as soon as it exists.
        try:
            temporary.touch(exist_ok=False)
            mode = temporary.stat().st_mode
            yield temporary
            set_mode(temporary, mode)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of `path` that no writer has changed for `_ABANDONED` seconds."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):
            if time.time() - temporary.lstat().st_mtime > _ABANDONED:
                temporary.unlink()


def set_mode(path: Path, mode: int) -> None:
    """Give a file the permissions of a file that was created plainly.

    Some libraries replace the file that they write by a temporary one that only its owner can read (0600).
    """
    if path.stat().st_mode != mode:
        path.chmod(stat.S_IMODE(mode))


def follow_umask(folder: Path) -> None:
    """Give all files of a folder, which this process just wrote, the permissions that the umask asks for."""
    probe = folder / f".{secrets.token_hex(4)}.tmp"
    try:
        probe.touch(exist_ok=False)
        mode = probe.stat().st_mode
    finally:
        probe.unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            set_mode(path, mode)


def remove_stale(folder: Path, name: str | None = None) -> None:
    """Remove temporary files that killed writers of `name` (None: of any file) left in a folder.

    No other process may be writing there.
    """
    for temporary in folder.glob(f".{glob.escape(name) if name else '*'}.*.tmp"):
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot flush a folder
            raise
    finally:
        os.close(handle)


def append_line(handle: int, line: str) -> int:
    """Append a line to a file that is open for appending, and return the number of bytes written.

    If the disk fills up in the middle, the part already written is removed.
    """
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
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically.

    Raises:
        ValueError: if `value` holds NaN or infinity, which JSON cannot represent.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that a command wrote.

    Raises:
        UserError: names the file, if it is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged_file_error(path, str(error)) from error


def read_fields(path: Path, kinds: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """Read fields of a JSON object that a command wrote.

    Args:
        path: the JSON file.
        kinds: field name -> type of its value.

    Raises:
        UserError: names the file, if it does not hold an object, or a field is missing or has another type.
    """
    return select_fields(read_json(path), kinds, path)


def select_fields(value: Any, kinds: Mapping[str, type | UnionType], path: Path) -> dict[str, Any]:
    """Return fields of the value of a JSON file; arguments and errors as of `read_fields`."""
    if not isinstance(value, dict):
        raise damaged_file_error(path, "it does not hold a JSON object")
    for name, kind in kinds.items():
        if name not in value or not isinstance(value[name], kind):
            raise damaged_file_error(path, f"field {name!r} is missing or has another type")
    return {name: value[name] for name in kinds}


def damaged_file_error(path: Path, reason: str) -> UserError:
    """Return the error for a file that is not as a command wrote it."""
    first_line = (reason.splitlines() or ["no reason given"])[0][:200]
    return UserError(
        f"{path}: is damaged ({first_line}). Restore it from a copy, or run the command that wrote it again"
    )


def replace_link(link: Path, target: Path) -> None:
    """Point the symbolic link at `target`, relative to the link's folder, in one atomic step.

    Raises:
        UserError: if there is a folder instead of a link.
        WriteError: if it cannot be written.
    """
    check_replaceable_link(link)
    with report_write_errors(link):
        temporary = link.with_name(f".{link.name}.{secrets.token_hex(4)}.tmp")
        try:
            temporary.symlink_to(os.path.relpath(target, link.parent))
            temporary.replace(link)
        finally:
            temporary.unlink(missing_ok=True)
        sync(link.parent)


def check_replaceable_link(link: Path) -> None:
    """Raise `UserError` if a folder is in the place of a link, for example because a copy followed the links."""
    if link.is_dir() and not link.is_symlink():
        raise UserError(
            f"{link}: is a folder instead of a link, probably because it was copied with links followed. Rename or remove "
            "it, then run the same command again"
        )


def fingerprint(parts: Iterable[bytes | str]) -> str:
    """Return the SHA-256 of the parts and their boundaries, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        # The length comes first, so that ("ab", "c") and ("a", "bc") differ.
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def fingerprint_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
