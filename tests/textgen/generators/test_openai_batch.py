"""Source `openai-batch`: files within the limits, each submitted once, results matched by id."""

import json
import random
import signal
import time

import pytest

from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from tests.textgen.conftest import INPUT, NUM_PAIRS, OUTPUT, start
from textgen.corpus.ledger import Spend
from textgen.generators.batch_files import read_result, split_result_lines
from textgen.generators.openai_api import Access

CREATE, UPLOAD = "POST /v1/batches", "POST /v1/files"


@pytest.fixture
def batches(corpus):
    def make(where, *settings, **options):
        return corpus(where, *settings, source="openai-batch", **options)

    return make


def read_parts(made):
    """Return the requests of each written file, in order."""
    paths = sorted((made.folder / "batches").glob("part-*.jsonl"))
    return [[json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line] for path in paths]


def wait_for(process, seen):
    deadline = time.monotonic() + 60
    while not seen():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_results_are_matched_by_id(api, serve, batches):
    faults = {"wrong-schema": 0.1, "null-content": 0.1, "length": 0.1, "empty-choice": 0.1, "refusal": 0.1}
    script = {"shuffle": True, "duplicate": 0.3, "expire": 0.2, "expire_batches": 2, "fail": 0.2, "polls": 2}
    server = serve(batch=script, faults=faults, max_faults=2, permanent=["refusal"])
    made = batches(server, f"api={api}", "batch.max_requests=25", num_texts=60)
    assert made.ask() is None
    assert made.is_complete
    for request, items in made.answers().items():  # the keywords of the request are in its answer
        (planned,) = [line for part in read_parts(made) for line in part if line["custom_id"] == request][:1]
        keywords = planned["body"]["messages" if api == "chat" else "input"][-1]["content"].splitlines()[-1]
        for item in items:
            assert set(keywords.removeprefix("Words: ").split(", ")) <= set(item["text"].split())
    counts, ledger = server.counts(), made.ledger
    assert {name: counts["outcomes"][name] for name in ("500", "expired")} == {
        "500": ledger.by_outcome["500"], "expired": ledger.by_outcome["batch expired"],
    }  # fmt: skip
    assert counts["outcomes"]["500"] and counts["outcomes"]["expired"] and ledger.refused
    assert ledger.ignored_lines > 0
    assert sum(ledger.by_outcome.values()) == counts["requests"] == sum(map(len, read_parts(made)))
    assert ledger.spent.tokens == counts["input_tokens"] + counts["output_tokens"]
    assert ledger.spent.cost == pytest.approx(
        (INPUT * counts["input_tokens"] + OUTPUT * counts["output_tokens"]) / 2  # a batch's share of the price
    )
    requests = server.counts()["requests"]
    assert made.ask() is None
    assert server.counts()["requests"] == requests


def test_files_are_split_by_requests(serve, batches):
    server = serve()
    made = batches(server, "batch.max_requests=7", num_texts=20)
    assert made.ask() is None
    assert [len(part) for part in read_parts(made)] == [7, 7, 6]
    assert server.calls()[CREATE] == server.calls()[UPLOAD] == 3
    assert [line["custom_id"] for part in read_parts(made) for line in part] == made.planned


def test_files_are_split_by_bytes(serve, batches):
    largest = 10_000
    server = serve(batch={"reject_over_bytes": largest})
    made = batches(server, f"batch.max_bytes={largest}", num_texts=20)
    assert made.ask() is None
    assert made.is_complete
    sizes = [path.stat().st_size for path in sorted((made.folder / "batches").glob("part-*.jsonl"))]
    assert len(sizes) > 1
    assert max(sizes) <= largest
    longest = max(len(json.dumps(line, ensure_ascii=False).encode()) for part in read_parts(made) for line in part)
    assert all(size + longest + 1 > largest for size in sizes[:-1])  # as few files as it takes
    with pytest.raises(UserError, match=r"batch\.max_bytes=99: one request alone has .* bytes\. Raise it"):
        batches(server, "batch.max_bytes=99").ask()


