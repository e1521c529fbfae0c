"""Command synthesize_captions: all recipes by the grammar, reproducible and repeatable; and refused settings."""

import json

import pytest

from close_transfer.core.command_line import compose_config, options
from close_transfer.core.errors import UserError
from tests.commands import run_command
from tests.markers import mostly_slow
from textgen.config import SynthesizeCaptionsConfig
from textgen.pipeline import synthesize

WRITTEN = ("plan.jsonl", "journal.jsonl", "corpus.jsonl", "report.html", "card.md", "settings.json", "filters.json")


@pytest.fixture(autouse=True)
def without_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def run(output, *arguments):
    arguments = [f"output={output}", *arguments]
    return synthesize(compose_config("synthesize_captions", SynthesizeCaptionsConfig, arguments), arguments)


def records(folder):
    return [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]


COLUMNS = {
    "character": ["character", "keywords"],
    "coco-style": ["keywords"],
    "egocentric": ["keywords"],
    "entailment": ["hypothesis", "label", "keywords"],
    "news": ["article"],
    "paraphrase-group": ["keywords"],
    "reviews": [],
    "uplifting": ["keywords"],
    "vqa": ["question", "answer", "asked", "keywords"],
}


@pytest.mark.parametrize("recipe", mostly_slow(options("recipe")))
def test_every_recipe_is_written_by_the_grammar_reproducibly(recipe, tmp_path, capsys):
    first, second = tmp_path / "one", tmp_path / "other"
    assert run(first, f"recipe={recipe}", "num_texts=60") == 0
    printed = capsys.readouterr().out
    texts = records(first)
    assert f"{len(texts)} of {60 if recipe != 'reviews' else 24} texts passed the filters" in printed
    assert all((first / name).is_file() for name in WRITTEN)
    assert len(texts) >= 20
    assert all(list(record) == ["id", "group", "text", *COLUMNS[recipe]] for record in texts)
    assert len({record["id"] for record in texts}) == len(texts)
    assert all(record["text"].strip() == record["text"] != "" for record in texts)
    groups = {record["group"] for record in texts}
    assert len(groups) <= (12 if recipe == "paraphrase-group" else 60)
    assert run(second, f"recipe={recipe}", "num_texts=60") == 0
    for name in ("plan.jsonl", "corpus.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert run(tmp_path / "third", f"recipe={recipe}", "num_texts=60", "seed=1") == 0
    if recipe != "reviews":
        assert {record["text"] for record in records(tmp_path / "third")} != {record["text"] for record in texts}


@pytest.mark.slow
def test_repeating_any_action_changes_no_byte_of_plan_journal_and_corpus(tmp_path):
    run(tmp_path, "num_texts=40")
    kept = {name: (tmp_path / name).read_bytes() for name in ("plan.jsonl", "journal.jsonl", "corpus.jsonl")}
    for action in ("run", "plan", "status", "collect", "filter", "report", "run"):
        assert run(tmp_path, f"action={action}") == 0
        assert {name: (tmp_path / name).read_bytes() for name in kept} == kept, action


def test_a_larger_num_texts_adds_texts(tmp_path):
    run(tmp_path, "num_texts=40")
    before = (tmp_path / "plan.jsonl").read_bytes(), (tmp_path / "journal.jsonl").read_bytes()
    run(tmp_path, "num_texts=90")
    assert (tmp_path / "plan.jsonl").read_bytes().startswith(before[0])
    assert (tmp_path / "journal.jsonl").read_bytes().startswith(before[1])
    answered = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    ids = [event["id"] for event in answered if event["event"] == "answer"]
    assert len(ids) == len(set(ids)) == 90


@pytest.mark.slow
def test_a_changed_setting_is_refused_for_an_existing_corpus(tmp_path, monkeypatch):
    run(tmp_path, "num_texts=10")
    before = (tmp_path / "corpus.jsonl").read_bytes()
    for changed in ("seed=1", "keywords.sampler=uniform", "recipe=vqa", "recipe.examples_per_request=1"):
        for action in ("run", "plan", "filter", "report", "status", "collect"):
            with pytest.raises(UserError, match="holds a corpus made with other settings"):
                run(tmp_path, changed, f"action={action}")
    assert (tmp_path / "corpus.jsonl").read_bytes() == before


def test_filters_may_be_changed_and_applied_again(tmp_path):
    run(tmp_path, "num_texts=40")
    num_texts = len(records(tmp_path))
    assert run(tmp_path, "action=filter", "recipe.words=[3,9]") == 0
    assert 0 < len(records(tmp_path)) < num_texts
    assert all(len(record["text"].split()) <= 9 for record in records(tmp_path))
    run(tmp_path, "action=filter")
    assert len(records(tmp_path)) == num_texts


def test_keywords_follow_the_references(tmp_path):
    (tmp_path / "captions.txt").write_text("A red dog.\nA red dog.\nA red dog.\nA blue bus.\n")
    run(tmp_path / "corpus", f"references={tmp_path / 'captions.txt'}", "num_texts=30")
    keywords = {word for record in records(tmp_path / "corpus") for word in record["keywords"]}
    assert keywords <= {"red", "dog", "blue", "bus"}


@pytest.mark.parametrize("action", ["filter", "report", "status", "collect"])
def test_actions_on_an_empty_folder_are_refused_with_the_next_step(action, tmp_path):
    with pytest.raises(UserError, match=r"holds no plan\. Make one with action=plan or action=run"):
        run(tmp_path / "corpus", f"action={action}")
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    ("action", "message"), [("filter", "nothing was answered yet"), ("report", "holds no corpus yet")]
)
def test_actions_on_a_plan_alone(action, message, tmp_path, capsys):
    run(tmp_path, "action=plan", "num_texts=5")
    with pytest.raises(UserError, match=message):
        run(tmp_path, f"action={action}")
    assert run(tmp_path, "action=status") == 0
    assert "0 of 5 requests answered" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recipie=vqa"], r"recipie=vqa: there is no such setting\. Did you mean recipe"),
        (["recipe=vqaa"], r"recipe=vqaa: allowed are .*vqa\. Did you mean vqa\?"),
        (["max_costs=1"], r"Did you mean max_cost\?"),
        (["keywords.samplr=uniform"], r"Did you mean keywords.sampler\?"),
        (["filters.near_duplicate=null"], r"Did you mean filters.near_duplicates\?"),
        (
            ["keywords.sampler=uniforme"],
            r"keywords.sampler=uniforme: should be 'unigram', 'uniform', 'pairs' or 'list'",
        ),
        (["source=openia"], r"source=openia: should be 'grammar', 'openai'"),
        (["action=go"], r"action=go: should be 'run', 'plan'"),
        (["num_texts=0"], r"num_texts=0: should be greater than or equal to 1"),
        (["num=many"], r"num=many: "),
        (["max_cost=-1"], r"max_cost=-1: should be greater than or equal to 0"),
        (["filters.near_duplicates=1.5"], r"filters.near_duplicates=1.5: should be less than 1"),
        (["evaluation=test.txt"], r"evaluation=test.txt: should be a list\. Give evaluation=\[test.txt\]"),
        (["base_url=http://me:secret@localhost/v1"], r"^base_url: contains a user or password"),
    ],
)
def test_invalid_settings_are_refused(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        compose_config("synthesize_captions", SynthesizeCaptionsConfig, arguments)
    assert "secret" not in str(caught.value)


def test_a_missing_key_is_reported(tmp_path):
    (tmp_path / "captions.txt").write_text("A red dog.\nA blue bus.\n")
    given = [f"references={tmp_path / 'captions.txt'}", "source=openai", "model=gpt-5-mini", "num_texts=3"]
    with pytest.raises(UserError, match=r"OPENAI_API_KEY: is not set\. Export it, .* or give source=grammar"):
        run(tmp_path / "corpus", *given)
    with pytest.raises(UserError, match=r"MY_KEY: is not set"):
        run(tmp_path / "corpus", *given, "api_key_env=MY_KEY")
    with pytest.raises(
        UserError, match=r"base_url=localhost:8000: is not an address\. Give one such as http://localhost:8000/v1"
    ):
        run(tmp_path / "corpus", *given, "base_url=localhost:8000")


def test_a_mistake_that_cost_nothing_does_not_block_the_folder(tmp_path):
    (tmp_path / "captions.txt").write_text("A red dog.\nA blue bus.\n")
    given = [f"references={tmp_path / 'captions.txt'}", "source=openai", "num_texts=3"]
    with pytest.raises(UserError, match=r"OPENAI_API_KEY: is not set"):
        run(tmp_path / "corpus", *given, "model=gpt-5-mini")
    with pytest.raises(UserError, match=r"model=none: transformers cannot load it"):
        run(tmp_path / "corpus", *given, "source=transformers", "model=none")
    assert run(tmp_path / "corpus", "num_texts=4") == 0
    assert len((tmp_path / "corpus/plan.jsonl").read_text().splitlines()) == 4


def test_later_commands_need_only_the_folder(tmp_path):
    begun = run_command("synthesize_captions", "recipe=entailment", "num_texts=30", "seed=2", "output=corpus")
    assert begun.status == 0, begun.err
    assert "30 of 30 requests answered" in begun.out
    assert "to train on it: python scripts/train_text_only.py task=snli-ve data=file" in begun.out
    assert begun.err == ""
    again = run_command("synthesize_captions", "output=corpus")
    assert again.status == 0, again.err
    assert again.out == begun.out
    assert "30 of 30 requests answered" in run_command("synthesize_captions", "output=corpus", "action=status").out
    longer = run_command("synthesize_captions", "output=corpus", "num_texts=45")
    assert "45 of 45 requests answered" in longer.out, longer.err
    assert "45 of 45 requests answered" in run_command("synthesize_captions", "output=corpus").out
    refused = run_command("synthesize_captions", "output=corpus", "seed=3")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("error: output=corpus: holds a corpus made with other settings (seed was 2 and is 3)")


def test_mistakes_end_with_status_two_and_one_plain_message():
    for arguments, message in [
        (["recipe=vqaa"], "error: recipe=vqaa: allowed are "),
        (["action=report", "output=none"], "error: output=none: holds no plan"),
    ]:
        refused = run_command("synthesize_captions", *arguments)
        assert refused.status == 2
        assert refused.err.startswith(message)
        assert "Traceback" not in refused.err
