"""Servers that refuse: wrong addresses, parameters and schemas they do not know, and long waits."""

import datetime
import json

import pytest

from close_transfer.core.errors import UserError
from tests.textgen.odd_server import make_completion, serve_odd
from textgen.corpus.ledger import Spend

PAGE = b"<!DOCTYPE html><html><head><title>Welcome to nginx!</title><style>a{}</style></head><body><p>It works</p></body></html>"
CAPTION = make_completion('{"text": "A dog runs."}')


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def make_error(message):
    return json.dumps({"error": {"message": message}}).encode()


@pytest.mark.parametrize("content_type", ["text/html", slow("application/json")])
def test_a_web_page_ends_the_run_costs_nothing_and_is_quoted(content_type, corpus):
    with serve_odd(lambda _: (200, {"Content-Type": content_type}, PAGE)) as server:
        made = corpus(server, "concurrency=4", "max_cost=5", num_texts=60)
        with pytest.raises(
            UserError, match=r"gives a web page: Welcome to nginx! It works\. .*base_url= usually ends with /v1"
        ):
            made.ask()
        assert len(server.bodies) <= 3 + 4
    assert made.ledger.committed == Spend()


@pytest.mark.parametrize(
    "content", [b"pong", *map(slow, (b"[]", b"7", b"null", b'{"ok": true}', b'{"choices": 5}', b"[" * 100_000))]
)
def test_answers_of_another_api_end_the_run_after_a_few(content, corpus):
    with serve_odd(lambda _: (200, {}, content)) as server:
        made = corpus(server, "concurrency=2", num_texts=60)
        with pytest.raises(UserError, match="0 answers are kept"):
            made.ask()
        assert len(server.bodies) <= 3 * 2


def test_the_words_of_a_refusal_are_shown_and_the_run_ends_early(corpus, capsys):
    def refuse(_):
        return 400, {}, make_error("This model needs a licence. <b>Sign it</b>.")

    with serve_odd(refuse) as server:
        made = corpus(server, "concurrency=2", num_texts=500)
        with pytest.raises(
            UserError, match=r"none of the first 10 requests was answered .*HTTP 400: This model needs a licence"
        ):
            made.ask()
        assert len(server.bodies) <= 2 * (10 + 2)
        few = corpus(server, num_texts=4)
        assert few.ask() is None
    assert made.ledger.committed == few.ledger.committed == Spend()
    assert "given up, 4 requests: 400: HTTP 400: This model needs a licence" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"detail": [{"msg": "extra fields not permitted"}]}', '{"detail": [{"msg": "extra fields not permitted"}]}'),
        (b'{"error": "model \'m\' not found"}', "model 'm' not found"),
        (b'[{"error": {"code": 400, "message": "Bad key"}}]', "Bad key"),
        (b"<html><body><h1>Not here</h1></body></html>", "a web page: Not here"),
        (b"upstream is gone", "upstream is gone"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, '{"a": {"a": '),
        (b"", "Error code: 400"),
    ],
    ids=["FastAPI", "Ollama", "a list", "a page", "a text", "nested", "nothing"],
)
def test_the_words_of_every_form_of_refusal_are_shown(body, words, corpus, capsys):
    with serve_odd(lambda _: (400, {}, body)) as server:
        corpus(server, "json_schema=text", num_texts=1).ask()
    assert f"given up, 1 requests: 400: HTTP 400: {words}" in capsys.readouterr().out


@pytest.mark.parametrize("status", [422, *map(slow, (400, 404, 415, 501))])
def test_a_refusal_without_a_reason_is_tried_once_without_a_schema(status, corpus):
    def refuse_schema(body):
        return (status, {}, make_error("no")) if "response_format" in body else (200, {}, CAPTION)

    with serve_odd(refuse_schema) as server:
        made = corpus(server, "concurrency=1", num_texts=5)
        assert made.ask() is None
        assert made.is_complete
        assert ["response_format" in body for body in server.bodies] == [True] + 5 * [False]


