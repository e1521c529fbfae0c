"""Comparison report: grouping of results into tables, names, marks and remarks."""

import json
from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.compare_results import CompareResultsConfig
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.core.errors import UserError
from close_transfer.pipelines.score_predictions import score_predictions
from close_transfer.reports.comparison_report import describe_report
from tests.evaluation.test_comparison import put, report, results


def theirs(cider=80.0, **other):
    """Return a results.json in the form of score_predictions.py's, without a name for the data."""
    return {
        **results(cider, None),
        "data": "dataset_coco", "split": None, "data_regime": None, "training_input_modality": None, "noise": None, "system": "theirs",
        "config": {"score": {"predictions": "p.json", "data_name": None, "split": None}}, **other,
    }  # fmt: skip


def elsewhere(seed, **lm):
    """Return the same system with another seed, trained on another machine."""
    content = results(90.0 + seed, seed, training_data_fingerprint="e" * 64)
    train = content["config"]["train"]
    train["data"] = {"name": "coco", "root": f"/home/{seed}/coco", "files": {"train": "t.json"}}
    train["lm"] = {"name": f"/scratch/{seed}/caption_lm"} | lm
    train["clip"] = {"model": "ViT-L-14", "weights": f"/weights/{seed}/vit.pt", "batch_size": 64 * (1 + seed)}
    return content


def test_scored_predictions_join_the_run_on_the_same_references():
    put("runs/ours", results(90.0))
    put("runs/theirs", theirs())
    made, markdown, _ = report()
    ((names, title),) = [([row.name for row in t.rows], (t.data, t.split)) for t in made.tables]
    assert names == ["trained on text, noise 0.1", "theirs"]
    assert title == ("coco", "test")
    assert "## captioning on coco, test, scene: image" in markdown


def test_both_caption_tasks_share_a_table_and_say_which():
    put("runs/one", results(90.0))
    put("runs/multi", results(80.0, task="captioning-multi"))
    put("runs/theirs", theirs(70.0))
    made, _, _ = report()
    ((names, task),) = [([row.name for row in t.rows], t.task) for t in made.tables]
    assert names == ["trained on text, noise 0.1, captioning", "trained on text, noise 0.1, captioning-multi", "theirs"]
    assert task == "captioning"


def test_unnamed_data_go_to_picturebook_only_by_their_references():
    put("runs/world", results(95.0, data="picturebook"))
    put("runs/theirs", theirs())
    put("runs/other", theirs(60.0, data_fingerprint="b" * 64))
    made, _, _ = report()
    assert [(t.is_builtin, [row.name for row in t.rows]) for t in made.tables] == [
        (False, ["theirs"]),
        (True, ["trained on text, noise 0.1", "theirs"]),
    ]


def test_stated_real_data_never_share_a_table_with_picturebook():
    put("runs/world", results(95.0, data="picturebook"))
    put("runs/real", results(90.0))
    made, _, _ = report()
    assert [(t.data, len(t.rows)) for t in made.tables] == [("coco", 1), ("picturebook", 1)]


def test_seeds_of_two_machines_are_folded_and_the_assumption_is_stated():
    for seed in (0, 1):
        put(f"runs/{seed}", elsewhere(seed))
    made, markdown, _ = report()
    assert [row.seeds for row in made.tables[0].rows] == [[0, 1]]
    assert "assuming that lm.name is the same file in /scratch/0/caption_lm, /scratch/1/caption_lm" in markdown
    assert "clip.weights" in markdown


@pytest.mark.parametrize(
    "change", [{"training_data_fingerprint": "f" * 64}, {"name": "/scratch/1/other_lm"}, {"name": "google/t5-base"}]
)
def test_other_training_data_and_other_models_are_not_folded(change):
    put("runs/0", elsewhere(0))
    content = elsewhere(1, **({} if "training_data_fingerprint" in change else change))
    put("runs/1", content | {k: v for k, v in change.items() if k in content})
    made, _, _ = report()
    assert sorted(row.seeds for row in made.tables[0].rows) == [[0], [1]]


@pytest.mark.parametrize(
    ("paths", "fingerprints", "mapper", "seeds"),
    [
        (["runs/cap/seed-0", "runs/cappa/seed-0"], ["a" * 64, "b" * 64], "linear", [[0], [1]]),
        (["runs/cap/seed-0", "/elsewhere/encoder"], ["a" * 64, "a" * 64], "linear", [[0, 1]]),
        (["runs/cap/seed-0/encoder", "runs/cap/seed-1/encoder"], ["a" * 64, "b" * 64], "identity", [[0, 1]]),
    ],
)
def test_encoders_in_folders_are_told_apart_by_their_weights(paths, fingerprints, mapper, seeds):
    for seed, (path, fingerprint) in enumerate(zip(paths, fingerprints, strict=True)):
        content = results(90.0, seed, encoder_fingerprint=fingerprint)
        content["config"]["train"] |= {"clip": {"kind": "captioner", "model": path}, "mapper": {"name": mapper}}
        put(f"runs/{seed}", content)
    made, _, _ = report()
    assert sorted(row.seeds for row in made.tables[0].rows) == seeds


