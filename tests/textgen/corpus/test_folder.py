"""Folder of a corpus: remembered settings, and refusal of another corpus."""

import json

import pytest

from close_transfer.core.checksums import write_checked_json
from close_transfer.core.command_line import compose_config
from close_transfer.core.errors import UserError
from close_transfer.core.locks import hold_lock, locate_lock
from tests.textgen.conftest import write_journal
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.folder import CorpusFolder, merge_remembered_args
from textgen.pipeline import synthesize

DECIDES = {"recipe": "coco-style", "template": "a" * 64, "model": "gpt-5-mini", "seed": "0"}


@pytest.fixture
def folder(tmp_path):
    return CorpusFolder(tmp_path / "corpus")


def begin(folder, arguments=("recipe=coco-style", "num_texts=10"), asked=True):
    key = folder.keep(DECIDES, arguments)
    folder.plan.write_text("{}\n")
    if asked:
        answer = {"event": "answer", "id": "a", "attempt": 1, "items": []}
        write_journal(folder.journal, answer)
    return key


def test_the_same_settings_have_the_same_key_and_change_nothing(folder):
    key = begin(folder)
    before = folder.settings.read_bytes()
    assert folder.keep(dict(reversed(DECIDES.items())), ["num_texts=99"]) == key
    assert folder.settings.read_bytes() == before
    assert CorpusFolder(folder.path.parent / "other").keep({**DECIDES, "seed": "1"}, []) != key


def test_differences_are_named_with_both_values(folder):
    begin(folder)
    changed = {**DECIDES, "template": "b" * 64, "model": "gpt-5", "grammar": "x"}
    with pytest.raises(UserError) as caught:
        folder.keep(changed, [])
    message = str(caught.value)
    assert "template was aaaaaaaa and is bbbbbbbb" in message
    assert "model was gpt-5-mini and is gpt-5;" in message
    assert "grammar was None and is x" in message
    assert "seed" not in message
    assert "Give another output=" in message


def test_a_plan_is_replaced_before_the_first_request(folder):
    begin(folder, asked=False)
    folder.keep(DECIDES, ["num_texts=20"])
    assert folder.plan.exists()
    key = folder.keep({**DECIDES, "model": "gpt-5"}, ["num_texts=20", "model=gpt-5"])
    assert not folder.plan.exists()
    noted = json.loads(folder.settings.read_text())
    assert (noted["key"], noted["arguments"]) == (key, ["num_texts=20", "model=gpt-5"])


def test_a_journal_without_answers_and_spend_is_replaced_too(folder):
    for event, stays in [
        ({"event": "session", "server": "s"}, False),
        ({"event": "fault", "id": "a", "fault": "404", "paid": "no"}, False),
        ({"event": "fault", "id": "a", "fault": "stall", "paid": "reserved", "tokens": 9, "cost": 0.1}, True),
        ({"event": "sent", "id": "a", "attempt": 1, "tokens": 9, "cost": 0.1}, True),
    ]:
        begin(folder, asked=False)
        write_journal(folder.journal, {"event": "corpus"}, event)
        if stays:
            with pytest.raises(UserError, match="seed was 0 and is 1"):
                folder.keep({**DECIDES, "seed": "1"}, [])
        else:
            folder.keep({**DECIDES, "seed": "1"}, [])
        assert folder.plan.exists() == folder.journal.exists() == stays
        folder.journal.unlink(missing_ok=True)


def test_a_corpus_with_missing_or_damaged_settings_is_not_changed(folder):
    begin(folder)
    folder.settings.write_text("[]")
    with pytest.raises(UserError, match=r"settings.json: is damaged"):
        folder.keep(DECIDES, [])
    folder.settings.unlink()
    with pytest.raises(
        UserError, match=r"holds a corpus whose settings.json is missing. Restore that file, or give another"
    ):
        folder.keep(DECIDES, [])
    assert not folder.settings.exists()


def merge(*arguments):
    return merge_remembered_args(arguments, "runs/{recipe}", "coco-style")


def test_later_commands_need_only_the_folder(folder):
    begin(folder, ["recipe=vqa", "action=plan", f"output={folder.path}", "num_texts=10", "seed=3", "max_cost=2"])
    assert merge(f"output={folder.path}", "action=report") == [
        "recipe=vqa", "seed=3", "max_cost=2", f"output={folder.path}", "action=report",
    ]  # fmt: skip


def test_a_typed_setting_overrides_a_remembered_one(folder):
    begin(folder, ["recipe=vqa", "num_texts=10", "max_cost=2", "filters.clip_tokens=null"])
    arguments = merge(f"output={folder.path}", "max_cost=5", "num_texts=50")
    assert arguments == [
        "recipe=vqa",
        "filters.clip_tokens=null",
        f"output={folder.path}",
        "max_cost=5",
        "num_texts=50",
    ]