def test_one_refused_prompt_does_not_turn_off_the_schema(corpus):
    prompts = []

    def refuse_third(body):
        prompt = body["messages"][-1]["content"]
        prompts.extend([prompt] if prompt not in prompts else [])
        return (400, {}, make_error("too long")) if prompts.index(prompt) == 2 else (200, {}, CAPTION)

    with serve_odd(refuse_third) as server:
        made = corpus(server, "concurrency=1", num_texts=5)
        assert made.ask() is None
        assert len(made.answers()) == 4
        assert ["response_format" in body for body in server.bodies].count(False) == 1


PARAMETERS = {
    "temperature": "recipe.temperature=null",
    "top_p": "recipe.top_p=null",
    "seed": "seed=null",
    "max_tokens": "max_tokens_parameter=null",
}


@pytest.mark.parametrize("name", ["temperature", *map(slow, ("top_p", "seed", "max_tokens"))])
def test_each_parameter_can_be_left_out(name, corpus):
    def refuse(body):
        if name in body:
            return 400, {}, json.dumps({"error": {"message": f"no {name}", "code": "unsupported_parameter"}}).encode()
        return 200, {}, CAPTION

    with serve_odd(refuse) as server:
        with pytest.raises(UserError, match=rf"HTTP 400: no {name} \(.*{PARAMETERS[name]}"):
            corpus(server, num_texts=2).ask()
        made = corpus(server, PARAMETERS[name], num_texts=2)
        assert made.ask() is None
        assert made.is_complete
        assert set(PARAMETERS) - set(server.bodies[-1]) == {name}
        reserve = made.events("sent")[0]["tokens"]
    assert reserve > 64  # the answer is reserved, with and without a limit


def test_the_token_limit_can_have_its_newer_name(corpus):
    with serve_odd(lambda _: (200, {}, CAPTION)) as server:
        assert corpus(server, "max_tokens_parameter=max_completion_tokens", num_texts=1).ask() is None
        assert server.bodies[0]["max_completion_tokens"] == 64
        assert "max_tokens" not in server.bodies[0]


@pytest.mark.parametrize("seconds", ["86400", *map(slow, ("31536000", "1e300"))])
def test_a_wait_of_a_day_or_more_ends_the_run_with_its_end(seconds, corpus):
    with serve_odd(lambda _: (429, {"Retry-After": seconds}, make_error("slow down"))) as server:
        made = corpus(server, num_texts=20)
        day = (datetime.datetime.now() + datetime.timedelta(days=1)).strftime("%Y-%m-%d")
        until = day if seconds == "86400" else r"\w"
        with pytest.raises(UserError, match=rf"slow down .*asks to wait until {until}.*max_wait=3600"):
            made.ask()
        assert len(server.bodies) <= 8
    assert made.ledger.committed == Spend()


@pytest.mark.parametrize(
    ("reason", "api"), [("content_filter", "chat"), slow("SAFETY", "chat"), slow("content_filter", "responses")]
)
def test_a_text_that_a_content_filter_ended_does_not_enter_the_corpus(reason, api, corpus):
    content = make_completion("A dog runs over the", finish_reason=reason)
    if api == "responses":
        output = [{"type": "message", "content": [{"type": "output_text", "text": "A dog runs over the"}]}]
        shape = {"status": "incomplete", "incomplete_details": {"reason": reason}, "output": output}
        content = json.dumps({**shape, "usage": {"input_tokens": 40, "output_tokens": 7}}).encode()
    with serve_odd(lambda _: (200, {}, content)) as server:
        made = corpus(server, f"api={api}", num_texts=2)
        assert made.ask() is None
    assert [event["items"] for event in made.events("answer")] == [[], []]
    assert made.ledger.refused == 2
    assert {event["paid"] for event in made.events("answer")} == {"reported"}
    assert "content filter" in made.events("answer")[0]["refusal"]


@pytest.mark.parametrize(
    "usage", [(0, 0), *map(slow, ((True, True), (-5, 7), ("40", "7"), (40, 2 * 10**9), (None, None)))]
)
def test_usage_that_cannot_be_true_does_not_move_the_caps(usage, corpus):
    with serve_odd(lambda _: (200, {}, make_completion("A dog runs.", usage))) as server:
        made = corpus(server, num_texts=2)
        assert made.ask() is None
    assert made.ledger.charged_at_reserve["answer"] == 2
    assert made.ledger.spent.tokens == sum(event["tokens"] for event in made.events("sent"))
