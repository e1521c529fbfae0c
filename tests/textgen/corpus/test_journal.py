"""Length of a journal: lines that are missing at its end are noticed, and sent again after a repair."""

from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from textgen.corpus.journal import REMEDY, RequestJournal, read_ledger
from textgen.corpus.line_counts import read_length


def cut_journal(made, num):
    lines = made.journal.read_bytes().splitlines(keepends=True)
    made.journal.write_bytes(b"".join(lines[:-num]))
    return len(lines)


def test_lines_that_are_cut_off_at_the_end_are_noticed(serve, corpus, capsys):
    server = serve()
    made = corpus(server)
    made.ask()
    assert not (made.folder / "filters.json").exists()
    lost = made.events("answer")[-1]["id"]
    num = cut_journal(made, 2)  # of two answers
    damaged = made.read_files()
    for action in ("run", "status", "collect", "filter"):
        with pytest.raises(UserError, match=rf"it has {num - 2} lines, and journal\.jsonl\.length counts {num}\)"):
            made.run(f"action={action}")
    assert made.read_files() == damaged
    assert made.run("action=repair") == 0
    printed = capsys.readouterr().out
    assert "2 dropped" in printed and f"dropped: line {num} is missing" in printed
    assert made.run() == 0
    assert made.is_complete and lost in made.answers()
    assert server.counts()["requests"] == 8
    assert made.run("action=repair") == 0
    assert "is not damaged" in capsys.readouterr().out


def test_a_lost_journal_is_noticed_before_anything_was_filtered(serve, corpus, capsys):
    server = serve()
    made = corpus(server)
    made.ask()
    made.journal.unlink()
    for action in ("run", "status", "filter"):
        with pytest.raises(UserError, match=r"it has 0 lines, and journal\.jsonl\.length counts"):
            made.run(f"action={action}")
    assert not made.journal.exists()
    assert made.run("action=repair") == 0
    assert "there was no such file" in capsys.readouterr().out
    assert made.run() == 0
    assert server.counts()["requests"] == 12


def test_a_damaged_length_of_the_journal_is_a_sentence(offline):
    length = offline.folder / "journal.jsonl.length"
    good = length.read_bytes()
    for content in (b"", b"{}", b"[1]", b"\xff", good.replace(b"9", b"8", 1)):
        length.write_bytes(content)
        with pytest.raises(UserError, match=r"journal\.jsonl\.length: is damaged \(.*action=repair"):
            offline.run()
    assert offline.run("action=repair") == 0
    assert length.read_bytes() == good


def test_a_journal_is_never_shorter_than_its_length_says(tmp_path):
    path = tmp_path / "journal.jsonl"
    for num in range(1, 4):
        with RequestJournal(path, "k") as journal:
            assert read_length(path, REMEDY) == len(path.read_bytes().splitlines()) == 2 * num - 1
            journal.append({"event": "sent", "id": f"{num}", "attempt": 1, "tokens": 90, "cost": 0.5})
            journal.append({"event": "fault", "id": f"{num}", "attempt": 1, "fault": "500"})
        assert read_length(path, REMEDY) == len(path.read_bytes().splitlines()) == 2 * num + 1


def test_a_journal_that_another_process_begins_meanwhile_is_not_taken_for_lost(tmp_path, monkeypatch):
    path, is_file = tmp_path / "journal.jsonl", Path.is_file

    def look_and_begin(looked_at):
        found = is_file(looked_at)
        if looked_at == path:
            monkeypatch.undo()
            RequestJournal(path, "k").close()
        return found

    monkeypatch.setattr(Path, "is_file", look_and_begin)
    assert not read_ledger(path).sent
    assert read_length(path, REMEDY) == 1