def test_num_texts_is_remembered_until_the_first_request(folder):
    begin(folder, ["num_texts=10"], asked=False)
    assert merge(f"output={folder.path}") == ["num_texts=10", f"output={folder.path}"]
    folder.journal.write_text("{}\n")
    assert merge(f"output={folder.path}") == [f"output={folder.path}"]


def test_the_folder_of_a_recipe_is_known_without_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begin(CorpusFolder(tmp_path / "runs/vqa"), ["recipe=vqa", "seed=3"])
    begin(CorpusFolder(tmp_path / "runs/coco-style"), ["seed=4"])
    assert merge("recipe=vqa") == ["seed=3", "recipe=vqa"]
    assert merge("action=status") == ["seed=4", "action=status"]


def test_nothing_is_remembered_of_a_folder_without_a_plan(folder, tmp_path):
    folder.keep(DECIDES, ["source=openai"])
    for output in (folder.path, tmp_path / "none", "\0", "x" * 5000):
        assert merge(f"output={output}") == [f"output={output}"]
    assert merge("--help") == ["--help"]


def test_damaged_settings_are_reported(folder):
    begin(folder)
    folder.settings.write_text("{")
    with pytest.raises(UserError, match=r"settings.json: is damaged"):
        merge(f"output={folder.path}")


def test_only_status_works_while_another_command_runs(tmp_path, capsys):
    given = [f"output={tmp_path / 'corpus'}", "num_texts=3", "filters.clip_tokens=null"]
    made = compose_config("synthesize_captions", SynthesizeCaptionsConfig, given)
    assert synthesize(made) == 0
    with hold_lock(locate_lock(tmp_path / "corpus"), UserError("held")):
        for action in ("run", "plan", "collect", "filter", "report", "repair"):
            with pytest.raises(UserError, match=r"another process is at work on .*corpus"):
                synthesize(made.model_copy(update={"action": action}))
        assert synthesize(made.model_copy(update={"action": "status"})) == 0
    assert synthesize(made) == 0


def test_a_command_that_is_refused_leaves_no_folder(tmp_path):
    refused = compose_config(
        "synthesize_captions", SynthesizeCaptionsConfig, [f"output={tmp_path / 'corpus'}", "source=openai", "model=x"]
    )
    with pytest.raises(UserError, match="has no price for it"):
        synthesize(refused)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    "argument",
    ["recipe.system=${oc.env:HOME}", "hydra.run.dir=x", "+hydra.callbacks.a._target_=b", "--config-dir=x", 7],
)
def test_a_folder_of_others_sets_plain_values_only(argument, tmp_path):
    folder = CorpusFolder(tmp_path)
    folder.plan.touch()
    note = {"key": "k", "arguments": ["seed=1", argument], "decides": {}}
    write_checked_json(folder.settings, note)
    with pytest.raises(UserError, match=r"settings\.json: is damaged \(.* is not a plain setting\)"):
        merge_remembered_args([f"output={tmp_path}"], "{recipe}", "coco-style")


@pytest.mark.parametrize("setting", ["base_url=https://elsewhere.example/v1", "api_key_env=AWS_SECRET_ACCESS_KEY"])
def test_a_folder_of_others_does_not_decide_where_a_key_is_sent(folder, setting):
    begin(folder, ["source=openai", setting])
    name, value = setting.split("=")
    for action in ("run", "collect"):
        with pytest.raises(UserError, match=rf"was begun with {name}={value}, .* If you trust it, repeat it"):
            merge(f"output={folder.path}", f"action={action}")
    assert setting in merge(f"output={folder.path}", "action=report")  # it sends nothing
    assert setting in merge(f"output={folder.path}", setting)


def test_a_server_of_this_machine_is_remembered(folder):
    begin(folder, ["base_url=http://localhost:8000/v1", "api_key_env=LOCAL_KEY"])
    assert merge(f"output={folder.path}")[:2] == ["base_url=http://localhost:8000/v1", "api_key_env=LOCAL_KEY"]


def test_a_setting_that_reads_a_variable_is_not_remembered(tmp_path):
    folder = CorpusFolder(tmp_path)
    folder.keep({"seed": "1"}, ["seed=1", "references=${oc.env:HOME}/texts.txt", "hydra.run.dir=x"])
    folder.plan.touch()
    assert merge_remembered_args([f"output={tmp_path}"], "{recipe}", "coco-style") == ["seed=1", f"output={tmp_path}"]
