import errno
import os
import random

import pytest

from close_transfer.core.atomic_files import WriteError
from close_transfer.core.errors import UserError
from close_transfer.core.journal_lines import format_line
from close_transfer.inference.journal import PredictionJournal
from tests.flips import flip_bit

KEY = {"checkpoint": "abc", "batch_size": 4}


def kept(journal):
    """Return the batches, after a check that they start where they were added."""
    starts, batches = zip(*journal.read_batches(), strict=True) if journal.num_batches else ((), ())
    assert list(starts) == [4 * number for number in range(len(starts))]
    return list(batches)


def add(journal, batch):
    journal.append(4 * journal.num_batches, batch)


def test_batches_are_read_as_they_were_written(tmp_path):
    batches = [[{"id": "a\u2028b\n", "score": -0.1 - 1e-17}], [], {"x": [1.5, None, "é"]}]
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert journal.num_batches == 0
        for batch in batches:
            add(journal, batch)
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert journal.num_batches == 3
        assert kept(journal) == batches
        add(journal, "more")
        assert kept(journal) == [*batches, "more"]
        journal.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [b'[{"id": "c"', b'[{"id"\n', b"\0\0\0\0\n", b"\xff\xfe"])
def test_cut_line_is_dropped(tmp_path, left):
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        add(journal, "first")
        path = journal.path
    whole = path.read_bytes()
    path.write_bytes(whole + left)
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert kept(journal) == ["first"]
        add(journal, "second")
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert kept(journal) == ["first", "second"]


def test_damaged_line_and_all_after_it_are_answered_again(tmp_path):
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        for batch in ("first", "second", "third"):
            add(journal, batch)
        path = journal.path
    path.write_bytes(path.read_bytes().replace(b'"second"', b'"sacond"'))
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert kept(journal) == ["first"]


@pytest.mark.parametrize("change", ["double", "miss", "move", "restart", "end"])
def test_batches_after_a_line_in_the_wrong_place_are_answered_again(change, tmp_path):
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        for batch in ("first", "second", "third"):
            add(journal, batch)
        path = journal.path
    header, first, second, third = path.read_bytes().splitlines(keepends=True)
    restarted = format_line(3, {"start": 0, "answers": "first"}).encode() + b"\n"
    changed = {
        "double": [header, first, first, second, third],
        "miss": [header, first, third],
        "move": [header, first, third, second],
        "restart": [header, first, restarted],
        "end": [header, first, second[:-1] + b"\x08"],
    }
    path.write_bytes(b"".join(changed[change]))
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert kept(journal) == ["first"]


def test_no_flipped_bit_of_a_journal_is_read(tmp_path):
    batches = [[{"id": str(number), "texts": ["a dog on a bench"]}] for number in range(4)]
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        for batch in batches:
            add(journal, batch)
        path = journal.path
    good, rng = path.read_bytes(), random.Random(0)
    for _ in range(100):
        path.write_bytes(flip_bit(good, rng))
        with PredictionJournal(tmp_path / "out", KEY) as journal:
            assert journal.num_batches < 4 and kept(journal) == batches[: journal.num_batches]


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
        add(journal, "old")
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
        add(journal, "first")
        real = os.write
        monkeypatch.setattr(os, "write", lambda handle, line: real(handle, line[:2]) and _full())
        with pytest.raises(WriteError, match=r"out\.journal: could not be written"):
            add(journal, "second")
        monkeypatch.setattr(os, "write", real)
    assert journal.path.read_text().splitlines()[-1].endswith('"start": 0, "answers": "first"}')
    with PredictionJournal(tmp_path / "out", KEY) as journal:
        assert kept(journal) == ["first"]


def _full():
    raise OSError(errno.ENOSPC, "No space left on device")
