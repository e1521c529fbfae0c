"""Report page: requests, spend, filters and style."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.textgen.report.described_corpora import FAULTS, HOSTILE, describe, make_pets_recipe
from textgen.corpus.journal import RequestJournal
from textgen.report.page import write_report


class Page(HTMLParser):
    """Text of a page on one line, and its elements."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._pieces: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", " ".join(self._pieces))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self._pieces.append(data)


def test_the_corpus_of_a_grammar_is_labelled_and_costs_nothing(tmp_path: Path) -> None:
    page = Page(write_report(describe(tmp_path, origin="Picturebook, split train")))
    assert "written by a grammar, not by a language model" in page.text
    assert "Picturebook, split train" in page.text
    assert "Nothing was spent: no server was used" in page.text
    assert "declined by the model" not in page.text


def test_the_corpus_of_a_language_model_names_it(tmp_path: Path) -> None:
    page = Page(write_report(describe(tmp_path, model="gpt-x", source="openai", prices="2026-03-31")))
    assert "written by the language model gpt-x" in page.text
    assert "grammar, not" not in page.text


def test_the_table_leads_from_requests_to_kept_texts(tmp_path: Path) -> None:
    events = [{"event": "gave_up", "id": "f" * 24, "fault": "500"}]
    page = Page(write_report(describe(tmp_path, events=events, num_unsent=2)))
    for row in (
        "requests planned 5",
        "answered 1 given up, 1 not sent yet 5 2 40% 3",
        "texts written 3",
        "length removed texts Two dogs opens a box. 2 words, fewest is 3 3 1 33% 2",
        "examples and evaluation texts 2 0 2",
    ):
        assert row in page.text


def test_requests_are_followed_from_prompt_to_filters(tmp_path: Path) -> None:
    page = Page(write_report(describe(tmp_path)))
    assert "Write a caption with dog and park. A cat naps on a warm wall." in page.text
    assert "A dog runs in the park. kept" in page.text
    assert "Two dogs opens a box. removed by “length”: 2 words, fewest is 3" in page.text


def test_a_refusal_is_shown_with_its_text(tmp_path: Path) -> None:
    described = describe(tmp_path, num_unsent=1, model="gpt-x", source="openai", prices="2026-03-31")
    last = json.loads(described.folder.plan.read_text().splitlines()[-1])["id"]
    refusal = {"event": "answer", "id": last, "attempt": 1, "model": "gpt-x", "items": [], "refusal": "I would not."}
    with RequestJournal(described.folder.journal, "key") as journal:
        journal.append({**refusal, "paid": "reported", "tokens": 90, "cost": 0.1})
        described.ledger.apply(refusal)
    page = Page(write_report(described))
    assert "declined: I would not." in page.text
    assert "not declined by the model 4 1 25% 3" in page.text


def test_spend_is_attributed_to_every_outcome(tmp_path: Path) -> None:
    described = describe(tmp_path, events=FAULTS, model="gpt-x", source="openai", prices="2026-03-31", max_cost=20)
    page = Page(write_report(described))
    assert "1,300 tokens, $8.5000 at prices of 2026-03-31; $4,250.00 per 1,000 kept texts" in page.text
    assert "max_cost=20" in page.text
    for row in (
        r"answer [^0-9]* 3 300 \$1.5000 0",
        r"in flight at a kill [^0-9]* 1 300 \$2.0000 1",
        r"deadline [^0-9]* 1 300 \$2.0000 1",
        r"cut short [^0-9]* 1 400 \$3.0000 0",
        r"429 [^0-9]* 1 0 \$0.0000 0",
    ):
        assert re.search(row, page.text), row
    assert "Attempts that cost more than was reserved for them: 1." in page.text


def test_the_bound_on_paid_attempts_is_shown(tmp_path: Path) -> None:
    """Expect that a refused attempt (429) is not paid."""
    described = describe(tmp_path, events=FAULTS, model="gpt-x", source="openai", prices="2026-03-31", num_unsent=1)
    page = Page(write_report(described))
    assert "Paid attempts: 6 ." in page.text
    assert "4 planned requests + 1 in flight at kills + 2 faults after acceptance = 7" in page.text
    assert "bound is broken" not in page.text


def test_cost_without_a_price_is_not_known(tmp_path: Path) -> None:
    page = Page(write_report(describe(tmp_path, model="m", source="openai", prices="unknown", allow_unpriced=True)))
    assert "300 tokens, not known : the model has no price" in page.text
    assert "$" not in page.text


def test_batches_are_shown_with_ignored_lines_and_progress(tmp_path: Path) -> None:
    ids = {"ids": ["a"], "attempts": [1], "tokens": [300], "costs": [2.0]}
    events = [
        {"event": "batch", "part": 1, **ids},
        {"event": "batch_submitted", "part": 1, "batch_id": "batch_1"},
        {"event": "answer", "id": "a", "attempt": 1, "items": [], "paid": "reported", "tokens": 100, "cost": 0.5},
        {"event": "batch_done", "part": 1, "ignored_lines": 3},
        {"event": "batch", "part": 2, **ids, "ids": ["b"]},
    ]
    described = describe(tmp_path, events=events, model="gpt-x", source="openai-batch", prices="2026-03-31")
    page = Page(write_report(described))
    assert (
        "2 batches, 1 of them in progress; 3 lines of their results were duplicates or matched no request" in page.text
    )
    assert "in flight reserved, not spent 1 300 $2.0000" in page.text


