"""Batches of a server that answers in odd forms: one odd line costs its request only, and nothing waits forever."""

import json
import re
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from tests.markers import mostly_slow
from textgen.generators import batch_calls, openai_batch, repeated_calls
from textgen.generators.openai_api import read_reply
from textgen.generators.responses import RequestError


def answer(text="A dog sat on a bench."):
    usage = {"prompt_tokens": 40, "completion_tokens": 7}
    return {"model": "m", "choices": [{"message": {"content": text}}], "usage": usage}


def good(name):
    return {"custom_id": name, "response": {"status_code": 200, "body": answer()}, "error": None}


class OddBatches:
    """Server with one batch after another; tests replace what it gives.

    Attributes:
        status: state of every batch.
        make_lines: function of the ids of the first batch; returns the lines of its results.
        delay: seconds before each answer to the calls of `slow`.
        content_type: content type of all answers.
    """

    def __init__(self):
        self.status, self.make_lines, self.delay, self.slow = "completed", None, 0.0, ""
        self.content_type, self.pages, self.files, self.batches = "application/json", None, [], []
        self.num_pages = 0

    def reply(self, method, path, content):
        if method == "POST" and path == "/v1/files":
            ids = re.findall(rb'"custom_id": "([0-9a-f]+)"', content)
            self.files.append([name.decode() for name in ids])
            return {"id": f"file-{len(self.files) - 1}"}
        if method == "POST":
            self.batches.append(json.loads(content))
            return {"id": f"batch_{len(self.batches) - 1}", "status": "validating"}
        if path == "/v1/batches":
            self.num_pages += 1
            return self.pages or {"data": [], "has_more": False}
        if path.endswith("/content"):
            number = int(path.split("/")[3].removeprefix("out-"))
            lines = (
                self.make_lines(self.files[number])
                if number == 0 and self.make_lines
                else map(good, self.files[number])
            )
            return "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
        number = path.rpartition("_")[2]
        return {
            "id": f"batch_{number}",
            "status": self.status,
            "output_file_id": f"out-{number}",
            "request_counts": "odd",
        }


