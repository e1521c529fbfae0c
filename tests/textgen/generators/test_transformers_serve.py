"""End to end with an independent server: `transformers serve` and a tiny chat model with random weights."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.families import tiny_family

TEXTS = [
    f"A {colour} {thing} {place}."
    for colour in ("red", "small", "black")
    for thing in ("dog", "boat", "man with a hat")
    for place in ("on a street", "in the snow", "near the water")
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat-model")
    tiny_family("qwen2", folder, TEXTS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder), "--port", str(port)]
    log = (tmp_path_factory.mktemp("log") / "serve.log").open("w")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://localhost:{port}/health", timeout=1)
                break
            except OSError:
                assert process.poll() is None, Path(log.name).read_text()
                time.sleep(0.5)
        yield f"http://localhost:{port}/v1", str(folder)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
        log.close()


def synthesize(*arguments):
    command = [sys.executable, str(REPOSITORY / "scripts" / "synthesize_captions.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OPENAI_API_KEY": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


@pytest.mark.slow
def test_babble_of_a_served_model_is_kept_in_the_journal_and_out_of_the_corpus(server, tmp_path):
    base_url, model = server
    references = tmp_path / "references.txt"
    references.write_text("\n".join(TEXTS))
    arguments = [
        f"output={tmp_path / 'corpus'}", "source=openai", f"base_url={base_url}", f"model={model}", "num_texts=12",
        f"references={references}", "allow_unpriced=true", "max_total_tokens=100000", "concurrency=2",
        "max_output_tokens=150", "max_attempts=3", "initial_backoff=0.1", "recipe.examples_per_request=2",
    ]  # fmt: skip
    done = synthesize(*arguments)
    assert done.returncode == 0, done.stderr
    journal = [json.loads(line) for line in (tmp_path / "corpus" / "journal.jsonl").read_text().splitlines()]
    answers = [event for event in journal if event["event"] == "answer"]
    faults = [event for event in journal if event["event"] == "fault"]
    assert answers
    # The server counts tokens, so truncated and unreadable answers are charged by its count.
    assert all(event["paid"] == "reported" for event in [*answers, *faults]), faults[:2]
    filters = json.loads((tmp_path / "corpus" / "filters.json").read_text())
    assert filters["num_texts"] == len(answers)
    assert filters["num_kept"] == 0
    num_removed = {stage["name"]: stage["num_out"] for stage in filters["stages"] if stage["num_out"]}
    assert sum(num_removed.values()) == len(answers)
    report = (tmp_path / "corpus" / "report.html").read_text()
    for stage in num_removed:
        assert stage in report
    again = synthesize(f"output={tmp_path / 'corpus'}", "action=status")
    assert again.returncode == 0 and f"{len(answers)} of 12 requests answered" in again.stdout