def test_ids_of_batches_are_in_the_journal_before_waiting(serve, batches):
    made = batches(serve(batch={"polls": 3}), "batch.max_requests=3")
    made.ask()
    events = made.events("session", "batch", "batch_submitted", "answer", "batch_done")
    assert [event["event"] for event in events[:5]] == ["session"] + ["batch", "batch_submitted"] * 2
    assert len({event["batch_id"] for event in made.events("batch_submitted")}) == 2


@pytest.mark.parametrize("faults", [["reset"], ["500", "reset", "503"], ["reset", "reset"], ["429"]])
def test_a_batch_whose_reply_was_lost_is_found_again(faults, serve, batches):
    server = serve(call_faults={CREATE: faults, UPLOAD: ["500"], "GET /v1/batches/{id}": ["500", "reset"]})
    made = batches(server, num_texts=10)
    assert made.ask() is None
    assert made.is_complete
    assert server.counts()["requests"] == 10  # each was paid for once
    assert server.counts()["paid_again"] == 0


def test_a_kill_before_the_id_is_recorded_submits_nothing_twice(serve, batches):
    server = serve()
    made = batches(server, num_texts=10)
    made.ask()
    lines = made.journal.read_bytes().splitlines(keepends=True)
    submitted = next(number for number, line in enumerate(lines) if b'"batch_submitted"' in line)
    made.leave_journal(b"".join(lines[:submitted]))
    assert made.ask() is None
    assert made.is_complete
    assert server.calls()[CREATE] == server.calls()[UPLOAD] == 1
    assert server.counts()["paid"] == 10

    made.leave_journal(b"".join(lines[:submitted]))  # and collect finds it as well
    assert made.run("action=collect") == 0
    assert made.is_complete
    assert server.calls()[CREATE] == 1


def test_after_a_kill_before_the_upload_the_file_is_submitted(serve, batches):
    server = serve()
    made = batches(server, num_texts=10)
    made.ask()
    lines = made.journal.read_bytes().splitlines(keepends=True)
    submitted = next(number for number, line in enumerate(lines) if b'"batch_submitted"' in line)
    made.leave_journal(b"".join(lines[:submitted]))
    another = serve()
    assert made.ask(f"base_url={another.base_url}") is None
    assert made.is_complete
    assert another.calls()[CREATE] == 1
    assert another.counts()["paid"] == 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_kills_at_any_time_submit_nothing_twice(seed, serve, batches):
    server = serve(batch={"polls": 6, "shuffle": True}, call_faults={CREATE: ["reset"]})
    made = batches(server, "batch.max_requests=4", num_texts=20)
    rng = random.Random(seed)
    for _ in range(3):
        process = start(*made.settings)
        calls = sum(server.calls().values()) if server.log.exists() else 0
        point = calls + rng.randrange(1, 12)
        try:
            wait_for(process, lambda: server.log.exists() and sum(server.calls().values()) >= point)  # noqa: B023
            time.sleep(rng.uniform(0, 0.02))
        finally:
            process.kill()
            process.communicate()
    assert made.ask() is None
    assert made.is_complete
    counts = server.counts()
    assert counts["paid"] == counts["requests"] == 20
    assert made.ledger.by_outcome == {"answer": 20}


@pytest.mark.slow
def test_collect_fetches_results_and_sends_nothing(serve, batches, capsys):
    server = serve(batch={"polls": 4})
    made = batches(server, "batch.poll_seconds=60", num_texts=10)
    process = start(*made.settings)
    try:
        wait_for(process, lambda: made.journal.exists() and made.events("batch_submitted"))
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 143, output
    assert made.ledger.spent == Spend()
    for _ in range(5):
        assert made.run("action=collect", "num_texts=10") == 0
    printed = capsys.readouterr().out
    assert "1 batches are in progress. Run action=collect again later" in printed
    assert "10 of 10 requests answered" in printed
    assert made.is_complete
    assert server.calls()[CREATE] == 1


def test_a_signal_stops_a_run_while_the_provider_fails(serve, batches):
    server = serve(call_faults={"GET /v1/batches/{id}": ["503"] * 100})
    made = batches(server, "initial_backoff=5")
    process = start(*made.settings)
    try:
        wait_for(process, lambda: server.log.exists() and server.calls()["GET /v1/batches/{id}"])
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 143, output
    assert "Run the same command to continue" in output


