"""Cases that could lose an answer, a request or a folder: invalid rows, slow servers, failed uploads."""

import json
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from close_transfer.core import command_line
from close_transfer.core.errors import UserError
from close_transfer.core.journal_lines import format_line
from close_transfer.core.signals import StopRequest
from tests.textgen.conftest import compute_cost
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.folder import merge_remembered_args
from textgen.corpus.ledger import Spend
from textgen.generators.openai_api import Access, Parameters, read_reply
from textgen.generators.openai_live import OpenAIClient

NUM_ROWS, PER_SECOND = 40, 5
UPLOAD, CREATE = "POST /v1/files", "POST /v1/batches"


def make_corpus_with_rows(corpus, server, broken):
    """Make a corpus whose template needs a column that one row does not have."""
    made = corpus(server, "concurrency=8", num_texts=NUM_ROWS)
    prompt, rows = made.folder.parent / "prompt.j2", made.folder.parent / "rows.jsonl"
    prompt.write_text("Mood: {{ mood }}.\n" + prompt.read_text())
    records = [{"scene": str(number), **({} if number == broken else {"mood": "glad"})} for number in range(NUM_ROWS)]
    rows.write_text("".join(json.dumps(record) + "\n" for record in records))
    made.settings.append(f"recipe.rows={rows}")
    return made


def test_a_row_that_does_not_fill_the_template_is_reported_before_the_first_request(serve, corpus):
    server = serve()
    made = make_corpus_with_rows(corpus, server, broken=29)
    with pytest.raises(UserError, match=r"rows\.jsonl, row 30: .*'mood' is undefined"):
        made.ask()
    assert not made.journal.exists()
    assert not server.log.exists() or not server.served()


def test_an_error_of_one_request_waits_for_those_in_flight(serve, corpus, monkeypatch):
    server = serve(delay=0.3)
    made = corpus(server, num_texts=40)
    work = made.work()
    work.plan()
    prompt, broken = work.inputs.recipe.render_prompt, made.planned[12]

    def failing(self, request):
        if request.id == broken:
            raise UserError("it cannot be sent")
        return prompt(request)

    monkeypatch.setattr(type(work.inputs.recipe), "render_prompt", failing)
    with pytest.raises(UserError, match="it cannot be sent"):
        made.ask()
    ledger, counts = made.ledger, server.counts()
    assert not ledger.open
    assert 0 < len(ledger.answered) == counts["paid"] < 40
    assert ledger.spent.cost == pytest.approx(compute_cost(counts))


