"""Source `transformers`: a tiny model with random weights writes, is stopped and resumed, and its babble is removed."""

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from close_transfer.core.errors import UserError
from tests.families import tiny_family
from tests.textgen.conftest import Corpus
from textgen.corpus.journal import RequestJournal

TEXTS = ["a dog sits on a bench near a tree", "two cats and a bus on the road", "text: words caption photo one"] * 5
SETTINGS = ["max_output_tokens=12", "local.batch_size=4", "local.device=cpu", "recipe.examples_per_request=1"]


def save_tiny_model(folder, family="qwen2"):
    """Save a tiny model with random weights that mostly ends an answer after a few tokens."""
    tiny_family(family, folder, TEXTS)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for name in ("max_position_embeddings", "n_positions"):
        if hasattr(model.config, name) and family != "gpt2":
            setattr(model.config, name, 4096)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("made") / "model")


def corpus(tmp_path, name, model, *settings, num_texts=14):
    # The model's name takes part in the seed of every request, so it must not hold the path of a temporary folder.
    link = Path(model.name)
    if not link.exists():
        link.symlink_to(model)
    return Corpus(
        tmp_path / name,
        "http://unused",
        f"model={link}",
        *SETTINGS,
        *settings,
        source="transformers",
        num_texts=num_texts,
    )


def list_outcomes(made):
    """Return the answers and faults of all requests, without times, and without checksums, which include the times."""
    return sorted(
        json.dumps({key: value for key, value in event.items() if key not in ("time", "line", "crc32")})
        for event in made.events("answer", "fault", "gave_up")
    )


def test_the_seed_decides_the_texts(tmp_path, model):
    first, second, third = (
        corpus(tmp_path, name, model, *more) for name, more in [("a", []), ("b", []), ("c", ["seed=1"])]
    )
    for each in (first, second, third):
        assert each.ask() is None
    assert list_outcomes(first) == list_outcomes(second)
    ledger = first.ledger
    assert len(ledger.answered) + len(ledger.failed) == 14
    assert len(ledger.answered) >= 8
    assert ledger.spent.cost == 0 and ledger.spent.tokens > 14 * 50
    texts = [items[0]["text"] for items in first.answers().values()]
    assert len(set(texts)) == len(texts)
    assert not set(texts) & {items[0]["text"] for items in third.answers().values()}


def test_a_resumed_run_writes_the_same_as_an_uninterrupted_one(tmp_path, model, monkeypatch):
    complete, halted = corpus(tmp_path, "whole", model), corpus(tmp_path, "halted", model)
    complete.ask()
    append, left = RequestJournal.append, [6]

    def dies(self, event):
        append(self, event)
        if event["event"] == "answer":
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt  # in the middle of the second batch

    with monkeypatch.context() as patch:
        patch.setattr(RequestJournal, "append", dies)
        with pytest.raises(KeyboardInterrupt):
            halted.ask()
    assert len(halted.ledger.answered) == 6
    halted.ask()
    assert list_outcomes(halted) == list_outcomes(complete)
    assert complete.ask() is None  # and nothing is written again
    assert list_outcomes(halted) == list_outcomes(complete)


def test_a_cap_on_tokens_ends_a_run_and_a_higher_one_continues_it(tmp_path, model):
    complete, capped = corpus(tmp_path, "whole", model), corpus(tmp_path, "capped", model)
    complete.ask()
    cap = complete.ledger.spent.tokens - 1
    assert capped.ask(f"max_total_tokens={cap}") == f"max_total_tokens={cap}"
    assert 0 < len(capped.ledger.answered) < 14
    assert capped.ledger.spent.tokens <= cap
    assert capped.ask() is None
    assert list_outcomes(capped) == list_outcomes(complete)


def test_babble_is_removed(tmp_path, model, capfd):
    babble = corpus(tmp_path, "babble", model)
    assert babble.run() == 0
    filters = json.loads((babble.folder / "filters.json").read_text())
    assert filters["num_texts"] >= 8
    assert filters["num_kept"] == 0
    assert sum(stage["num_out"] for stage in filters["stages"]) == filters["num_texts"]
    printed = capfd.readouterr().out
    assert "0 of" in printed
    assert "removed the most texts" in printed
    assert (babble.folder / "corpus.jsonl").read_text() == ""
    assert (babble.folder / "report.html").is_file() and (babble.folder / "card.md").is_file()


def test_unreadable_answers_are_given_up_with_the_reason(tmp_path, model, capfd):
    babble = corpus(tmp_path, "babble", model, "recipe=entailment", num_texts=4)
    with pytest.raises(UserError, match=r"no request was answered.*journal\.jsonl"):
        babble.run()
    assert "0 of 4 requests answered, 4 given up (cut short: 4)" in capfd.readouterr().out
    before = list_outcomes(babble)
    with pytest.raises(UserError, match="no request was answered"):
        babble.run()
    assert list_outcomes(babble) == before  # the same prompt with the same seed gives the same


def test_greedy_answers_do_not_depend_on_the_seed(tmp_path, model):
    first, second = (corpus(tmp_path, f"s{seed}", model, "recipe.temperature=0") for seed in (0, 1))
    first.ask()
    second.ask()
    assert {items[0]["text"] for items in first.answers().values()}
    again = corpus(tmp_path, "again", model, "recipe.temperature=0")
    again.ask()
    assert list_outcomes(again) == list_outcomes(first)


@pytest.mark.parametrize("family", ["gpt2", "t5", None])
def test_a_model_that_cannot_be_used_is_refused(family, tmp_path):
    folder = tiny_family(family, tmp_path / "model", TEXTS) if family else tmp_path / "none"
    message = {
        "gpt2": r"model=.*: has a context of 128 tokens, and a prompt has \d+ before an answer of max_output_tokens=12",
        "t5": r"model=.*: transformers cannot load it .*\. Give the folder or name of a causal language model",
        None: r"model=.*none: transformers cannot load it",
    }[family]
    with pytest.raises(UserError, match=message):
        corpus(tmp_path, "corpus", folder).ask()


def test_a_missing_device_is_refused(tmp_path, model):
    with pytest.raises(UserError, match=r"local.device=cuda:99: .*\. Give auto, cpu or cuda"):
        corpus(tmp_path, "corpus", model, "local.device=cuda:99").ask()
    with pytest.raises(UserError, match=r"local.device=gpu: "):
        corpus(tmp_path, "corpus", model, "local.device=gpu").ask()