def test_another_source_collects_batches_and_sends_the_rest(serve, batches):
    server = serve(batch={"polls": 1, "expire": 0.5})
    made = batches(server, "batch.poll_seconds=60", num_texts=10)
    stop = StopRequest(asked=True)
    assert made.ask(stop=stop) == "a signal"
    assert made.ask("source=openai", "num_texts=15") is None
    assert server.calls()[CREATE] == 1
    expired = server.counts()["outcomes"]["expired"]
    assert 0 < expired < 10
    assert made.is_complete
    assert server.counts()["paid"] == 15


def test_a_rejected_file_is_reported_and_smaller_files_work(serve, batches):
    server = serve(batch={"reject_over_requests": 8})
    made = batches(server, num_texts=20)
    with pytest.raises(
        UserError, match=r"refused the file \(too_many_tasks: .*more than 8 requests.*batch\.max_requests="
    ):
        made.ask()
    assert made.ledger.spent == made.ledger.reserved == Spend()
    assert made.ask("batch.max_requests=8") is None
    assert made.is_complete
    assert server.counts()["paid"] == 20


@pytest.mark.parametrize(
    ("script", "words"),
    [({"key": "right"}, "401: .*Incorrect API key"), ({"fatal": "insufficient_quota"}, "exceeded your current quota")],
)
def test_permanent_faults_end_the_run_at_once(script, words, serve, batches):
    made = batches(serve(**script), "initial_backoff=5")
    with pytest.raises(UserError, match=rf"{words}.*All answers are kept\. .*un the same command to continue"):
        made.ask()
    assert made.ledger.spent == Spend()
    assert made.ask(f"base_url={serve().base_url}") is None
    assert made.is_complete


def test_a_server_without_schemas_gets_batches_without_one(serve, batches):
    server = serve(no_schema=True)
    made = batches(server)
    assert made.ask() is None
    assert made.is_complete
    assert server.calls()[CREATE] == 2
    with pytest.raises(UserError, match="json_schema=text"):
        batches(server, "json_schema=schema").ask()
    assert server.calls()[CREATE] == 3


def test_a_refused_request_is_submitted_only_once_more_in_the_same_run(serve, batches, monkeypatch):
    from textgen.generators import batch_files

    body = batch_files.build_request_body

    def without_messages(prompt, *others):
        made = body(prompt, *others)
        return made if not prompt.endswith("Words: dog, bus") else {**made, "messages": []}

    server = serve()
    made = batches(server, num_texts=NUM_PAIRS)
    monkeypatch.setattr(batch_files, "build_request_body", without_messages)
    assert made.ask() is None
    assert server.calls()[CREATE] == 2  # once more without a schema, which may have been the reason
    (given_up,) = made.events("gave_up")
    assert made.ledger.failed == {given_up["id"]: "400"}
    monkeypatch.undo()
    assert made.ask() is None
    assert made.is_complete


def test_a_batch_that_keeps_failing_is_given_up(serve, batches):
    server = serve(batch={"fail": 1.0, "polls": 0})
    made = batches(server, "max_attempts=3")
    assert made.ask() is None
    assert server.calls()[CREATE] == 3
    assert set(made.ledger.failed) == set(made.planned)
    assert made.ledger.spent == Spend()


def test_results_are_lines_by_line_feeds_alone():
    lines = [json.dumps({"custom_id": str(number), "said": f"a{mark}b"}, ensure_ascii=False) for number, mark in
             enumerate("\u2028\u2029\x85\x1c")]  # fmt: skip
    assert list(split_result_lines("\n".join(lines) + "\r\n\n")) == lines


def test_a_refusal_by_a_web_page_is_quoted_without_tags():
    page = {"status_code": 502, "body": "<html><body>Bad <b>gateway</b></body></html>"}
    _, fault = read_result(json.dumps({"custom_id": "a", "response": page}), Access(None, "none", "chat"), False)
    assert fault.detail == "HTTP 502: a web page: Bad gateway"
