import errno
import os

import pytest

from close_transfer.core.atomic_files import WriteError
from close_transfer.core.errors import UserError
from close_transfer.inference.journal import PredictionJournal

KEY = {"checkpoint": "abc", "batch_size": 4}


def kept(journal):
    return list(journal.read_batches())


def test_batches_are_read_as_they_were_written(tmp_path):
    batches = [[{"id": "a\u2028b\n", "score": -0.1 - 1e-17}], [], {"x": [1.5, None, "é"]}]
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert journal.num_batches == 0
        for batch in batches:
            journal.append(batch)
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert journal.num_batches == 3
        assert kept(journal) == batches
        journal.append("more")
        assert kept(journal) == [*batches, "more"]
        journal.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [b'[{"id": "c"', b'[{"id"\n', b"\0\0\0\0\n", b"\xff\xfe"])
def test_cut_line_is_dropped(tmp_path, left):
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        journal.append("first")
        path = journal.path
    whole = path.read_bytes()
    path.write_bytes(whole + left)
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert kept(journal) == ["first"]
        journal.append("second")
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert kept(journal) == ["first", "second"]


def test_damaged_line_and_all_after_it_are_answered_again(tmp_path):
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        for batch in ("first", "second", "third"):
            journal.append(batch)
        path = journal.path
    path.write_bytes(path.read_bytes().replace(b'"second"', b'"sacond"'))
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert kept(journal) == ["first"]


@pytest.mark.parametrize("length", [0, 1, 20])
def test_cut_header_starts_a_new_journal(tmp_path, length):
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        path = journal.path
    path.write_bytes(path.read_bytes()[:length])
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert kept(journal) == []
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert journal.num_batches == 0


def test_journal_of_other_answers_is_renamed_and_reported(tmp_path, capsys):
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        journal.append("old")
        before = journal.path.read_bytes()
    with PredictionJournal(tmp_path / "out", KEY | {"checkpoint": "def"}) as journal:
        assert kept(journal) == []
        assert journal.path.with_name("out.journal.old").read_bytes() == before
    said = capsys.readouterr().err
    assert "it differed in checkpoint. Its answers were moved to out.journal.old" in said


def test_two_processes_never_write_one_journal(tmp_path):
    with (
        PredictionJournal(tmp_path / "out", KEY),
        pytest.raises(UserError, match=r"output=.*/out: another process is writing it\. Wait"),
    ):
        PredictionJournal(tmp_path / "out", KEY)
    with PredictionJournal(tmp_path / "out", KEY):
        pass


def test_full_disk_keeps_earlier_batches(tmp_path, monkeypatch):
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        journal.append("first")
        real = os.write
        monkeypatch.setattr(os, "write", lambda handle, line: real(handle, line[:2]) and _full())
        with pytest.raises(WriteError, match=r"out\.journal: could not be written"):
            journal.append("second")
        monkeypatch.setattr(os, "write", real)
    assert journal.path.read_text().splitlines()[-1].endswith(' "first"')
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert kept(journal) == ["first"]


def _full():
    raise OSError(errno.ENOSPC, "No space left on device")
