"""Data card: metadata for the hub, and notes for users of the texts."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from close_transfer.core.command_line import compose_config, options
from tests import hostile
from tests.textgen.report.described_corpora import FAULTS, HOSTILE, TEMPLATE, describe, make_pets_recipe
from textgen.config import SynthesizeCaptionsConfig
from textgen.report.data_card import write_card


def read_card(path: Path) -> tuple[dict[str, Any], str]:
    """Return a card's metadata and text."""
    begin, metadata, text = path.read_text(encoding="utf-8").split("---\n", 2)
    assert begin == ""
    return yaml.safe_load(metadata), text


def test_metadata_is_what_the_hub_expects(tmp_path: Path) -> None:
    metadata, _ = read_card(write_card(describe(tmp_path)))
    assert metadata["size_categories"] == ["n<1K"]
    assert metadata["language"] == ["en"]
    assert "synthetic" in metadata["tags"]
    assert metadata["license"] == "other"
    assert "image-to-text" in metadata["task_categories"]
    # The plan and the journal in the same folder are not data.
    assert metadata["configs"] == [{"config_name": "default", "data_files": "corpus.jsonl"}]


@pytest.mark.parametrize(
    ("num_texts", "size"), [(999, "n<1K"), (1000, "1K<n<10K"), (100_000, "100K<n<1M"), (10_000_000, "10M<n<100M")]
)
def test_size_categories(tmp_path: Path, num_texts: int, size: str) -> None:
    described = describe(tmp_path)
    described.filters["num_kept"] = num_texts
    assert read_card(write_card(described))[0]["size_categories"] == [size]


def test_task_categories_are_those_of_the_recipe(tmp_path: Path) -> None:
    recipe = make_pets_recipe(task_categories=("question-answering", "visual-question-answering"))
    metadata, _ = read_card(write_card(describe(tmp_path, recipe=recipe)))
    assert metadata["task_categories"] == ["question-answering", "visual-question-answering"]


# The hub's names for the corpus of a task.
CATEGORIES = {
    "captioning": ("text-generation", "image-to-text"),
    "captioning-multi": ("text-generation", "image-to-text"),
    "custom": ("text-generation",),
    "vqa": ("question-answering", "visual-question-answering"),
    "snli-ve": ("text-classification",),
}


@pytest.mark.parametrize("name", options("recipe"))
def test_task_categories_of_a_recipe_fit_what_it_trains(name: str) -> None:
    recipe = compose_config("synthesize_captions", SynthesizeCaptionsConfig, [f"recipe={name}"]).recipe
    (task,) = [setting.removeprefix("task=") for setting in recipe.train.split() if setting.startswith("task=")]
    assert recipe.task_categories == CATEGORIES[task]


def test_language_is_left_out_if_it_was_not_checked(tmp_path: Path) -> None:
    assert "language" not in read_card(write_card(describe(tmp_path, filters={"language": None})))[0]


def test_texts_of_a_grammar_are_not_called_a_models(tmp_path: Path) -> None:
    _, text = read_card(write_card(describe(tmp_path, origin="Picturebook, split train")))
    assert "written by a grammar, not by a language model" in text
    assert "The grammar's words and frames come from: Picturebook, split train." in text
    assert "provider" not in text
    assert "Nothing was spent: no server was used." in text


def test_existing_text_is_not_called_synthetic(tmp_path: Path) -> None:
    recipe = make_pets_recipe(template=None, rows="rows.jsonl", keywords=0, examples=(), examples_per_request=0)
    metadata, text = read_card(write_card(describe(tmp_path, recipe=recipe, model="existing text")))
    assert "synthetic" not in metadata["tags"]
    assert "Synthetic" not in text
    assert "under the terms of their source" in text