class _SlowLane(BaseHTTPRequestHandler):
    """Server that answers a few requests per second and refuses the others, like a rate limit."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Log nothing."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        lane = self.server
        with lane.guard:
            now = int(time.monotonic())
            lane.second, lane.num_texts = now, 1 if now != lane.second else lane.num_texts + 1
            taken = lane.num_texts <= PER_SECOND
        message = {"content": "A dog sat on a bench."}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        answer = {"choices": [{"message": message}], "usage": usage}
        refusal = {"error": {"message": "too fast", "code": "rate_limit_exceeded"}}
        content = json.dumps(answer if taken else refusal).encode()
        self.send_response(200 if taken else 429)
        if not taken and lane.names_a_time:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)


@pytest.mark.slow
@pytest.mark.parametrize("names_a_time", [True, False])
def test_no_request_to_a_slow_server_is_given_up(names_a_time, corpus):
    class Lane(ThreadingHTTPServer):
        daemon_threads, request_queue_size = True, 128

    lane = Lane(("127.0.0.1", 0), _SlowLane)
    lane.guard, lane.second, lane.num_texts, lane.names_a_time = threading.Lock(), 0, 0, names_a_time
    threading.Thread(target=lane.serve_forever, daemon=True).start()
    try:
        made = corpus(f"http://127.0.0.1:{lane.server_port}/v1", "concurrency=32", "max_attempts=3", num_texts=40)
        assert made.ask("initial_backoff=0.4") is None
    finally:
        lane.shutdown()
        lane.server_close()
    assert made.is_complete
    assert made.ledger.by_outcome["429"] > 3


def test_requests_to_a_server_without_answers_are_given_up(serve, corpus):
    server = serve(faults={"429": 1.0})
    made = corpus(server, "max_attempts=3")
    assert made.ask() is None
    assert len(server.served()) == 3 * 6
    assert set(made.ledger.failed.values()) == {"429"}


def test_batches_have_the_batch_price_with_any_source(serve, corpus):
    server = serve(batch={"polls": 1})
    made = corpus(server, "batch.poll_seconds=60", source="openai-batch", num_texts=10)
    assert made.ask(stop=StopRequest(asked=True)) == "a signal"
    reserved = made.ledger.reserved
    assert made.ask("source=openai", f"max_cost={reserved.cost}") is None
    assert made.is_complete
    assert made.ledger.spent.cost == pytest.approx(compute_cost(server.counts()) / 2)


def test_a_file_whose_upload_failed_is_written_again(serve, corpus):
    server = serve(call_faults={UPLOAD: ["401"]})
    made = corpus(server, source="openai-batch", num_texts=10)
    with pytest.raises(UserError, match="401"):
        made.ask()
    assert made.ledger.reserved != Spend()
    for path in (made.folder / "batches").iterdir():  # the old file is not needed
        path.unlink()
    assert made.ask("batch.max_requests=4") is None
    assert made.is_complete
    assert server.calls()[CREATE] == 3
    assert server.counts()["paid"] == 10
    assert made.ledger.by_outcome == {"answer": 10}
    assert made.ledger.reserved.tokens == 0


@pytest.mark.parametrize("action", ["collect", "filter"])
def test_a_plan_without_requests_is_not_changed(action, serve, corpus, capsys):
    made = corpus(serve(), source="openai-batch", num_texts=10)
    made.run("action=plan")
    before = made.read_files()
    for more in ([], ["seed=4"]):
        if action == "collect":
            assert made.run("action=collect", *more) == 0
        else:
            with pytest.raises(UserError, match="nothing was answered yet"):
                made.run("action=filter", *more)
    assert made.read_files() == before
    assert made.run("action=plan", "num_texts=5") == 0
    assert len(made.planned) == 5


def test_nothing_to_collect_needs_no_key(serve, corpus, capsys):
    server = serve()
    made = corpus(server, source="openai-batch", num_texts=10)
    assert made.ask() is None
    calls = server.calls()
    assert made.run("action=collect") == 0
    assert server.calls() == calls
    assert "10 of 10 requests answered" in capsys.readouterr().out


@pytest.mark.parametrize("tokens", [10**400, -1, "12", 1.5])
def test_impossible_usage_is_charged_at_the_reserve(tokens):
    usage = {"prompt_tokens": tokens, "completion_tokens": 3}
    reply = read_reply({"choices": [{"message": {"content": "A dog."}}], "usage": usage}, "chat")
    assert reply.input_tokens is None
    assert reply.output_tokens == 3


def test_a_cap_that_was_typed_later_is_remembered(serve, corpus):
    made = corpus(serve(), num_texts=10)
    assert made.ask() is None
    output = f"output={made.folder}"
    cap = made.ledger.spent.cost + 0.1
    assert made.ask("num_texts=20", f"max_cost={cap}") is not None
    assert f"max_cost={cap}" in merge_remembered_args([output], "", "coco-style")
    made.work("num_texts=20").claim_folder()  # a command without a cap
    assert f"max_cost={cap}" in merge_remembered_args([output], "", "coco-style")
    assert "max_cost=null" in merge_remembered_args([output, "max_cost=null"], "", "coco-style")
    assert made.ask("num_texts=20", "max_cost=null") is None
    assert "max_cost=null" in merge_remembered_args([output], "", "coco-style")


def test_the_number_of_connections_is_not_limited(serve, corpus):
    access = Access("http://localhost:1/v1", "none", "chat")
    client = OpenAIClient(access, Parameters("m", None, 1.0, 1.0, 8), {}, "auto", 60.0)
    pool = client._client._client._transport._pool
    assert pool._max_connections > 10**6
    assert pool._max_keepalive_connections > 10**6


@pytest.mark.parametrize(
    "line", ['{"event": "answer"}', '{"event": "sent", "id": "a"}', '{"event": "batch_done", "part": 3}']
)
def test_an_incomplete_event_is_reported_and_kept(line, serve, corpus):
    made = corpus(serve(), num_texts=6)
    assert made.ask() is None
    num_lines = made.journal.read_bytes().count(b"\n")
    with made.journal.open("a") as file:
        file.write(format_line(num_lines + 1, json.loads(line)) + "\n")
    before = made.journal.read_bytes()
    with pytest.raises(UserError, match=r"journal\.jsonl: is damaged \(an event lacks"):
        made.ask()
    with pytest.raises(UserError, match="is damaged"):
        made.run("action=status")
    assert made.journal.read_bytes() == before


def test_a_recipe_with_invalid_yaml_is_reported(tmp_path):
    configs = tmp_path / "configs"
    shutil.copytree(command_line.CONFIGS, configs)
    with (configs / "recipe" / "coco-style.yaml").open("a") as file:
        file.write("words: [3")
    extensions = command_line.CliExtensions(config_folders=(configs,))
    with pytest.raises(UserError, match=r"coco-style\.yaml cannot be read as YAML \(while parsing a flow sequence"):
        command_line.compose_config("synthesize_captions", SynthesizeCaptionsConfig, ["num_texts=3"], extensions)
