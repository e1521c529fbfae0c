"""Damage of a corpus's files: a sentence and a way out, or no loss; never other texts, answers or spend."""

import json
import random

import pytest

from close_transfer.core.errors import UserError
from close_transfer.core.journal_lines import format_line
from tests.flips import flip_bit
from tests.textgen.conftest import write_journal
from textgen.corpus.folder import merge_remembered_args
from textgen.corpus.journal import read_answers, read_ledger
from textgen.corpus.ledger import BadEvent, Ledger, Spend
from textgen.pipeline import synthesize

RESERVE = {"tokens": 90, "cost": 0.5}


def events(num=12):
    """Return a journal's events: a header, then requests sent and answered."""
    made = [{"event": "corpus", "format": 2, "key": "k"}]
    for number in range(num):
        name = f"{number:024x}"
        answer = {"model": "m", "items": [{"text": f"A dog sat on bench {number}."}], "paid": "reported"}
        made.append({"event": "sent", "id": name, "attempt": 1, **RESERVE})
        made.append({"event": "answer", "id": name, "attempt": 1, **answer, "tokens": 9, "cost": 0.0125 * (number + 1)})
    return made


def read(path):
    """Return texts, answered requests and spend of a journal."""
    ledger = read_ledger(path)
    return {event["id"]: event["items"] for event in read_answers(path)}, ledger.answered, ledger.spent


def check_flips(path, num, seed):
    """Flip one random bit at a time; return how often the journal was refused."""
    good, whole, rng = path.read_bytes(), read(path), random.Random(seed)
    num_refused = 0
    for _ in range(num):
        path.write_bytes(flip_bit(good, rng))
        try:
            assert read(path) == whole
        except UserError as error:
            assert "is damaged (line " in str(error) and "action=repair" in str(error)
            num_refused += 1
    path.write_bytes(good)
    return num_refused


def test_no_flipped_bit_of_a_journal_goes_unnoticed(tmp_path):
    write_journal(tmp_path / "journal.jsonl", *events())
    assert check_flips(tmp_path / "journal.jsonl", 200, seed=1) == 200


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(3))
def test_no_flipped_bit_of_a_real_journal_goes_unnoticed(seed, serve, corpus):
    made = corpus(serve(faults={"500": 0.1, "length": 0.1}, max_faults=2), num_texts=40)
    made.ask()
    assert check_flips(made.journal, 200, seed) > 190


def test_a_doubled_missing_or_moved_line_is_refused(tmp_path):
    path = tmp_path / "journal.jsonl"
    write_journal(path, *events())
    lines = path.read_bytes().splitlines(keepends=True)
    for changed, problem in [
        (lines * 2, r"line 26 repeats number 1"),
        ([*lines[:3], lines[2], *lines[3:]], r"line 4 repeats number 3"),
        ([*lines[:5], *lines[6:]], r"line 6 has number 7, so lines before it are missing"),
        ([*lines[:5], lines[6], lines[5], *lines[7:]], r"line 6 has number 7"),
    ]:
        path.write_bytes(b"".join(changed))
        with pytest.raises(UserError, match=problem):
            read(path)


def test_only_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = tmp_path / "journal.jsonl"
    write_journal(path, *events(2))
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for length in range(1, last):
        path.write_bytes(whole[:-length])
        assert len(read_ledger(path).answered) == 1
    path.write_bytes(whole[:-1] + b"\x0b")  # all of it is there, so this is not a kill's trace
    with pytest.raises(UserError, match="line 5 does not match its checksum"):
        read(path)


@pytest.mark.parametrize(
    "wrong", [{"cost": -1.0}, {"cost": True}, {"cost": float("nan")}, {"cost": float("inf")}, {"tokens": -3},
              {"tokens": 1.5}, {"cost": "1"}, {"items": "a"}, {"items": [{"text": 3}]}, {"input_tokens": -1}],
)  # fmt: skip
def test_impossible_values_are_refused(wrong):
    with pytest.raises(BadEvent, match="has a wrong one"):
        Ledger().apply({"event": "answer", "id": "a", "attempt": 1, "items": [], **wrong})
    if wrong != {"items": "a"} and "items" not in wrong:
        with pytest.raises(BadEvent):
            Ledger().apply(
                {"event": "sent", "id": "a", "attempt": 1, **RESERVE, **wrong}
            ) if "input_tokens" not in wrong else (
                Ledger().apply({"event": "fault", "id": "a", "fault": "500", **wrong})
            )