@pytest.fixture
def odd():
    state = OddBatches()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if state.slow and state.slow in f"{self.command} {self.path}":
                time.sleep(state.delay)
            reply = state.reply(self.command, self.path.partition("?")[0], content)
            body = (reply if isinstance(reply, str) else json.dumps(reply)).encode()
            self.send_response(200)
            self.send_header("Content-Type", state.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # the client gave up
                self.wfile.write(body)

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield state
        server.shutdown()


@pytest.fixture
def made(odd, corpus):
    return corpus(odd.base_url, source="openai-batch", num_texts=4)


ODD_LINES = [
    {"error": "text"},
    {"error": ["text"]},
    {"error": {"message": ["text"], "code": ["x"]}},
    {"response": [1]},
    {"response": "text"},
    {"response": {"status_code": "5xx", "body": {}}},
    {"response": {"status_code": True, "body": {}}},
    {"response": {"status_code": 10**30, "body": {}}},
    {"response": {"status_code": 200, "body": [1]}},
    {"response": {"status_code": 200, "body": "<html>"}},
    {"response": {"status_code": 200, "body": {"error": {"message": "overloaded"}}}},
    {"response": {"status_code": 500, "body": {"error": "overloaded"}}},
    {"response": {"status_code": 400, "body": "refused"}},
    {"response": {"status_code": 200, "body": {"choices": [3]}}},
    {},
]


@pytest.mark.parametrize("line", mostly_slow(ODD_LINES), ids=str)
def test_an_odd_line_costs_its_own_request_only(line, odd, made, capsys):
    odd.make_lines = lambda ids: [{"custom_id": ids[0], **line}, *map(good, ids[1:])]
    made.ask()
    faults = made.events("fault")
    assert {event["id"] for event in faults} == {made.planned[0]}
    assert set(made.planned[1:]) <= made.answers().keys()
    if made.planned[0] not in made.ledger.failed:  # a refused request is not sent again
        assert made.is_complete
        assert odd.files[1:] == [[made.planned[0]]]
    if faults[0]["fault"] == "malformed":
        assert "1 lines of its results do not follow the API" in capsys.readouterr().out


PAGE = "<!DOCTYPE html><html><head><title>502</title></head><body>Bad <b>gateway</b></body></html>"


def test_a_web_page_in_a_line_is_named_and_costs_its_request_only(odd, made):
    page = {"response": {"status_code": 200, "body": PAGE}}
    odd.make_lines = lambda ids: [{"custom_id": ids[0], **page}, *map(good, ids[1:])]
    made.ask()
    assert made.is_complete
    (fault,) = made.events("fault")
    assert (fault["id"], fault["fault"], fault["paid"]) == (made.planned[0], "web page", "reserved")
    assert fault["detail"] == "the server gives a web page: 502 Bad gateway"


@pytest.mark.parametrize(
    ("content", "words"), [(PAGE, "a web page: 502 Bad gateway"), ('{"error": {"message": "later"}}', "later")]
)
def test_a_page_or_an_error_in_place_of_the_results_is_not_taken_for_them(content, words, odd, made):
    odd.make_lines = lambda _: [content]
    with pytest.raises(UserError, match=rf"the answer is not a file of results \({words}\)\. All answers are kept"):
        made.ask("max_attempts=2")
    assert not made.events("fault", "batch_done")
    odd.make_lines = None
    assert made.ask() is None
    assert made.is_complete
    assert len(odd.files) == 1  # nothing was submitted again


def test_lines_without_a_request_are_counted(odd, made, capsys):
    odd.make_lines = lambda ids: ["no JSON\n", "[" * 100_000 + "\n", "[]\n", "null\n", good("unknown"), {"custom_id": None},
                                  *map(good, ids[:3])]  # fmt: skip
    made.ask()
    assert made.is_complete
    assert made.ledger.ignored_lines == 6
    assert "5 lines of its results do not follow the API" in capsys.readouterr().out
    (fault,) = made.events("fault")
    assert (fault["id"], fault["fault"], fault["paid"]) == (made.planned[3], "no result", "reserved")


def test_of_a_doubled_line_the_answer_counts(odd, made):
    odd.make_lines = lambda ids: [
        {"custom_id": ids[0], "response": [1]},
        good(ids[0]),
        *map(good, ids[1:]),
        good(ids[1]),
    ]
    made.ask()
    assert made.is_complete and made.ledger.by_outcome == {"answer": 4}
    assert made.ledger.ignored_lines == 2


def test_calls_with_another_content_type_are_read(odd, made):
    odd.content_type = "text/plain"
    assert made.ask() is None
    assert made.is_complete


@pytest.mark.parametrize("content_type", ["application/json", "text/html"])
def test_a_web_page_in_place_of_an_answer_is_quoted(content_type, odd, made):
    odd.content_type, odd.reply = content_type, lambda *_: PAGE
    with pytest.raises(UserError, match=r"an object of the Batch API \(a web page: 502 Bad gateway\)"):
        made.ask("max_attempts=1")


@pytest.mark.parametrize("reply", ["<html>", {"object": "list"}, [1]])
def test_calls_without_an_answer_are_a_sentence(reply, odd, made):
    odd.reply = lambda *_: reply
    with pytest.raises(
        UserError, match=r"the answer (is not an object of|does not follow) the Batch API .*All answers are kept"
    ):
        made.ask("max_attempts=2")


def test_an_unknown_state_ends_with_a_sentence(odd, made, capsys):
    odd.status = "paused"
    with pytest.raises(UserError, match=r"batch_0: its state is 'paused' at 10 checks in a row.*action=collect"):
        made.ask()
    assert "its state 'paused' is unknown" in capsys.readouterr().out
    odd.status = "completed"
    assert made.run("action=collect") == 0
    assert made.is_complete


@pytest.mark.parametrize("is_new", [True, False])
def test_a_list_without_an_end_is_a_sentence(is_new, odd, made, monkeypatch):
    monkeypatch.setattr(batch_calls, "_MAX_PAGES", 7)
    made.ask()
    lines = made.journal.read_bytes().splitlines(keepends=True)
    submitted = next(number for number, line in enumerate(lines) if b'"batch_submitted"' in line)
    made.leave_journal(b"".join(lines[:submitted]))

    def reply(method, path, content):
        odd.num_pages += 1
        return {"data": [{"id": f"batch_x{odd.num_pages if is_new else 0}", "metadata": "odd"}], "has_more": True}

    odd.reply = reply
    with pytest.raises(UserError, match=r"the list of batches does not end"):
        made.ask("max_attempts=1")
    assert odd.num_pages == (7 if is_new else 2)


@pytest.mark.parametrize("slow", mostly_slow(["POST /v1/batches", "GET /v1/batches/", "POST /v1/files"]))
def test_a_signal_does_not_wait_for_a_slow_call(slow, odd, made, monkeypatch):
    monkeypatch.setattr(repeated_calls, "_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(repeated_calls, "_CHECK_SECONDS", 0.02)
    odd.slow, odd.delay = slow, 20.0
    stop = StopRequest()
    threading.Timer(0.6, lambda: setattr(stop, "asked", True)).start()
    began = time.monotonic()
    assert made.ask("request_timeout=60", stop=stop) == "a signal"
    assert time.monotonic() - began < 10
    odd.slow = ""
    assert made.ask() is None
    assert made.is_complete


def test_a_slow_call_ends_at_the_deadline(odd, made):
    calls = repeated_calls.RepeatedCalls(None, made.work().config, StopRequest())
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no complete answer within 0\.1 s"):
        calls._attempt(lambda: time.sleep(5), 0.1)
    assert time.monotonic() - began < 3
    assert calls._attempt(lambda: 3, 1.0) == 3
    assert openai_batch.SUBMISSION < openai_batch.TRANSFER


@pytest.mark.parametrize(
    ("content", "text", "refusal"),
    [
        ([{"type": "text", "text": "A dog "}, {"type": "text", "text": "sat."}], "A dog sat.", None),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "A dog."}], "A dog.", None),
        (["A ", {"type": "output_text", "text": "dog."}], "A dog.", None),
        ([{"type": "refusal", "refusal": "No."}], "", "No."),
        ([], "", None),
        ("A dog.", "A dog.", None),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_content_in_parts_is_joined(content, text, refusal, as_text):
    body = answer(content)
    reply = read_reply(json.dumps(body) if as_text else body, "chat")
    assert (reply.text, reply.refusal, reply.input_tokens, reply.output_tokens) == (text, refusal, 40, 7)


@pytest.mark.parametrize(
    ("body", "api", "words"),
    [
        ({"error": {"message": "The model is overloaded", "code": 503}}, "chat", "The model is overloaded"),
        ({"error": "no credits"}, "chat", "no credits"),
        ({"error": {"type": "quota"}, "choices": []}, "chat", "quota"),
        ({"error": {"message": "failed"}, "status": "failed", "output": []}, "responses", "failed"),
        ({"error": [1]}, "chat", r"\[1\]"),
        ({"choices": [{"message": {"content": [{"type": "text", "text": 3}]}}]}, "chat", "does not follow the API"),
    ],
)
def test_the_words_of_an_error_with_status_200_are_kept(body, api, words):
    with pytest.raises(RequestError, match=words) as caught:
        read_reply(body, api)
    assert (caught.value.kind, caught.value.paid) == ("malformed", "reserved")
