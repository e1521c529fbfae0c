import errno
import subprocess
import sys

import pytest
from filelock import FileLock

from close_transfer.core.errors import UserError
from close_transfer.core.locks import hold_lock, locate_lock
from close_transfer.core.signals import Terminated

HOLDER = """
import sys
from pathlib import Path
from close_transfer.core.errors import UserError
from close_transfer.core.locks import hold_lock
with hold_lock(Path(sys.argv[1]), UserError("held")):
    print("held", flush=True)
    input()
"""


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path):
    path = locate_lock(tmp_path)
    refusal = UserError("another process is at work")
    with hold_lock(path, refusal):
        with pytest.raises(UserError) as refused, hold_lock(path, refusal):
            pass
        assert refused.value is refusal
        assert path.is_file()
    with hold_lock(path, refusal):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_file_is_next_to_it(tmp_path):
    assert locate_lock(tmp_path) == tmp_path / ".lock"
    assert locate_lock(tmp_path / "journal.jsonl") == tmp_path / ".journal.jsonl.lock"


def test_a_killed_process_holds_no_lock(tmp_path):
    path = locate_lock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="at work"), hold_lock(path, UserError("another is at work")):
            pass
        process.kill()
        process.wait()
        assert path.is_file()
        with hold_lock(path, UserError("another is at work")):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_signal_right_after_the_lock_leaves_no_file(tmp_path, monkeypatch):
    acquire = FileLock.acquire

    def be_terminated(self):
        acquire(self)
        raise Terminated("SIGTERM")

    monkeypatch.setattr(FileLock, "acquire", be_terminated)
    with pytest.raises(Terminated), hold_lock(locate_lock(tmp_path), UserError("held")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_refuses_nobody(tmp_path, monkeypatch):
    def refuse(self):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "_acquire", refuse)
    with hold_lock(locate_lock(tmp_path), UserError("held")), hold_lock(locate_lock(tmp_path), UserError("held")):
        pass