def test_card_says_how_the_corpus_was_made_and_paid(tmp_path: Path) -> None:
    described = describe(
        tmp_path, events=FAULTS, model="gpt-x", source="openai", prices="2026-03-31", seed=7, max_output_tokens=48
    )
    _, text = read_card(write_card(described))
    assert "| written by | the language model gpt-x, by source=openai |" in text
    assert "| servers asked | `http://localhost:8000/v1` |" in text
    assert hashlib.sha256(TEMPLATE.encode()).hexdigest() in text  # equal to sha256sum of the template's file
    assert "| parameters | temperature 1, top_p 1, at most 48 tokens per answer |" in text
    assert "| seed | 7 |" in text
    assert "| length | 3 | 1 | 2 |" in text
    assert "1,300 tokens, $8.5000 at prices of 2026-03-31. 6 attempts were paid for, for 3 planned requests." in text
    assert "| in flight at a kill | 1 | 300 | $2.0000 |" in text
    assert "terms of the model's provider apply to its output; check them before publishing" in text
    assert "The example is free to use." in text


def test_card_lists_columns_and_commands(tmp_path: Path) -> None:
    _, text = read_card(write_card(describe(tmp_path)))
    for row in ("| `text` | the caption |", "| `keywords` | words that the text should contain |", "| `group` |"):
        assert row in text
    assert 'load_dataset("json", data_files="corpus.jsonl", split="train")' in text
    assert "train_text_only.py task=captioning data=file data.path=corpus.jsonl" in text
    assert str(tmp_path) not in text  # a card is published


def test_limits_mention_unchecked_overlap(tmp_path: Path) -> None:
    _, text = read_card(write_card(describe(tmp_path)))
    assert "Overlap with evaluation texts was not checked" in text
    assert "No one has read or checked these texts" in text


def test_limits_mention_removed_evaluation_texts(tmp_path: Path) -> None:
    _, text = read_card(write_card(describe(tmp_path, num_evaluation=5000)))
    assert "Overlap with 5,000 evaluation texts was checked" in text
    assert "removed 0 texts" in text


def test_licence_of_references_is_unknown(tmp_path: Path) -> None:
    _, text = read_card(write_card(describe(tmp_path, references=["A cat sleeps."])))
    assert "Reference texts" in text
    assert "does not know their licence" in text


def test_no_key_is_on_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")
    path = write_card(describe(tmp_path, events=FAULTS, model="gpt-x", source="openai", prices="2026-03-31"))
    for secret in ("sk-planted-0123456789", "hunter2", "s3cret"):
        assert secret not in path.read_text()


def test_hostile_names_break_neither_table_nor_page(tmp_path: Path) -> None:
    described = describe(tmp_path, [HOSTILE, "gone"], model=f"a|b {HOSTILE}", source="openai", prices="unknown")
    metadata, text = read_card(write_card(described))
    assert metadata["pretty_name"] == "pets, 1 texts"
    before, sample, after = text.split("```json")[0], text.split("```json")[1].split("```")[0], text.split("```json")[1]
    assert "<script>" not in before
    assert "| a\\|b" in before or "model a\\|b" in before
    assert "<script>" in sample  # a code block shows it as it is
    assert "<script>" not in after.split("```", 1)[1]


def test_texts_and_names_of_others_do_nothing_in_a_card(tmp_path: Path) -> None:
    recipe = make_pets_recipe(
        licence=hostile.HOSTILE,
        system=hostile.HOSTILE,
        fields={"text": {"description": hostile.HOSTILE}},
        task_categories=[hostile.HOSTILE],
        balanced_values={"mood": [hostile.HOSTILE, "calm"]},
        keep_columns=["mood"],
    )
    server = {"event": "session", "source": "openai", "server": "http://localhost/](http://evil.example)`|<b>"}
    named = {"event": "answer", "id": "z", "attempt": 1, "model": hostile.HOSTILE, "items": [{"text": "a"}]}
    described = describe(
        tmp_path, [hostile.HOSTILE, "gone"], recipe=recipe, model=hostile.HOSTILE, source="openai", prices="2026-03-31",
        events=[server, named], origin=hostile.HOSTILE,
    )  # fmt: skip
    text = write_card(described).read_text(encoding="utf-8")
    hostile.check_markdown(text)
    assert text.count("evil.example") > 20
    (category,) = hostile.read_front_matter(text)["task_categories"]
    assert category == hostile.HOSTILE  # in quotes, with YAML's escapes
