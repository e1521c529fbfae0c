"""Source `openai` with a server of scripted faults: all requests are answered, and charges are correct."""

import signal
import socket
import time

import pytest

from close_transfer.core.errors import UserError
from tests.markers import mostly_slow
from tests.textgen.conftest import NUM_PAIRS, compute_cost, start
from textgen.corpus.ledger import Spend
from textgen.generators.openai_api import parse_retry_after, read_reply
from textgen.generators.responses import RequestError

# Fault of the server -> possible kinds in the journal, and the charge.
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


def read_reserves(corpus):
    """Return the reserve of each attempt by request and number."""
    return {(event["id"], event["attempt"]): Spend(event["tokens"], event["cost"]) for event in corpus.events("sent")}


@pytest.mark.parametrize("fault", mostly_slow(FAULTS))
def test_requests_are_repeated_after_every_fault_and_charged_correctly(fault, serve, corpus):
    kinds, paid = FAULTS[fault]
    server = serve(faults={fault: 1}, max_faults=2)
    spent = Spend()
    for api in ("chat", "responses"):
        made = corpus(server, f"api={api}", "request_timeout=1" if fault == "stall" else "request_timeout=5")
        assert made.ask() is None
        assert made.is_complete
        faults = made.events("fault")
        assert len(faults) == 2 * len(made.planned)
        assert {event["paid"] for event in faults} == {paid}
        assert {event["fault"] for event in faults} <= kinds
        ledger, reserved = made.ledger, read_reserves(made)
        assert sum(ledger.by_outcome.values()) == len(reserved) == 18
        for event in faults if paid == "reserved" else ():
            assert (event["tokens"], event["cost"]) == reserved[event["id"], event["attempt"]]
            spent = spent.minus(reserved[event["id"], event["attempt"]])
        assert ledger.reserved == Spend()
        spent = spent.plus(ledger.spent)
    reported = [line for line in server.served() if line["paid"] and line["outcome"] not in UNREPORTED]
    usage = {name: sum(line["usage"][name] for line in reported) for name in ("input_tokens", "output_tokens")}
    assert spent.tokens == sum(usage.values())
    assert spent.cost == pytest.approx(compute_cost(usage))


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_refusal_is_an_answer_without_texts(api, serve, corpus):
    server = serve(faults={"refusal": 0.5}, permanent=["refusal"])
    made = corpus(server, f"api={api}", num_texts=20)
    assert made.ask() is None
    refused = server.counts()["outcomes"]["refusal"]
    assert 0 < refused < 20
    assert made.is_complete
    assert made.ledger.refused == refused == sum(not items for items in made.answers().values())
    assert {event["paid"] for event in made.events("answer")} == {"reported"}
    assert made.ask() is None
    assert server.counts()["requests"] == 20


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_server_without_schemas_gets_requests_for_plain_text(api, serve, corpus):
    server = serve(no_schema=True)
    made = corpus(server, f"api={api}", num_texts=30)
    assert made.ask() is None
    assert made.is_complete
    assert {event["paid"] for event in made.events("fault")} == {"no"}
    assert 1 <= server.counts()["outcomes"]["400"] <= 8  # those in flight at the first refusal

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
    assert {event["paid"] for event in made.events("answer")} == {"reserved"}
    assert made.ledger.charged_at_reserve["answer"] == 6
    assert made.ledger.spent.cost == pytest.approx(sum(reserve.cost for reserve in read_reserves(made).values()))
    assert made.ledger.spent.cost > compute_cost(server.counts())


STOPPING = {
    "insufficient_quota": ({"quota_after": 5}, "exceeded your current quota"),
    "401": ({"key": "right"}, "Incorrect API key"),
    "model_not_found": ({"fatal": "model_not_found"}, "model does not exist"),
}


@pytest.mark.parametrize("name", STOPPING)
def test_permanent_faults_end_the_run_with_the_servers_message(name, serve, corpus, monkeypatch):
    script, words = STOPPING[name]
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    server = serve(**script)
    made = corpus(server, num_texts=60)
    with pytest.raises(UserError, match=f"{words}.*answers are kept.*run the same command to continue"):
        made.ask()
    assert server.counts()["requests"] <= 5 + 8
    assert len(made.answers()) == server.counts()["paid"]
    assert made.ledger.spent.cost == pytest.approx(compute_cost(server.counts()))

    monkeypatch.setenv("OPENAI_API_KEY", "right")
    working = serve(key="right")
    assert made.ask(f"base_url={working.base_url}") is None
    assert made.is_complete
    assert working.counts()["requests"] == 60 - server.counts()["paid"]


