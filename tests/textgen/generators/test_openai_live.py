"""source=openai against a server with scripted faults: everything is answered in the end, and charged as it was paid."""

import signal
import socket
import time

import pytest

from close_transfer.core.errors import UserError
from tests.textgen.conftest import NUM_PAIRS, priced, start
from textgen.corpus.ledger import Spend
from textgen.generators.openai_api import parse_retry_after, read_reply
from textgen.generators.responses import RequestError

# RequestError of the server -> what the journal may call it, and what it says was paid.
FAULTS = {
    "429": ({"429"}, "no"),
    "429-retry-after": ({"429"}, "no"),
    "500": ({"500"}, "no"),
    "503": ({"503"}, "no"),
    "reset-before": ({"connection lost"}, "reserved"),
    "reset": ({"connection lost"}, "reserved"),
    "stall": ({"deadline"}, "reserved"),
    "truncated-json": ({"truncated", "connection lost"}, "reserved"),
    "empty-choice": ({"empty"}, "reported"),
    "null-content": ({"empty"}, "reported"),
    "wrong-schema": ({"wrong shape"}, "reported"),
    "length": ({"cut short"}, "reported"),
}
UNREPORTED = {"reset-before", "reset", "stall", "truncated-json"}


def reserves(corpus):
    """What was reserved for each attempt, by request and number."""
    return {(one["id"], one["attempt"]): Spend(one["tokens"], one["cost"]) for one in corpus.events("sent")}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_asked_again_and_charged_as_it_was_paid(fault, serve, corpus):
    kinds, paid = FAULTS[fault]
    server = serve(faults={fault: 1}, max_faults=2)
    spent = Spend()
    for api in ("chat", "responses"):
        made = corpus(server, f"api={api}", "request_timeout=0.3" if fault == "stall" else "request_timeout=5")
        assert made.ask() is None
        assert made.is_complete
        faults = made.events("fault")
        assert len(faults) == 2 * len(made.planned)
        assert {one["paid"] for one in faults} == {paid}
        assert {one["fault"] for one in faults} <= kinds
        ledger, reserved = made.ledger, reserves(made)
        assert sum(ledger.by_outcome.values()) == len(reserved) == 18
        for one in faults if paid == "reserved" else ():
            assert (one["tokens"], one["cost"]) == reserved[one["id"], one["attempt"]]
            spent = spent.minus(reserved[one["id"], one["attempt"]])
        assert ledger.reserved == Spend()
        spent = spent.plus(ledger.spent)
    told = [line for line in server.served() if line["paid"] and line["outcome"] not in UNREPORTED]
    usage = {name: sum(line["usage"][name] for line in told) for name in ("input_tokens", "output_tokens")}
    assert spent.tokens == sum(usage.values())
    assert spent.cost == pytest.approx(priced(usage))


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_refusal_is_an_answer_without_texts(api, serve, corpus):
    server = serve(faults={"refusal": 0.5}, permanent=["refusal"])
    made = corpus(server, f"api={api}", num_texts=20)
    assert made.ask() is None
    refused = server.counts()["outcomes"]["refusal"]
    assert 0 < refused < 20
    assert made.is_complete
    assert made.ledger.refused == refused == sum(not items for items in made.answers().values())
    assert {one["paid"] for one in made.events("answer")} == {"reported"}
    assert made.ask() is None
    assert server.counts()["requests"] == 20


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_server_without_schemas_is_asked_for_text(api, serve, corpus):
    server = serve(no_schema=True)
    made = corpus(server, f"api={api}", num_texts=30)
    assert made.ask() is None
    assert made.is_complete
    assert {one["paid"] for one in made.events("fault")} == {"no"}
    assert 1 <= server.counts()["outcomes"]["400"] <= 8  # those under way at the first refusal

    strict = corpus(server, f"api={api}", "json_schema=schema", num_texts=30)
    with pytest.raises(UserError, match=r"json_schema.*json_schema=text"):
        strict.ask()
    assert server.counts()["outcomes"]["400"] <= 16
    assert strict.ledger.spent == Spend()


def test_plain_text_is_asked_for_without_a_schema(serve, corpus):
    server = serve(no_schema=True)
    assert corpus(server, "json_schema=text").ask() is None
    assert server.counts()["outcomes"] == {"answered": 6}


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_without_reported_usage_the_reserve_is_charged(api, serve, corpus):
    server = serve(no_usage=True)
    made = corpus(server, f"api={api}")
    made.ask()
    assert {one["paid"] for one in made.events("answer")} == {"reserved"}
    assert made.ledger.charged_at_reserve["answer"] == 6
    assert made.ledger.spent.cost == pytest.approx(sum(one.cost for one in reserves(made).values()))
    assert made.ledger.spent.cost > priced(server.counts())


STOPPING = {
    "insufficient_quota": ({"quota_after": 5}, "exceeded your current quota"),
    "401": ({"key": "right"}, "Incorrect API key"),
    "model_not_found": ({"fatal": "model_not_found"}, "model does not exist"),
}


