"""Ten kills among 20,000 requests to a server with mixed faults: all are answered, and none is paid twice without need."""

import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

import pytest

from tests.textgen.conftest import compute_cost, start
from textgen.corpus.ledger import LOST

pytestmark = pytest.mark.slow

NUM_REQUESTS, NUM_KILLS, PATIENCE = (
    20_000,
    10,
    120,
)  # PATIENCE in seconds: without a request for so long, the command hangs
CAP = 10_000.0  # dollars at the tests' prices; about $8,800 are spent
FAULTS = {
    "429": 0.03, "429-retry-after": 0.005, "500": 0.02, "503": 0.02, "reset": 0.01, "stall": 0.001,
    "truncated-json": 0.01, "empty-choice": 0.01, "null-content": 0.01, "wrong-schema": 0.02, "length": 0.01,
}  # fmt: skip


class Served:
    """Counter of the requests in a server's log."""

    def __init__(self, path):
        self._path, self._end, self.num_texts = path, 0, 0

    def look(self):
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._end)
                new = file.read()
            self._end += len(new)
            self.num_texts += new.count(b"\n")
        return self.num_texts


def kill_at(point, served, made):
    """Start the command, and kill its process group when the server has had `point` requests."""
    process = start(*made.settings)
    try:
        last, since = served.look(), time.monotonic()
        while served.look() < point:
            if process.poll() is not None:
                pytest.fail(f"it ended ({process.returncode}) before its kill:\n{process.communicate()[0]}")
            if served.num_texts != last:
                last, since = served.num_texts, time.monotonic()
            assert time.monotonic() - since < PATIENCE, f"{served.num_texts} requests came; {point} were waited for"
            time.sleep(0.002)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    assert "Traceback" not in output


def read(path):
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_ten_kills_amid_faults(serve, corpus, capsys):
    server = serve(faults=FAULTS, max_faults=2, seed=7)
    made = corpus(server, "concurrency=64", "request_timeout=1", f"max_cost={CAP}", num_texts=NUM_REQUESTS)
    served, rng = Served(server.log), random.Random(7)
    points = sorted(rng.randrange(50, NUM_REQUESTS) for _ in range(NUM_KILLS))
    for point in points:
        kill_at(max(point, served.look() + rng.randrange(1, 200)), served, made)
    last = start(*made.settings)
    output, _ = last.communicate(timeout=1200)
    assert last.returncode == 0, output

    planned, ledger, counts = made.planned, made.ledger, server.counts()
    answers = made.answers()
    assert len(planned) == NUM_REQUESTS
    assert answers.keys() == set(planned) == ledger.answered

    texts, removed = (read(made.folder / name) for name in ("corpus.jsonl", "removed.jsonl"))
    ids = Counter(record["id"] for record in texts)
    assert set(ids.values()) == {1}
    assert ids.keys() <= {f"{request}-0" for request in planned}
    assert not ids.keys() & {record["id"] for record in removed}
    assert len(texts) + len(removed) == sum(map(len, answers.values())) == NUM_REQUESTS

    sent, lost, faults = made.events("sent"), made.events("lost"), made.events("fault")
    assert 0 < len(lost) <= NUM_KILLS * 64
    assert sum(ledger.by_outcome.values()) == len(sent) == len({(event["id"], event["attempt"]) for event in sent})
    assert ledger.by_outcome[LOST] == len(lost)
    assert not ledger.open
    assert not ledger.failed
    accepted = [event for event in faults if event["paid"] != "no"]
    assert counts["requests"] <= len(sent)
    assert counts["identities"] == NUM_REQUESTS
    assert counts["paid"] <= NUM_REQUESTS + len(lost) + len(accepted)
    assert counts["paid_again"] <= len(lost) + len(accepted)
    assert compute_cost(counts) <= ledger.spent.cost <= CAP

    answered = set()
    for event in made.events("sent", "answer"):
        assert event["id"] not in answered
        if event["event"] == "answer":
            answered.add(event["id"])
    with capsys.disabled():
        print(
            f"\n{NUM_REQUESTS} planned, {counts['requests']} served, {counts['paid']} paid for, {counts['paid_again']} of "
            f"them again; {len(sent)} sent, {len(lost)} in flight at {NUM_KILLS} kills, {len(accepted)} faults after "
            f"acceptance; ${compute_cost(counts):,.2f} by the server's count, ${ledger.spent.cost:,.2f} charged, cap ${CAP:,.0f}; "
            f"{len(texts)} texts, {len(removed)} removed"
        )