def test_a_refused_request_is_given_up_alone(serve, corpus, monkeypatch):
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
    # It was tried once without a schema, because the schema may have been the reason.
    without_schema, fault = made.events("fault")
    assert (without_schema["fault"], fault["fault"]) == ("no schema", "400")
    assert (fault["id"], fault["paid"]) == (given_up["id"], "no")
    assert "model" in fault["detail"]
    monkeypatch.undo()
    assert made.ask() is None  # the next run sends it again
    assert made.is_complete
    assert not made.ledger.failed
    assert server.counts()["paid"] == len(made.planned)


def test_a_request_is_given_up_after_max_attempts(serve, corpus):
    server = serve(faults={"500": 1})
    made = corpus(server, "max_attempts=3")
    assert made.ask() is None
    assert server.counts()["requests"] == 18
    assert made.ledger.failed == dict.fromkeys(made.planned, "500")
    assert [event["attempt"] for event in made.events("sent") if event["id"] == made.planned[0]] == [1, 2, 3]


def test_a_signal_waits_for_requests_in_flight(serve, corpus):
    server = serve(delay=0.8)
    made = corpus(server, "concurrency=5", num_texts=40)
    process = start(*made.settings)
    try:
        while not server.log.exists() or len(server.served()) < 5:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143, output
    assert "Run the same command to continue" in output
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


def test_an_unreachable_server_ends_the_run(corpus):
    made = corpus("http://127.0.0.1:9/v1", num_texts=500)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9.*cannot be reached.*run the same command to continue"):
        made.ask("initial_backoff=0.1")
    assert made.ledger.spent == Spend()
    assert len(made.events("sent")) < 100
    assert not made.events("gave_up")


def test_a_failed_connection_costs_nothing(corpus):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = [socket.socket() for _ in range(4)]  # more than its queue holds, so that the next ones hang
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(deaf.getsockname())
        made = corpus(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", "request_timeout=0.6", num_texts=4)
        with pytest.raises(UserError, match="cannot be reached"):
            made.ask()
        for client in waiting:
            client.close()
    assert made.ledger.spent == Spend()


@pytest.mark.slow
def test_a_server_that_disappears_ends_the_run_after_some_attempts(serve, corpus):
    server = serve(delay=0.05)
    made = corpus(server, "concurrency=2", "max_attempts=4", num_texts=60)
    process = start(*made.settings)
    try:
        while not server.log.exists() or len(server.served()) < 10:
            time.sleep(0.02)
        server._process.terminate()
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2, output
    assert "cannot be reached" in output
    assert 0 < len(made.answers()) < 60
    assert made.ask(f"base_url={serve().base_url}") is None
    assert made.is_complete


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": "7", "completion_tokens": 3}, {"prompt_tokens": -7, "completion_tokens": 3}, [], "x"]
)
def test_invalid_usage_is_charged_at_the_reserve(usage):
    choice = {"message": {"content": "A dog."}, "finish_reason": "stop"}
    reply = read_reply({"choices": [choice], "usage": usage, "model": "m"}, "chat")
    assert reply.text == "A dog."
    assert reply.input_tokens is None or reply.output_tokens is None


@pytest.mark.parametrize(
    "message", [{"content": 7}, {"content": [{"type": "text", "text": 7}]}, {"refusal": {"no": 1}}, "A dog."]
)
def test_a_malformed_answer_is_a_fault(message):
    with pytest.raises(RequestError) as caught:
        read_reply({"choices": [{"message": message}], "usage": {}}, "chat")
    assert caught.value.kind == "malformed"
    assert caught.value.retry


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2), ("0.5", 0.5), ("-3", 0), ("nan", None), ("inf", None), ("soon", None), ("", None),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Mon, 01 Jan 99999 00:00:00 GMT", None)],
)  # fmt: skip
def test_retry_after_is_parsed_or_ignored(value, seconds):
    assert parse_retry_after({"retry-after": value}) == seconds
    assert parse_retry_after({"retry-after-ms": "250", "retry-after": value}) == 0.25