def test_answers_after_the_filters_are_reported(tmp_path: Path) -> None:
    described = describe(tmp_path)
    described.filters["num_answers"] -= 2
    assert "2 answers came after these filters ran; action=filter includes them" in Page(write_report(described)).text


REFERENCES = ["A dog runs in the park.", "A dog sleeps on a couch.", "A man rides a bike in the park."] * 40


def test_style_is_compared_with_the_references(tmp_path: Path) -> None:
    texts = [*["A dog opens a box."] * 40, *["A dog runs in the park."] * 10, "gone"]
    page = Page(write_report(describe(tmp_path, texts, references=REFERENCES)))
    assert "opens: never in the references 40 0" in page.text
    assert "couch: never in the corpus 0 40" in page.text
    assert "texts with a style word any of: park 20% 67%" in page.text
    assert "in 50 texts of each side" in page.text
    assert re.search(
        r"divergence of the words .* as many of the references, .* diverge by 0\.\d{3} from the rest 0\.\d{3}",
        page.text,
    )
    assert "dog 192.3 100.0" in page.text
    # The nearest reference is the same text.
    assert "A dog runs in the park. A dog runs in the park. 1.00" in page.text


def test_overused_word_says_how_many_times_as_often(tmp_path: Path) -> None:
    """Curie wrote "opens" 23 times as often as COCO; such a word must be visible."""
    references = ["a man walks his dog down the long road"] * 250 + ["he opens it"]
    texts = ["a man walks his dog down the long road"] * 250 + ["he opens it"] * 25 + ["gone"]
    page = Page(write_report(describe(tmp_path, texts, references=references)))
    assert re.search(r"opens: 1\d times as often 25 1", page.text)


def test_without_references_the_page_shows_how_to_give_them(tmp_path: Path) -> None:
    described = describe(tmp_path, recipe=make_pets_recipe(keywords=2))
    page = Page(write_report(described))
    assert "There are no reference texts" in page.text
    assert "references (none given)" in page.text
    # Keywords come from the references, so references cannot be added to this corpus.
    assert "recipe=pets references=FILE output=ANOTHER_FOLDER" in page.text
    assert "never in the references" not in page.text


def test_references_of_a_recipe_without_keywords_can_be_given_later(tmp_path: Path) -> None:
    described = describe(tmp_path, recipe=make_pets_recipe(keywords=0))
    page = Page(write_report(described))
    assert f"action=report output={described.config.output} references=FILE" in page.text


def test_hostile_texts_are_shown_and_never_run(tmp_path: Path) -> None:
    recipe = make_pets_recipe(examples=[{"text": HOSTILE, "keywords": ["dog", "park"]}])
    described = describe(tmp_path, [HOSTILE, HOSTILE + " removed"], recipe=recipe, references=[HOSTILE, "a cat"])
    page = Page(write_report(described))
    assert '<script>alert("x")</script>' in page.text
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "iframe", "link"}
    # Nothing is loaded from elsewhere, and nothing runs.
    assert not [name for _, attributes in page.elements for name in attributes if name in ("src", "href")]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_no_key_is_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant keys in the environment, in the address, and in a server's address in the journal."""
    monkeypatch.setenv("MY_KEY", "sk-planted-0123456789")
    described = describe(
        tmp_path,
        events=FAULTS,
        model="gpt-x",
        source="openai",
        prices="2026-03-31",
        api_key_env="MY_KEY",
        base_url="http://localhost:8000/v1",
        evaluation=["sk-planted-0123456789.txt"],
    )
    # Settings refuse such an address; the page must not rely on it.
    config = described.config.model_copy(update={"base_url": "http://localhost:8000/v1?token=s3cret"})
    described = replace(described, config=config)
    page = Page(write_report(described))
    for secret in ("sk-planted-0123456789", "hunter2", "s3cret"):
        assert secret not in described.folder.report.read_text()
    assert "server http://localhost:8000/v1" in page.text


def test_existing_text_has_no_prompts(tmp_path: Path) -> None:
    recipe = make_pets_recipe(template=None, rows="rows.jsonl", keywords=0, examples=(), examples_per_request=0)
    page = Page(write_report(describe(tmp_path, recipe=recipe, model="existing text")))
    assert "existing texts, filtered; nothing was generated" in page.text
    assert "there is no prompt" in page.text
    assert "Write a caption" not in page.text


def test_a_corpus_without_texts_is_reported(tmp_path: Path) -> None:
    page = Page(write_report(describe(tmp_path, ["Two words"], references=REFERENCES)))
    assert "pets: 0 texts" in page.text
    assert "No text was kept" in page.text
    assert "train_text_only.py" not in page.text
    assert "The filter “length” removed 100% of the texts that reached it, for instance: Two words" in page.text


def test_texts_without_words_are_no_failure(tmp_path: Path) -> None:
    page = Page(write_report(describe(tmp_path, ["...", "!!!", "gone"], references=["?!", "--"])))
    assert "pets: 2 texts" in page.text


def test_the_training_command_is_complete(tmp_path: Path) -> None:
    described = describe(tmp_path)
    command = f"python scripts/train_text_only.py task=captioning data=file data.path={described.folder.corpus}"
    assert command in Page(write_report(described)).text


def test_same_corpus_gives_the_same_page(tmp_path: Path) -> None:
    texts = [f"A dog opens box number {number} in the park." for number in range(60)]
    described = describe(tmp_path, texts, references=REFERENCES)
    first = write_report(described).read_bytes()
    assert write_report(described).read_bytes() == first
    assert "24 drawn at random" in first.decode()
