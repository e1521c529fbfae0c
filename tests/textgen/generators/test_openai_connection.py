"""Hostile servers: redirects, and answers that repeat the key, on every path by the real client."""

import json
from urllib.parse import quote

import pytest

from close_transfer.core.errors import UserError
from close_transfer.core.secret_texts import KeyMask, find_address_error, mask_address

KEY = "sk-planted-4f1b9c7e2a60d853"
USAGE = {"prompt_tokens": 20, "completion_tokens": 10}


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def repeat_key(handler):
    """Answer with the request's Authorization header in every text, also as parts of a batch."""
    header = handler.headers["Authorization"]
    text = f"A dog sits near a tree with {header} and {quote(header)}."
    body = {
        "model": f"model {header}",
        "choices": [{"message": {"content": text}, "finish_reason": header}],
        "usage": USAGE,
    }
    path = handler.path.partition("?")[0]
    if path == "/v1/files":
        lines = [line for line in handler.body.split(b"\r\n") if line.startswith(b'{"custom_id"')]
        requests = [json.loads(line) for line in b"\n".join(lines).split(b"\n") if line.strip()]
        handler.server.ids = [request["custom_id"] for request in requests]
        handler.send(200, {"id": "file-1", "object": "file"})
    elif path.startswith("/v1/batches"):
        batch = {"id": "batch_1", "object": "batch", "status": "completed", "output_file_id": "file-2"}
        handler.send(
            200,
            {"object": "list", "data": [], "has_more": False}
            if handler.command == "GET" and path == "/v1/batches"
            else batch,
        )
    elif path == "/v1/files/file-2/content":
        lines = [{"custom_id": name, "response": {"status_code": 200, "body": body}} for name in handler.server.ids]
        handler.send(200, "\n".join(map(json.dumps, lines)).encode())
    else:
        handler.send(200, body)


@pytest.mark.parametrize("source", ["openai", "openai-batch"])
def test_a_key_in_an_answer_is_in_no_file_and_no_output(source, corpus, start_server, capfd):
    server = start_server(repeat_key)
    made = corpus(server.base_url, "filters.leaks=false", "filters.language=null", source=source)
    assert made.run("action=run") == 0
    captured = capfd.readouterr()
    assert "6 of 6 requests answered" in captured.out
    texts = {path.name: path.read_text() for path in made.folder.rglob("*") if path.is_file()}
    assert {"journal.jsonl", "corpus.jsonl", "report.html", "card.md"} <= texts.keys()
    texts |= {"standard output": captured.out, "standard error": captured.err}
    assert [name for name, text in texts.items() if KEY in text or KEY in text.replace("\\", "")] == []
    assert {event["model"] for event in made.events("answer")} == {"model [key]"}
    assert {item["text"] for items in made.answers().values() for item in items} == {
        "A dog sits near a tree with [key] and [key]."
    }


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(status, corpus, start_server):
    other = start_server(repeat_key)
    first = start_server(lambda handler: handler.send(status, {}, Location=f"{other.origin}{handler.path}?key={KEY}"))
    made = corpus(first.base_url, num_texts=3)
    with pytest.raises(UserError) as caught:
        made.ask()
    assert f"HTTP {status}: the server redirects to {other.base_url}/chat/completions, and redirects" in str(
        caught.value
    )
    assert "Give base_url= with the address that answers" in str(caught.value)
    assert KEY not in str(caught.value) + made.journal.read_text()
    assert (sum(other.calls.values()), sum(first.calls.values()) <= 3) == (0, True)
    assert made.ledger.spent.tokens == 0  # a redirect is free


def test_a_loop_of_redirects_ends_at_the_first(corpus, start_server):
    server = start_server(lambda handler: handler.send(308, {}, Location=handler.path))
    made = corpus(server.base_url, num_texts=1)
    with pytest.raises(UserError, match=f"redirects to {server.base_url}/chat/completions, and redirects are never"):
        made.ask()
    assert sum(server.calls.values()) == 1


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/batches/batch_1", "/v1/files/file-2/content"])
def test_no_call_of_the_batch_api_follows_a_redirect(path, corpus, start_server):
    other = start_server(repeat_key)

    def act(handler):
        if handler.path.partition("?")[0] == path:
            handler.send(307, {}, Location=f"{other.origin}{handler.path}")
        else:
            repeat_key(handler)

    first = start_server(act)
    made = corpus(first.base_url, source="openai-batch", num_texts=2)
    with pytest.raises(UserError, match=f"HTTP 307: the server redirects to {other.origin}{path}, and redirects are"):
        made.ask()
    assert not other.calls
    first.act = repeat_key  # what was submitted is collected by the same command
    made.ask()
    assert len(made.answers()) == 2


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (f"http://127.0.0.1:9/v1?api_key={KEY}", r"contains a query .*put the key into OPENAI_API_KEY"),
        (f"http://127.0.0.1:9/v1#{KEY}", "contains a query"),
        (f"http://127.0.0.1:9/{KEY}/v1", "contains what looks like a key"),
        (f"http://:{KEY}@127.0.0.1:9/v1", "contains a user or password"),
        (f"http://{KEY}@127.0.0.1:9/v1", "contains a user or password"),
    ],
)
@pytest.mark.parametrize("source", ["openai", "openai-batch"])
def test_a_key_in_the_address_is_refused_before_anything_is_written(address, message, source, corpus, monkeypatch):
    with pytest.raises(UserError, match=f"^base_url: {message}") as caught:
        corpus(address, source=source).run("action=run")
    assert KEY not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    made = corpus("", "base_url=null", source=source)
    with pytest.raises(UserError, match=f"^base_url: {message}") as caught:
        made.run("action=run")
    assert KEY not in str(caught.value)
    assert all(KEY not in path.read_text() for path in made.folder.rglob("*") if path.is_file())


def test_usual_addresses_are_accepted():
    for address in ("http://localhost:8000/v1", "https://example.org/openai/deployments/a-b/v1", ""):
        assert find_address_error(address, "OPENAI_API_KEY") == ""


@pytest.mark.parametrize("text", ["{key}", "Bearer {key}", "bearer  {key}", "Bearer%20{key}", "x{key}y", "{KEY}"])
def test_a_key_is_masked_in_every_form(text):
    key = 'sk/plant+ed"4f1'
    value = {
        text.format(key=key, KEY=key.upper()): [text.format(key=form, KEY=form) for form in (key, quote(key, safe=""))]
    }
    masked = KeyMask(key).apply(value)
    expected = text.replace("x{key}y", "x[key]y") if text == "x{key}y" else "[key]"
    assert masked == {expected: [expected, expected]}
    assert json.dumps(KeyMask(key).apply(json.dumps(key))) == json.dumps('"[key]"')


def test_a_short_key_is_masked_behind_its_scheme_only():
    assert KeyMask("dog").apply("a dog, Bearer dog") == "a dog, [key]"
    assert KeyMask("").apply({"a": [1, None, "x"]}) == {"a": [1, None, "x"]}


def test_an_address_is_shown_without_keys():
    assert mask_address(f"https://u:p@host:8/{KEY}/v1?k={KEY}#{KEY}") == "https://host:8/[key]/v1"
    assert mask_address("http://[") == "[hidden]"
