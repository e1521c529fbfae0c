import errno
import os

import pytest
from safetensors import SafetensorError

from close_transfer.core.atomic_files import (
    WriteError,
    append_line,
    atomic_path,
    remove_stale,
    report_write_errors,
    write_text,
)
from close_transfer.core.errors import UserError


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        Exception("No space left on device (os error 28)"),  # as the tokenizers library raises it
    ],
)
def test_a_full_disk_is_reported_and_the_old_content_kept(tmp_path, error):
    path = tmp_path / "results.json"
    write_text(path, "good")
    with pytest.raises(WriteError) as caught, atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    message = str(caught.value)
    assert str(path) in message
    assert "MB are free" in message
    assert "What was complete before is intact: make room, then run the same command again" in message
    assert path.read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_an_unwritable_place_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/below/x: could not be written .*choose a place"):
        write_text(tmp_path / "file" / "below" / "x", "")


def test_other_errors_are_not_changed(tmp_path):
    with pytest.raises(FileNotFoundError), report_write_errors(tmp_path / "output"):
        (tmp_path.parent / "elsewhere" / "input").read_text()
    with pytest.raises(ZeroDivisionError), report_write_errors(tmp_path / "output"):
        _ = 1 / 0


def test_a_line_is_appended_completely_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_text("first\n")
    real, calls = os.write, []

    def fills_up(handle, content):
        calls.append(content)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, content[:3])

    monkeypatch.setattr(os, "write", fills_up)
    with path.open("ab") as file, pytest.raises(OSError, match="No space"):
        append_line(file.fileno(), "second")
    assert path.read_text() == "first\n"


def test_only_temporary_files_of_killed_writers_are_removed(tmp_path):
    for name in (".a.json.x8f3.tmp", ".b.json.k2.tmp", "a.json", ".hidden", "note.tmp"):
        (tmp_path / name).write_text("")
    remove_stale(tmp_path, "a.json")
    assert {p.name for p in tmp_path.iterdir()} == {".b.json.k2.tmp", "a.json", ".hidden", "note.tmp"}
    remove_stale(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"a.json", ".hidden", "note.tmp"}
