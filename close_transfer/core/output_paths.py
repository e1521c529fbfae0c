"""Checks of output paths before the work: a device, a pipe or a link to nothing must not be replaced by a file."""

import stat
from pathlib import Path

from pydantic import BaseModel

from close_transfer.core.errors import UserError
from close_transfer.core.roles import Writes

_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}


def is_standard_output(output: str) -> bool:
    """Return True if an output setting means standard output."""
    return output in _STANDARD_OUTPUT


def find_output_fault(path: Path, writes: Writes) -> str:
    """Return why a command must not write `path`, as two sentences without a subject; empty if it may.

    Args:
        path: output path, which need not exist.
        writes: what the command writes there.
    """
    wanted = "a file" if writes is Writes.FILE else "a folder"
    try:
        kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode), "not a file")
    except (OSError, ValueError):  # a name that cannot exist is reported by the write itself
        if path.is_symlink():
            return f"is a link to {path.readlink()}, which does not exist. Remove the link, or give another output"
        return ""
    return "" if kind == wanted else f"is {kind}, not {wanted}. Give the path of {wanted}"


def check_outputs(config: BaseModel) -> None:
    """Check the settings that name an output, so that a mistake shows before the work.

    Raises:
        UserError: names the setting whose path exists and is of another kind.
    """
    for name, field in type(config).model_fields.items():
        output, mark = getattr(config, name), next((m for m in field.metadata if isinstance(m, Writes)), None)
        if mark is None or not output or (mark is Writes.FILE and is_standard_output(output)):
            continue
        if fault := find_output_fault(Path(output), mark):
            raise UserError(f"{name}={output}: {fault}")
