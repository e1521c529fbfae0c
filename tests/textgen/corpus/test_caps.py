"""Caps max_cost and max_total_tokens: they hold with any faults and across runs, and all answers are kept."""

import pytest

from close_transfer.core.errors import UserError
from tests.textgen.conftest import compute_cost
from textgen.corpus.ledger import Spend
from textgen.pipeline import CAPPED_STATUS

MIXED = {
    "429": 0.05, "500": 0.05, "reset": 0.08, "truncated-json": 0.08, "empty-choice": 0.08, "wrong-schema": 0.08,
    "length": 0.08, "refusal": 0.05,
}  # fmt: skip
NUM = 30  # requests; an answer costs about $0.3, and the reserve is about five times that


def find_highest_spend(corpus):
    """Return the largest committed spend at any time, by the journal's events in their order."""
    from textgen.corpus.ledger import Ledger

    ledger, top = Ledger(), Spend()
    for event in corpus.events("sent", "answer", "fault", "lost", "batch", "batch_submitted", "batch_done"):
        ledger.apply(event)
        top = Spend(max(top.tokens, ledger.committed.tokens), max(top.cost, ledger.committed.cost))
    return top


def count_tokens(counts):
    return counts["input_tokens"] + counts["output_tokens"]


@pytest.mark.parametrize(("seed", "no_usage"), [(0, False), (1, True), (2, False)])
def test_caps_are_never_exceeded(seed, no_usage, serve, corpus):
    server = serve(seed=seed, faults=MIXED, max_faults=3, no_usage=no_usage)
    made = corpus(server, f"concurrency={(1, 7, 40)[seed]}", num_texts=NUM)
    for cap in (4.0 + seed, 11.5):
        end_reason = made.ask(f"max_cost={cap}")
        assert end_reason == f"max_cost={cap:g}" or made.is_complete
        assert find_highest_spend(made).cost <= cap * (1 + 1e-9)
        assert compute_cost(server.counts()) <= made.ledger.spent.cost * (1 + 1e-9)
        assert made.ledger.reserved == Spend()
    assert made.ask() is None
    assert made.is_complete


@pytest.mark.parametrize(("seed", "no_usage"), [(3, True), (4, False), (5, False)])
def test_caps_in_tokens_are_never_exceeded(seed, no_usage, serve, corpus):
    server = serve(seed=seed, faults=MIXED, max_faults=3, no_usage=no_usage)
    made = corpus(server, f"concurrency={(1, 7, 40)[seed - 3]}", num_texts=NUM)
    for cap in (2301 + seed, 11_000):
        end_reason = made.ask(f"max_total_tokens={cap}")
        assert end_reason == f"max_total_tokens={cap}" or made.is_complete
        assert find_highest_spend(made).tokens <= cap
        assert count_tokens(server.counts()) <= made.ledger.spent.tokens


def test_a_cap_is_used_up(serve, corpus):
    made = corpus(serve(), "concurrency=16", "max_cost=6", num_texts=NUM)
    assert made.ask() == "max_cost=6"
    reserve = max(event["cost"] for event in made.events("sent"))
    assert made.ledger.spent.cost > 6 - 1.2 * reserve  # the next prompt may be somewhat longer


def test_nothing_is_sent_that_could_exceed_a_cap(serve, corpus):
    server = serve()
    made = corpus(server)
    assert made.ask("max_cost=0") == "max_cost=0"
    assert made.ask("max_cost=null", "max_total_tokens=500") == "max_total_tokens=500"
    assert not server.log.exists() or not server.served()


def test_a_cap_ends_the_command_with_exit_status_3(serve, corpus, capsys):
    server = serve()
    made = corpus(server, num_texts=30)
    assert made.run("max_cost=6") == CAPPED_STATUS == 3
    printed = capsys.readouterr().out
    assert "ended by max_cost=6" in printed
    assert "all answers are kept" in printed
    first, requests = made.answers(), server.counts()["requests"]
    assert 0 < len(first) < 30
    assert (made.folder / "corpus.jsonl").is_file()
    assert (made.folder / "report.html").is_file()

    assert made.run("max_cost=6") == 3  # earlier spend counts
    assert server.counts()["requests"] - requests <= 1
    assert made.run("max_cost=100") == 0
    assert made.is_complete
    assert {request: made.answers()[request] for request in first} == first
    assert server.counts()["requests"] == 30


def test_a_model_without_a_price_is_refused(serve, corpus):
    server = serve()
    with pytest.raises(UserError, match=r"model=other.*has no price.*it has stand-in.*allow_unpriced=true"):
        corpus(server, "model=other").ask()
    with pytest.raises(UserError, match=r"max_cost=5.*cannot be kept without a price for other"):
        corpus(server, "model=other", "allow_unpriced=true", "max_cost=5").ask()
    assert not server.log.exists() or not server.served()
    made = corpus(server, "model=other", "allow_unpriced=true", "max_total_tokens=6000", num_texts=NUM)
    assert made.ask() == "max_total_tokens=6000"
    assert 0 < made.ledger.spent.tokens <= 6000
    assert made.ledger.spent.cost == 0


@pytest.mark.parametrize("max_cost", [3.0, 10.0])
def test_caps_hold_for_batches(max_cost, serve, corpus):
    script = {"shuffle": True, "expire": 0.2, "fail": 0.2, "duplicate": 0.2, "polls": 1}
    server = serve(batch=script, faults={"wrong-schema": 0.2, "length": 0.1}, max_faults=2)
    made = corpus(server, f"max_cost={max_cost}", "batch.max_requests=5", source="openai-batch", num_texts=NUM)
    assert made.ask() == f"max_cost={max_cost:g}"
    assert find_highest_spend(made).cost <= max_cost * (1 + 1e-9)
    assert compute_cost(server.counts()) / 2 <= made.ledger.spent.cost  # batches cost half
    assert made.ask("max_cost=1000") is None
    assert made.is_complete