def test_not_a_number_is_refused_when_it_is_read_and_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        format_line(1, {"cost": float("nan")})
    path = tmp_path / "journal.jsonl"
    write_journal(path, *events(1))
    path.write_text(path.read_text().replace("0.0125", "NaN"))
    with pytest.raises(UserError, match="line 3"):
        read(path)


def repair(made):
    assert made.run("action=repair") == 0


def test_a_repair_restores_a_flipped_bit_without_a_loss(serve, corpus, capsys):
    server = serve()
    made = corpus(server)
    made.run()
    before, whole = made.journal.read_bytes(), (made.answers(), made.ledger)
    bits = bytearray(before)
    bits[before.index(b'"items"') + 14] ^= 4  # in a text
    made.journal.write_bytes(bits)
    with pytest.raises(UserError, match=r"line \d+ does not match its checksum\).*action=repair"):
        made.run()
    assert made.journal.read_bytes() == bits
    repair(made)
    assert "1 lines were restored and 0 dropped" in capsys.readouterr().out
    assert made.journal.read_bytes() == before
    assert (made.folder / "journal.jsonl.damaged").read_bytes() == bits
    assert (made.answers(), made.ledger) == whole
    assert made.run() == 0
    assert server.counts()["requests"] == 6


def test_a_repair_drops_what_is_lost_and_only_that_is_sent_again(serve, corpus, capsys):
    server = serve()
    made = corpus(server)
    made.run()
    first = made.answers()
    lines = made.journal.read_bytes().splitlines(keepends=True)
    lost = next(number for number, line in enumerate(lines) if b'"answer"' in line)
    request = json.loads(lines[lost])["id"]
    lines[lost] = b"\0" * 80 + b"\n"
    made.journal.write_bytes(b"".join(lines * 2))
    repair(made)
    printed = capsys.readouterr().out
    assert f"dropped: line {lost + 1} does not match its checksum" in printed
    assert "repeats number 1" in printed and "5 of 6 requests answered" in printed
    assert made.answers() == {name: items for name, items in first.items() if name != request}
    assert made.run() == 0
    assert server.counts()["requests"] == 7
    assert made.is_complete
    (charged,) = made.events("lost")  # the most that it can have cost
    assert charged["id"] == request and charged["cost"] > 0
    repair(made)
    assert "is not damaged" in capsys.readouterr().out


def test_a_repair_never_takes_the_journal_of_another_corpus(serve, corpus):
    made = corpus(serve())
    made.run()
    write_journal(made.journal, {"event": "corpus", "format": 2, "key": "other"})
    with pytest.raises(UserError, match="is the journal of another corpus"):
        repair(made)


@pytest.mark.parametrize("content", [None, pytest.param(b"", marks=pytest.mark.slow)])
def test_a_lost_plan_is_damage_and_can_be_planned_again(content, offline):
    plan = offline.folder / "plan.jsonl"
    before = plan.read_bytes()
    offline.settings = [setting for setting in offline.settings if not setting.startswith("num_texts=")]
    plan.unlink() if content is None else plan.write_bytes(content)
    damaged = offline.read_files()
    for action in ("run", "plan", "status", "filter"):
        with pytest.raises(UserError, match=r"plan\.jsonl: is damaged \(it lacks 8 of 8 requests .*num_texts="):
            offline.run(f"action={action}")
    assert offline.read_files() == damaged
    assert offline.run("num_texts=8") == 0
    assert plan.read_bytes() == before


@pytest.mark.slow
@pytest.mark.fuzz
def test_any_changed_bit_of_a_plan_is_damage(offline):
    plan = offline.folder / "plan.jsonl"
    whole, rng = plan.read_bytes(), random.Random(0)
    for _ in range(30):
        plan.write_bytes(flip_bit(whole, rng))
        with pytest.raises(UserError, match=r"plan\.jsonl: is damaged"):
            offline.work().check_plan()