@pytest.mark.parametrize("name", STOPPING)
def test_what_no_waiting_mends_stops_with_the_servers_words(name, serve, corpus, monkeypatch):
    script, words = STOPPING[name]
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    server = serve(**script)
    made = corpus(server, num_texts=60)
    with pytest.raises(UserError, match=f"{words}.*answers are kept.*the same command goes on"):
        made.ask()
    assert server.counts()["requests"] <= 5 + 8
    assert len(made.answers()) == server.counts()["paid"]
    assert made.ledger.spent.cost == pytest.approx(priced(server.counts()))

    monkeypatch.setenv("OPENAI_API_KEY", "right")
    mended = serve(key="right")
    assert made.ask(f"base_url={mended.base_url}") is None
    assert made.is_complete
    assert mended.counts()["requests"] == 60 - server.counts()["paid"]


def test_one_request_that_the_server_refuses_is_given_up_alone(serve, corpus, monkeypatch):
    from textgen.generators import openai_live

    body = openai_live.build_request_body

    def without_model(prompt, *others):
        made = body(prompt, *others)
        if prompt.endswith("Words: dog, bus"):
            del made["model"]
        return made

    server = serve()
    made = corpus(server, num_texts=NUM_PAIRS)
    monkeypatch.setattr(openai_live, "build_request_body", without_model)
    assert made.ask() is None
    assert len(made.answers()) == len(made.planned) - 1
    (given_up,) = made.events("gave_up")
    (fault,) = made.events("fault")
    assert (fault["id"], fault["paid"]) == (given_up["id"], "no")
    assert "model" in fault["detail"]
    monkeypatch.undo()
    assert made.ask() is None  # the next run asks it again
    assert made.is_complete
    assert not made.ledger.failed
    assert server.counts()["paid"] == len(made.planned)


def test_attempts_are_counted_and_then_a_request_is_given_up(serve, corpus):
    server = serve(faults={"500": 1})
    made = corpus(server, "max_attempts=3")
    assert made.ask() is None
    assert server.counts()["requests"] == 18
    assert made.ledger.failed == dict.fromkeys(made.planned, "500")
    assert [one["attempt"] for one in made.events("sent") if one["id"] == made.planned[0]] == [1, 2, 3]


def test_a_signal_lets_what_is_under_way_arrive(serve, corpus):
    server = serve(delay=0.8)
    made = corpus(server, "concurrency=5", num_texts=40)
    process = start(*made.settings)
    try:
        while not server.log.exists() or len(server.served()) < 5:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143, said
    assert "the same command goes on" in said
    assert len(made.answers()) == server.counts()["paid"] < 40
    assert not made.ledger.open


def test_a_signal_does_not_wait_for_a_turn(serve, corpus):
    server = serve()
    made = corpus(server, "requests_per_minute=1", "concurrency=8", num_texts=40)
    process = start(*made.settings)
    try:
        while not server.log.exists() or not server.served():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 143
    assert server.counts()["requests"] == 1


def test_where_nobody_listens_it_says_so_and_stops(corpus):
    made = corpus("http://127.0.0.1:9/v1", num_texts=500)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9.*cannot be reached.*the same command goes on"):
        made.ask("initial_backoff=0.1")
    assert made.ledger.spent == Spend()
    assert len(made.events("sent")) < 100
    assert not made.events("gave_up")


def test_a_connection_that_is_never_made_costs_nothing(corpus):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(4)]  # more than it keeps, so that the next ones hang
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        made = corpus(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", "request_timeout=0.6", num_texts=4)
        with pytest.raises(UserError, match="cannot be reached"):
            made.ask()
        for one in waiting:
            one.close()
    assert made.ledger.spent == Spend()


@pytest.mark.slow
def test_a_server_that_goes_away_is_waited_for_and_then_ends_the_run(serve, corpus):
    server = serve(delay=0.05)
    made = corpus(server, "concurrency=2", "max_attempts=4", num_texts=60)
    process = start(*made.settings)
    try:
        while not server.log.exists() or len(server.served()) < 10:
            time.sleep(0.02)
        server._process.terminate()
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2, said
    assert "cannot be reached" in said
    assert 0 < len(made.answers()) < 60
    assert made.ask(f"base_url={serve().base_url}") is None
    assert made.is_complete


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": "7", "completion_tokens": 3}, {"prompt_tokens": -7, "completion_tokens": 3}, [], "x"]
)
def test_usage_that_is_no_usage_is_charged_at_the_reserve(usage):
    choice = {"message": {"content": "A dog."}, "finish_reason": "stop"}
    reply = read_reply({"choices": [choice], "usage": usage, "model": "m"}, "chat")
    assert reply.text == "A dog."
    assert reply.input_tokens is None or reply.output_tokens is None


@pytest.mark.parametrize("message", [{"content": 7}, {"content": ["A", "dog."]}, {"refusal": {"no": 1}}, "A dog."])
def test_an_answer_of_another_shape_is_a_fault(message):
    with pytest.raises(RequestError) as caught:
        read_reply({"choices": [{"message": message}], "usage": {}}, "chat")
    assert caught.value.kind == "malformed"
    assert caught.value.retry


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2), ("0.5", 0.5), ("-3", 0), ("nan", None), ("inf", None), ("soon", None), ("", None),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Mon, 01 Jan 99999 00:00:00 GMT", None)],
)  # fmt: skip
def test_whatever_retry_after_says_is_understood_or_left(value, seconds):
    assert parse_retry_after({"retry-after": value}) == seconds
    assert parse_retry_after({"retry-after-ms": "250", "retry-after": value}) == 0.25
