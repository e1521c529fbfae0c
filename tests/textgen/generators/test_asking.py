"""Requests: pace, no repetition of answered ones, and no mixture of corpora."""

import json

import pytest

from close_transfer.core.errors import UserError
from tests.textgen.conftest import Corpus, start, write_journal
from tests.textgen.stand_in.server import StandInServer
from textgen.corpus.journal import RequestJournal, read_ledger
from textgen.corpus.ledger import LOST, Spend
from textgen.prompts.plan import read_plan


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Yield a server and a corpus that it has answered, which no test may change."""
    with StandInServer() as server:
        made = Corpus(tmp_path_factory.mktemp("asked"), server.base_url)
        made.ask()
        yield server, made


def test_a_second_run_sends_nothing(serve, corpus):
    server = serve(faults={"500": 0.2, "refusal": 0.1}, permanent=["refusal"])
    made = corpus(server, num_texts=20)
    assert made.run() == 0
    before, requests = made.read_files(), server.counts()["requests"]
    assert made.run() == 0
    assert made.run("action=plan") == made.run("action=status") == made.run("action=filter") == 0
    assert made.run("action=collect") == made.run("action=report") == 0
    assert server.counts()["requests"] == requests
    after = made.read_files()
    assert {name: after[name] for name in ("plan.jsonl", "corpus.jsonl", "journal.jsonl")} == {
        name: before[name] for name in ("plan.jsonl", "corpus.jsonl", "journal.jsonl")
    }


def test_a_longer_plan_sends_only_the_new_requests(serve, corpus):
    server = serve()
    made = corpus(server, num_texts=10)
    made.ask()
    first = made.answers()
    made.ask("num_texts=25")
    assert server.counts()["requests"] == 25
    assert set(made.planned[:10]) == set(first)
    assert {request: made.answers()[request] for request in first} == first
    with pytest.raises(UserError, match=r"num_texts=5.*a corpus only grows"):
        made.ask("num_texts=5")
    assert server.counts()["requests"] == 25


def test_plan_and_status_send_nothing(serve, corpus, capsys):
    server = serve()
    made = corpus(server, num_texts=10)
    assert made.run("action=plan") == 0
    assert "10 requests" in capsys.readouterr().out
    assert made.run("action=status") == 0
    assert "0 of 10 requests answered" in capsys.readouterr().out
    assert not server.log.exists() or not server.served()


def test_two_processes_on_one_journal_refuse_each_other(serve, corpus):
    made = corpus(serve(), num_texts=3)
    work = made.work()
    work.plan()
    with RequestJournal(work.folder.journal, work.claim_folder()):
        with pytest.raises(UserError, match=r"another process is at work on .*corpus"):
            made.ask()
        other = start(*made.settings)
        output, _ = other.communicate(timeout=60)
        assert other.returncode == 2
        assert "another process is at work" in output
        assert made.run("action=status") == 0
    assert made.ask() is None
    assert made.is_complete


@pytest.mark.parametrize(
    ("setting", "difference"),
    [
        ("model=another", "model was stand-in and is another"),
        ("recipe.temperature=0.5", "temperature was 1.0 and is 0.5"),
        ("seed=1", "seed was 0 and is 1"),
        ("max_output_tokens=70", "max_output_tokens was 64 and is 70"),
        ("recipe=egocentric", "recipe was coco-style and is egocentric"),
        ("recipe.examples_per_request=2", "examples was"),
        ("keywords.drop=[dog]", "keywords was"),
        ("recipe.template=TEMPLATE", "template was"),
        ("source=grammar", "source was openai and is grammar"),
    ],
)
def test_two_corpora_are_never_mixed(setting, difference, asked, tmp_path):
    server, made = asked
    before = made.read_files()
    (tmp_path / "other.j2").write_text("Write of {{ keywords | join(' and ') }}.")
    with pytest.raises(UserError, match=rf"made with other settings .*{difference}.*never mixed.*another output="):
        made.ask(setting.replace("TEMPLATE", str(tmp_path / "other.j2")), "allow_unpriced=true")
    assert made.read_files() == before
    assert server.counts()["requests"] == 6


def test_settings_that_do_not_affect_answers_may_change(serve, corpus):
    server = serve()
    made = corpus(server)
    made.ask()
    made.ask("concurrency=2", "request_timeout=9", "max_cost=1000", "filters.near_duplicates=null", "num_texts=7")
    assert server.counts()["requests"] == 7


@pytest.mark.parametrize("cut", [1, 30])
def test_the_request_of_an_incomplete_last_line_is_sent_again(cut, serve, corpus):
    server = serve()
    made = corpus(server, "concurrency=1")
    made.ask()
    answers = made.events("answer")
    spent = made.ledger.spent
    content = made.journal.read_bytes()
    assert json.loads(content.splitlines()[-1])["event"] == "answer"
    made.leave_journal(content[:-cut])
    assert made.ledger.open.keys() == {answers[-1]["id"]}

    assert made.ask() is None
    assert made.is_complete
    assert server.counts()["requests"] == 7
    (lost,) = made.events("lost")
    sent = [event for event in made.events("sent") if event["id"] == answers[-1]["id"]]
    assert [event["attempt"] for event in sent] == [1, 2]
    assert (lost["id"], lost["attempt"], lost["cost"]) == (sent[0]["id"], 1, sent[0]["cost"])
    assert made.ledger.by_outcome == {"answer": 6, LOST: 1}
    assert made.ledger.spent.cost == pytest.approx(spent.cost + lost["cost"])


def test_a_damaged_line_in_the_middle_is_reported(serve, corpus):
    server = serve()
    made = corpus(server)
    made.ask()
    lines = made.journal.read_bytes().splitlines(keepends=True)
    for damage in (b"{}", b'{"event": "answ', b"\0\0\0\0", b"\xff\xfe"):
        content = b"".join([*lines[:4], damage + b"\n", *lines[5:]])
        made.journal.write_bytes(content)
        for action in ("run", "status"):
            with pytest.raises(UserError, match=r"journal\.jsonl: is damaged \(line 5 does not match its"):
                made.run(f"action={action}")
        assert made.journal.read_bytes() == content
    assert server.counts()["requests"] == 6


def test_the_journal_of_another_corpus_is_refused(serve, corpus):
    server = serve()
    first, other = corpus(server), corpus(server, "seed=5")
    first.ask()
    other.work().plan()
    other.journal.write_bytes(first.journal.read_bytes())
    with pytest.raises(UserError, match="is the journal of another corpus"):
        other.ask()
    write_journal(first.journal, {"event": "sent"})
    with pytest.raises(UserError, match="its first line does not name its corpus"):
        first.ask()


def test_a_journal_that_is_being_written_can_be_read(tmp_path):
    path = tmp_path / "journal.jsonl"
    with RequestJournal(path, "key") as journal:
        journal.append({"event": "sent", "id": "a", "attempt": 1, "tokens": 9, "cost": 2.0})
        journal.append({"event": "answer", "id": "a", "attempt": 1, "items": [], "tokens": 4, "cost": 1.0})
        assert read_ledger(path).spent == Spend(4, 1.0)
        with path.open("ab") as file:
            file.write(b'{"event": "sent", "id"')
        assert read_ledger(path).answered == {"a"}


def test_the_ledger_of_a_journal_is_that_of_the_run(tmp_path):
    path = tmp_path / "journal.jsonl"
    reserve = {"tokens": 9, "cost": 2.0}
    with RequestJournal(path, "key") as journal:
        journal.append({"event": "sent", "id": "a", "attempt": 1, **reserve})
        journal.append({"event": "sent", "id": "b", "attempt": 1, **reserve})
        journal.append({"event": "sent", "id": "c", "attempt": 1, **reserve})
        journal.append({"event": "fault", "id": "a", "attempt": 1, "fault": "500", "paid": "no"})
        journal.append({"event": "gave_up", "id": "a", "fault": "500"})
        journal.append(
            {"event": "answer", "id": "b", "attempt": 1, "items": [], "refusal": "no", "tokens": 4, "cost": 1.0}
        )
        kept = journal.ledger
        assert (kept.failed, kept.answered, kept.refused, set(kept.open)) == ({"a": "500"}, {"b"}, 1, {"c"})
        assert kept.committed == Spend(13, 3.0)
    assert read_ledger(path) == kept
    with RequestJournal(path, "key") as journal:
        assert journal.ledger.spent == Spend(13, 3.0)  # c is charged at its reserve
        assert journal.ledger.reserved == Spend()
        assert journal.ledger.by_outcome == {"500": 1, "answer": 1, LOST: 1}


def test_ids_depend_on_the_request_alone(serve, corpus):
    server = serve()
    first = corpus(server)
    pairs = next(setting for setting in first.settings if setting.startswith("keywords.list="))
    same, other = corpus(server, pairs), corpus(server, pairs, "seed=1")
    for made in (first, same, other):
        made.work().plan()
    assert first.planned == same.planned
    assert not set(first.planned) & set(other.planned)
    assert len({request.seed for request in read_plan(first.folder / "plan.jsonl")}) == 6


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_pauses_all_requests(as_date, serve, corpus):
    server = serve(faults={"429-retry-after": 1}, max_faults=1, retry_after=0.5, retry_after_date=as_date)
    made = corpus(server, "concurrency=4", num_texts=4)
    assert made.ask() is None
    assert made.is_complete
    served = server.served()
    assert [line["outcome"] for line in served] == ["429-retry-after"] * 4 + ["answered"] * 4
    # The server's date is in whole seconds, never earlier than asked for.
    assert served[4]["time"] - served[3]["time"] >= 0.4


def test_a_pause_holds_for_all_requests(serve, corpus):
    server = serve(faults={"429-retry-after": 0.1}, max_faults=1, retry_after=0.3, seed=3)
    made = corpus(server, "concurrency=4", num_texts=40)
    assert made.ask() is None
    served = server.served()
    paused = [number for number, line in enumerate(served) if line["outcome"] == "429-retry-after"]
    assert 0 < len(paused) < 20
    for number in paused:  # only requests already in flight may come within the pause
        within = [line for line in served[number + 1 :] if line["time"] < served[number]["time"] + 0.29]
        assert len(within) <= 3


def test_requests_per_minute_are_kept(serve, corpus):
    server = serve()
    made = corpus(server, "requests_per_minute=600", "concurrency=32", num_texts=25)
    assert made.ask() is None
    times = [line["time"] for line in server.served()]
    assert len(times) == 25
    for begin in times:  # 10 per second, and at most as many saved up before
        assert sum(begin <= time < begin + 1.0 for time in times) <= 21


@pytest.mark.slow
def test_tokens_per_minute_are_kept(serve, corpus):
    server = serve()
    made = corpus(server, "tokens_per_minute=30000", "concurrency=32", num_texts=20)
    assert made.ask() is None
    times = [line["time"] for line in server.served()]
    # A request counts as 300 to 450 tokens, and 5,000 may pass at once.
    assert sum(time < times[0] + 0.5 for time in times) <= 17
