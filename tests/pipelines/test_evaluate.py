import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.core.atomic_files import WriteError
from close_transfer.core.errors import UserError
from close_transfer.pipelines.console import describe_evaluation
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.train import train
from close_transfer.reports.evaluation_report import ComparedEvaluation, write_report
from tests.conftest import die_at, small_config

FIELDS = {
    "metrics", "intervals", "num_examples", "num_skipped", "task", "data", "split", "scene", "noise", "data_regime", "seed",
    "config", "data_fingerprint", "versions", "git_commit",
}  # fmt: skip
CAPTION_METRICS = {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"}


def run_evaluation(runs, *overrides):
    return evaluate(
        compose_config("evaluate", EvaluateConfig, [f"runs={runs}", "num_bootstrap=50", "device=cpu", *overrides])
    )


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        ("captioning", CAPTION_METRICS),
        ("captioning-multi", CAPTION_METRICS),
        (
            "snli-ve",
            {"accuracy", "accuracy_generated", "accuracy/entailment", "accuracy/neutral", "accuracy/contradiction"},
        ),
        (
            "vqa",
            {
                "accuracy",
                "accuracy_simple",
                "accuracy_close_code",
                "accuracy/yes/no",
                "accuracy/number",
                "accuracy/other",
            },
        ),
    ],
)
def test_results_hold_what_they_promise(finished_runs, tmp_path, task, metrics):
    evaluation = run_evaluation(finished_runs, f"task={task}", f"output={tmp_path}")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results.keys() >= FIELDS
    assert set(results["metrics"]) == metrics
    assert results["intervals"].keys() == results["metrics"].keys()
    for name, value in results["metrics"].items():
        low, high = results["intervals"][name]
        assert math.isfinite(value)
        assert low <= high
    assert results["task"] == task
    assert (results["data"], results["split"], results["scene"]) == ("picturebook", "test", "image")
    assert results["data_regime"] == "T0"
    assert set(results["noise"]) >= {"std", "length", "cosine"}
    assert results["num_examples"] == len(evaluation.predictions) > 0
    assert results["num_skipped"] == 0
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == results["num_examples"]
    assert len({line["id"] for line in lines}) == len(lines)


def test_default_folder_and_text_scenes(finished_runs):
    evaluation = run_evaluation(finished_runs, "task=vqa", "scene=text", "split=test-novel")
    assert evaluation.folder == (finished_runs / "vqa/latest").resolve() / "eval-test-novel-text"
    assert evaluation.build_results().scene == "text"


def test_other_data_are_in_the_folder_name(finished_runs):
    own = run_evaluation(finished_runs, "task=vqa", "max_examples=8").folder
    other = run_evaluation(finished_runs, "task=vqa", "max_examples=8", "data=picturebook", "data.seed=3").folder
    assert (own.name, other.name) == ("eval-test-image", "eval-picturebook-test-image")


def test_results_of_other_settings_are_set_aside_and_never_lost(finished_runs, tmp_path, capsys):
    first = run_evaluation(finished_runs, "max_examples=8", f"output={tmp_path}")
    write_report(first)
    kept = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    run_evaluation(finished_runs, "max_examples=8", f"output={tmp_path}", "batch_size=3", "leakage=false")
    assert not (tmp_path / "old-1").exists(), "the same again"
    run_evaluation(finished_runs, "max_examples=8", f"output={tmp_path}")
    capsys.readouterr()
    run_evaluation(finished_runs, "max_examples=8", "checkpoint=last", "num_beams=1", f"output={tmp_path}")
    said = capsys.readouterr().err
    assert "held results of other settings (checkpoint, num_beams). They were moved to" in said
    assert {p.name: p.read_bytes() for p in (tmp_path / "old-1").iterdir()} == kept
    assert json.loads((tmp_path / "results.json").read_text())["checkpoint"] == "last"
    assert not (tmp_path / "report.html").exists(), "it told of the others"
    (tmp_path / "results.json").write_text("{}")  # of another command
    run_evaluation(finished_runs, "max_examples=8", f"output={tmp_path}")
    assert (tmp_path / "old-2" / "results.json").read_text() == "{}"