@pytest.mark.parametrize(
    ("change", "mark"),
    [
        ({"encoder": "picturebook"}, "Picturebook's CLIP"),
        ({"train": {"clip": {"kind": "open_clip", "model": "picturebook"}}}, "Picturebook's CLIP"),
        ({"train": {"data": {"name": "picturebook"}}}, "trained on Picturebook"),
        ({"clipscore_encoder": "picturebook"}, "CLIPScore by Picturebook's CLIP"),
    ],
)
def test_parts_of_picturebook_are_marked_on_other_data(change, mark):
    put("runs/a", results(90.0, **change), [1.0, 2.0])
    put("runs/b", results(80.0, std=0.0), [1.0, 1.0])
    made, markdown, html = report("compare=[runs/a,runs/b]")
    shown = {row.name: row.marks for row in made.tables[0].rows}
    assert shown == {"trained on text, noise 0.1": [mark], "trained on text, no noise": []}
    assert f"| trained on text, noise 0.1 [{mark}] |" in markdown
    # Above the table and under the pairing.
    assert markdown.count(f"Systems marked [{mark}] depend on Picturebook") == 2
    for page in (html.replace("&#39;", "'"), describe_report(made)):
        assert f"Systems marked [{mark}] depend on Picturebook" in page


def test_picturebook_on_picturebook_needs_no_mark():
    put("runs/a", results(90.0, data="picturebook", encoder="picturebook"))
    made, markdown, _ = report()
    assert made.tables[0].rows[0].marks == []
    assert "Systems marked" not in markdown


def test_accuracies_have_the_digits_of_the_official_tool():
    metrics = {"accuracy": 66.666, "accuracy/number": -0.001, "CIDEr": 90.04}
    intervals = {"accuracy": [60.123, 70.987], "accuracy/number": [-0.001, 0.004], "CIDEr": [-0.04, 0.0]}
    put("runs/a", results(90.0, metrics=metrics, intervals=intervals))
    _, markdown, html = report()
    for shown in ("66.67 (60.12 to 70.99)", "0.00 (0.00 to 0.00)", "90.0 (0.0 to 0.0)"):
        assert shown in markdown
    assert "-0.0" not in markdown
    assert "66.67" in html
    assert "60.12 to 70.99" in html


def test_entries_left_out_and_the_encoder_are_stated_under_the_table():
    skipped = {"references without a prediction": 2}
    put("runs/a", results(90.0, num_skipped=2, skipped=skipped, encoder="ViT-L-14 (openai)"))
    put("runs/b", results(80.0, std=0.0, encoder="ViT-L-14 (openai)"))
    _, markdown, html = report()
    for page in (markdown, html):
        assert "left out: 2 references without a prediction, for “trained on text, noise 0.1”" in page
        assert "encoder: ViT-L-14 (openai)" in page


def test_clipscores_of_different_encoders_are_different_columns():
    for name, std in (("hf-hub:a/b", 0.1), ("ViT-B-32", 0.0)):
        content = results(90.0, std=std, clipscore_encoder=name)
        content["metrics"]["CLIPScore"] = 70.0
        put(f"runs/{std}", content)
    _, markdown, _ = report()
    header = next(line for line in markdown.splitlines() if line.startswith("| data regime"))
    assert "CLIPScore (ViT-B-32) | CLIPScore (hf-hub:a/b)" in header


def test_a_paired_comparison_of_two_inputs_states_them():
    put("runs/a", results(70.0), [1.0, 2.0])
    put("runs/b", results(60.0, scene="text"), [1.0, 1.0])
    made, markdown, _ = report("compare=[runs/a,runs/b]")
    assert len(made.tables) == 2
    assert "inputs differ: the first was evaluated with scene=image and the second with scene=text" in markdown


def test_two_splits_whose_ids_agree_are_not_paired():
    put("runs/a", results(70.0), [1.0, 2.0])
    put("runs/b", results(60.0, split="val", data_fingerprint="b" * 64), [1.0, 1.0])
    with pytest.raises(UserError, match=r"captioning on coco, test cannot be paired with captioning on coco, val"):
        report("compare=[runs/a,runs/b]")


def test_a_run_is_paired_with_scored_predictions_on_the_same_references():
    put("runs/a", results(70.0), [2.0, 2.0])
    put("runs/b", theirs(), [1.0, 1.0])
    made, _, _ = report("compare=[runs/a,runs/b]")
    assert made.pairing.same_references
    assert (made.pairing.data, made.pairing.difference.difference) == ("coco", 1.0)


@pytest.mark.slow
def test_official_results_of_a_run_are_compared_with_the_run():
    """Compare with scores on Karpathy's file, with the data's name and without it."""
    told = {1: ["a red ball on the grass", "a ball lies there"], 2: ["two dogs run", "dogs are running fast"]}
    images = [
        {"cocoid": n, "filename": f"{n}.jpg", "split": "test", "sentences": [{"raw": t} for t in texts]}
        for n, texts in told.items()
    ]
    Path("dataset_coco.json").write_text(json.dumps({"images": images}))
    Path("official_results.json").write_text(json.dumps([{"image_id": n, "caption": t[0]} for n, t in told.items()]))
    files = ["predictions=official_results.json", "references=dataset_coco.json", "num_bootstrap=5"]
    for name, more in (("named", ["data_name=coco", "split=test", "task=captioning-multi"]), ("bare", [])):
        config = compose_config(
            "score_predictions", ScorePredictionsConfig, [*files, f"output=runs/{name}", f"name={name}", *more]
        )
        score_predictions(config)
    made, _, _ = report("compare=[runs/named,runs/bare]")
    assert [(t.data, t.split, len(t.rows)) for t in made.tables] == [("coco", "test", 2)]
    assert made.pairing.difference.difference == 0.0


def test_a_report_without_results_is_refused():
    with pytest.raises(
        UserError, match=r"results=\?\?\?: has no default\. Give the results to compare, .*results='runs/"
    ):
        compose_config("compare_results", CompareResultsConfig, [])