def test_a_changed_plan_is_damage(offline):
    plan = offline.folder / "plan.jsonl"
    good = plan.read_text()
    lines = good.splitlines(keepends=True)
    record = json.loads(lines[2])
    seeded, worded = ({**record, "seed": record["seed"] + 1}, {**record, "keywords": ["bus"]})
    for changed, problem in [
        ([*lines[:2], json.dumps(seeded) + "\n", *lines[3:]], r"line 3: its id is not the hash of its contents"),
        ([*lines[:2], json.dumps(worded) + "\n", *lines[3:]], r"line 3: its id is not the hash of its contents"),
        ([*lines[:2], lines[3], *lines[3:]], r"line 3: it is not in its place"),
        ([*lines[:2], "[]\n", *lines[3:]], r"line 3: "),
    ]:
        plan.write_text("".join(changed))
        with pytest.raises(UserError, match=rf"plan\.jsonl: is damaged \({problem}.*\)\. Restore it"):
            offline.run("action=status")
    plan.write_bytes(b"\xff" + good.encode()[1:])
    with pytest.raises(UserError, match=r"plan\.jsonl: is damaged"):
        offline.work().check_plan()
    plan.write_text("".join(lines[:5]))
    with pytest.raises(UserError, match=r"damaged \(it has 5 requests, and plan\.jsonl\.length counts 8\)"):
        offline.run("num_texts=5")
    (offline.folder / "plan.jsonl.length").unlink()
    with pytest.raises(UserError, match=r"it lacks 3 of 8 requests"):
        offline.run("num_texts=5")
    plan.unlink()
    assert offline.run("num_texts=8") == 0
    assert plan.read_text() == good


def test_a_lost_journal_is_damage_after_texts_were_filtered(offline):
    offline.journal.unlink()
    for length in (True, False):  # known from journal.jsonl.length, or, if both are lost, from filters.json
        if not length:
            (offline.folder / "journal.jsonl.length").unlink()
        counted = "lines, and journal.jsonl.length counts 9" if length else "answers, and filters.json counts 8"
        with pytest.raises(UserError, match=rf"journal\.jsonl: is damaged \(it has 0 {counted}\)"):
            offline.run()
        assert offline.journal.exists() != length
    (offline.folder / "filters.json").unlink()
    assert offline.run() == 0


@pytest.mark.parametrize("name", ["corpus.jsonl", "filters.json", "removed.jsonl"])
def test_damaged_results_of_the_filters_are_made_again(name, offline):
    path, work = offline.folder / name, offline.work()
    good = path.read_bytes()
    rng = random.Random(name)
    contents = [b"", b"[]", b"{}\n", b"\xff\xfe", b'{"num_kept": 8, "stages": [3]}', b"{", good[:-2], good * 2]
    contents += [flip_bit(good, rng) for _ in range(20)] + ([] if name == "filters.json" else [None])
    for content in contents:
        path.write_bytes(content) if content is not None else path.unlink()
        with pytest.raises(UserError, match=rf"{name}: is damaged \(.*\)\. Make it again .* action=filter"):
            work.describe()
    assert offline.run("action=filter") == 0
    assert path.read_bytes() == good


def test_damaged_settings_are_a_sentence(offline):
    path, work = offline.folder / "settings.json", offline.work("action=status")
    for content in ("", "[]", '{"key": 3}', "{", path.read_text().replace("num_texts=8", "num_texts=9")):
        path.write_text(content)
        with pytest.raises(UserError, match=r"settings\.json: is damaged \(.*\)\. Restore it"):
            synthesize(work.config)
        with pytest.raises(UserError, match=r"settings\.json: is damaged \(.*\)\. Restore it"):
            merge_remembered_args([f"output={offline.folder}"], "", "coco-style")


def test_spend_of_a_whole_journal(tmp_path):
    write_journal(tmp_path / "journal.jsonl", *events(3))
    assert read(tmp_path / "journal.jsonl")[2] == Spend(27, pytest.approx(0.075))