def test_a_kill_while_results_are_set_aside_loses_none(finished_runs, tmp_path, monkeypatch):
    run_evaluation(finished_runs, "max_examples=8", f"output={tmp_path}")
    kept = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    move, moved = Path.replace, []

    def dies(self, target):
        if Path(target).parent.name == "old-1":
            moved.append(self.name)
            if len(moved) == 3:
                raise KeyboardInterrupt
        return move(self, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", dies)
        run_evaluation(finished_runs, "max_examples=8", "num_beams=1", f"output={tmp_path}")
    run_evaluation(finished_runs, "max_examples=8", "num_beams=1", f"output={tmp_path}")
    assert {p.name: p.read_bytes() for p in (tmp_path / "old-1").iterdir()} == kept
    assert json.loads((tmp_path / "results.json").read_text())["config"]["eval"]["num_beams"] == 1


def test_picturebook_clip_on_other_data_is_warned_of(finished_runs, capsys):
    Path("texts.jsonl").write_text('{"text": ["A red dog.", "One dog."]}\n{"text": ["A blue cat.", "One cat."]}\n')
    table = ["data=file", "data.path=texts.jsonl", "scene=text"]
    told = describe_evaluation(run_evaluation(finished_runs, *table))
    said = capsys.readouterr().err
    assert said.count("note: the Picturebook CLIP knows only Picturebook's language") == 1
    assert "Use clip=open_clip clip.model=NAME" in said
    assert "leakage" not in told
    run_evaluation(finished_runs)
    assert "Picturebook CLIP" not in capsys.readouterr().err


def test_leakage_is_reported_if_found_or_not_checked(finished_runs, tmp_path):
    found = run_evaluation(finished_runs, "split=train", "max_examples=4", f"output={tmp_path / 'a'}")
    assert found.leakage["num_identical"] >= 4
    told = f"{found.leakage['num_identical']:,} of 200 training texts are identical to an evaluation text"
    assert f"leakage: {told}" in describe_evaluation(found)
    assert told in write_report(found).read_text()
    silent = run_evaluation(finished_runs, "leakage=false", "max_examples=4", f"output={tmp_path / 'b'}")
    assert "eakage:" not in describe_evaluation(silent) + write_report(silent).read_text()
    blind = replace(silent, leakage={"checked": False, "reason": "there is no text"})
    assert "leakage: not checked, because there is no text" in describe_evaluation(blind)
    assert "Leakage: not checked, because there is no text" in write_report(blind).read_text()


def test_evaluating_twice_gives_the_same_numbers(finished_runs, tmp_path):
    first, second = (run_evaluation(finished_runs, f"output={tmp_path / n}").build_results() for n in "ab")
    assert first.metrics == second.metrics
    assert first.intervals == second.intervals
    assert first.data_fingerprint == second.data_fingerprint


def test_report_is_one_file_with_numbers_images_and_plain_words(finished_runs, tmp_path):
    evaluation = run_evaluation(finished_runs, f"output={tmp_path}")
    page = write_report(evaluation).read_text()
    assert page.count('src="data:image/png;base64,') >= 12
    assert 'src="data:image/svg+xml;base64,' in page
    assert "http" not in page.replace("http://www.w3.org", ""), "nothing is fetched"
    assert f"{evaluation.scores.metrics['CIDEr']:.1f}" in page
    assert "random noise of length 1.13" in page
    assert "Lowest CIDEr" in page
    assert evaluation.examples[0].references[0] in page or len(evaluation.examples) > 24


@pytest.mark.slow
def test_report_sets_systems_side_by_side_and_never_on_other_examples(finished_runs, tmp_path):
    clean, _ = train(small_config("noise=0", "output=clean"), "text")
    other = run_evaluation(finished_runs, f"run={clean}", f"output={tmp_path / 'clean'}")
    novel = run_evaluation(finished_runs, "split=test-novel", f"output={tmp_path / 'novel'}")
    method = run_evaluation(finished_runs, f"output={tmp_path / 'method'}")
    page = write_report(method, [ComparedEvaluation.read(other.folder)]).read_text()
    assert "trained on text, no noise" in page
    assert "trained on text, noise 0.1" in page
    with pytest.raises(UserError, match="other examples than this run"):
        write_report(method, [ComparedEvaluation.read(novel.folder)])


def test_another_encoder_is_refused(finished_runs, tmp_path):
    import open_clip
    from safetensors.torch import save_file

    folder = Path(__import__("close_transfer").__file__).parent / "data" / "picturebook" / "clip"
    for path in folder.iterdir():
        if path.name != "checksums.json":  # a user who changes weights on purpose deletes it
            (tmp_path / path.name).write_bytes(path.read_bytes())
    model = open_clip.create_model(f"local-dir:{folder}")
    changed = {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in model.state_dict().items()}
    changed["logit_scale"] += 1
    save_file(changed, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(UserError, match=r"has other weights than the encoder picturebook that the run was trained on"):
        run_evaluation(finished_runs, f"clip.model=local-dir:{tmp_path}", "clip=picturebook")


def test_a_run_of_another_task_is_refused(finished_runs):
    with pytest.raises(UserError, match=r"was trained for task=vqa"):
        run_evaluation(finished_runs, "task=snli-ve", f"run={finished_runs / 'vqa/latest'}")


def test_a_run_of_another_version_is_named(tmp_path):
    config = small_config().model_dump(mode="json")
    del config["lm"]["name"]
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"lm\.scratch\.name: field required; another version wrote this run"):
        run_evaluation(tmp_path, f"run={tmp_path}")


def results_but_for_paths(folder):
    told = json.loads((folder / "results.json").read_text())
    del told["config"]["eval"]["output"]
    return told, (folder / "predictions.jsonl").read_bytes()


def test_an_interrupted_evaluation_continues(finished_runs, tmp_path, monkeypatch):
    settings = ["task=vqa", "batch_size=8"]
    run_evaluation(finished_runs, *settings, f"output={tmp_path / 'whole'}")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        die_at(patched, 4)
        run_evaluation(finished_runs, *settings, f"output={tmp_path / 'parts'}")
    assert not (tmp_path / "parts" / "results.json").exists()
    with monkeypatch.context() as patched:
        calls = die_at(patched, None)
        run_evaluation(finished_runs, *settings, f"output={tmp_path / 'parts'}")
    assert len(calls) == 9 - 3
    assert results_but_for_paths(tmp_path / "whole") == results_but_for_paths(tmp_path / "parts")
    names = [{p.name for p in (tmp_path / part).iterdir()} for part in ("whole", "parts")]
    assert names[0] == names[1] >= {"predictions.jsonl", "results.json"}


@pytest.mark.parametrize(
    ("change", "named"),
    [("batch_size=4", "batch_size"), ("num_beams=1", "num_beams"), ("max_examples=20", "examples, vectors")],
)
def test_answers_to_other_settings_are_not_taken_over(finished_runs, tmp_path, monkeypatch, capsys, change, named):
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        die_at(patched, 2)
        run_evaluation(finished_runs, "task=vqa", "batch_size=8", f"output={tmp_path / 'parts'}")
    run_evaluation(finished_runs, "task=vqa", "batch_size=8", change, f"output={tmp_path / 'parts'}")
    assert f"it differed in {named}. Its answers were moved to" in capsys.readouterr().err
    run_evaluation(finished_runs, "task=vqa", "batch_size=8", change, f"output={tmp_path / 'whole'}")
    assert results_but_for_paths(tmp_path / "whole") == results_but_for_paths(tmp_path / "parts")


def test_a_disk_that_fills_up_leaves_the_earlier_results(finished_runs, tmp_path, monkeypatch):
    run_evaluation(finished_runs, f"output={tmp_path}")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    synced = []

    def full(path):
        synced.append(path)
        if len(synced) == 2:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(WriteError, match=r"predictions\.jsonl: could not be written"):
        patched.setattr("close_transfer.evaluation.evaluation_folder.sync", full)
        run_evaluation(finished_runs, "num_beams=1", f"output={tmp_path}")
    left = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert left.pop("predictions.jsonl.journal")
    assert left == before
