"""A key is in the environment and nowhere else: not in a file, a message or a log, whatever the server repeats."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from close_transfer.core.command_line import compose_config
from close_transfer.core.errors import UserError
from tests.textgen.conftest import start
from textgen.config import SynthesizeCaptionsConfig
from textgen.generators.openai_api import Access, get_access

KEY = "sk-planted-4f1b9c7e2a60d853"


class Repeating(BaseHTTPRequestHandler):
    """Refuses everybody, and repeats the key in its message."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        key = self.headers["Authorization"].removeprefix("Bearer ")
        error = {"message": f"Incorrect API key provided: {key}. {key}", "code": "invalid_api_key", "param": key}
        content = json.dumps({"error": error}).encode()
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def repeating_server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Repeating) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def without_key(said, *folders):
    """Looks for the key in what was said and in every file below the folders."""
    assert KEY not in said
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def said_by(corpus, status=0):
    process = start(*corpus.settings, OPENAI_API_KEY=KEY)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == status, said
    return said


@pytest.mark.parametrize("source", ["openai", pytest.param("openai-batch", marks=pytest.mark.slow)])
def test_the_key_is_nowhere(source, serve, corpus, monkeypatch, capfd):
    faults = {"429": 0.1, "500": 0.1, "reset": 0.1, "truncated-json": 0.1, "wrong-schema": 0.1, "refusal": 0.1}
    server = serve(key=KEY, faults=faults, max_faults=2, batch={"fail": 0.2})
    made = corpus(server, source=source, num_texts=20)
    said = said_by(made)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for action in ("plan", "status", "filter", "report", "collect", "run"):
        assert made.run(f"action={action}") == 0
    told = capfd.readouterr()
    said += told.out + told.err
    assert "20 of 20 requests answered" in said
    assert server.counts()["paid"] >= 20  # the key was used
    without_key(said, made.folder, Path.cwd())


@pytest.mark.parametrize("source", [pytest.param("openai", marks=pytest.mark.slow), "openai-batch"])
def test_a_server_that_repeats_the_key_is_not_quoted(source, corpus, repeating_server):
    made = corpus(repeating_server, source=source, num_texts=20)
    said = said_by(made, status=2)
    assert "Incorrect API key provided: [key]" in said
    without_key(said, made.folder, Path.cwd())


def test_a_wrong_key_is_refused_without_being_shown(serve, corpus):
    made = corpus(serve(key="sk-other"))
    said = said_by(made, status=2)
    assert "Incorrect API key" in said
    without_key(said, made.folder, Path.cwd())


@pytest.mark.parametrize("address", [f"http://user:{KEY}@127.0.0.1:9/v1", f"http://{KEY}@127.0.0.1:9/v1"])
def test_an_address_with_a_password_is_refused_without_being_shown(address, monkeypatch):
    with pytest.raises(UserError, match=r"base_url: contains a user or password\. Leave it out") as caught:
        get_access(address, "auto", "OPENAI_API_KEY")
    assert KEY not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(UserError, match="contains a user or password") as caught:
        get_access(None, "auto", "OPENAI_API_KEY")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("source", ["openai", "openai-batch", "grammar"])
def test_a_password_is_refused_before_anything_is_written(source, corpus):
    made = corpus(f"http://user:{KEY}@127.0.0.1:9/v1", source=source)
    for action in ("plan", "run"):
        with pytest.raises(UserError, match="contains a user or password") as caught:
            made.run(f"action={action}")
        assert KEY not in str(caught.value)
    assert not made.folder.exists()


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY} {KEY}", f"{KEY}\u2026"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(key, monkeypatch):
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(UserError, match="MY_KEY: holds what no key can") as caught:
        get_access("http://127.0.0.1:9/v1", "auto", "MY_KEY")
    assert KEY not in str(caught.value)
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")  # as a file that was read into the variable may end
    assert get_access("http://127.0.0.1:9/v1", "auto", "MY_KEY").key == KEY


def test_the_provider_is_not_asked_without_a_key(corpus, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    made = corpus("", "base_url=null")
    with pytest.raises(UserError, match=r"OPENAI_API_KEY: is not set; .*api_key_env=.*source=grammar"):
        made.ask()
    assert made.events("sent") == []


def test_without_a_key_words_are_left_as_they_are():
    assert Access("http://127.0.0.1:9/v1", "none", "chat").masked("none of the models") == "none of the models"


def test_a_variable_of_another_name_holds_the_key(serve, corpus, monkeypatch):
    server = serve(key=KEY)
    monkeypatch.setenv("OWN_KEY", KEY)
    made = corpus(server, "api_key_env=OWN_KEY")
    assert made.ask() is None
    assert made.is_complete
    assert "api_key_env=OWN_KEY" in json.loads((made.folder / "settings.json").read_text())["arguments"]


def test_a_key_given_as_the_name_of_its_variable_is_refused_and_not_shown(tmp_path):
    with pytest.raises(UserError, match="api_key_env: is not the name of an environment variable") as refused:
        compose_config("synthesize_captions", SynthesizeCaptionsConfig, [f"api_key_env={KEY}", f"output={tmp_path}"])
    assert KEY not in str(refused.value)
