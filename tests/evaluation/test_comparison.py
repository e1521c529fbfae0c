"""Comparison of results: folding of seeds, separate tables, and the sentences of the report."""

import json
import re
from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.compare_results import CompareResultsConfig
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.core.errors import UserError
from close_transfer.evaluation.comparison import compute_t_quantile
from close_transfer.pipelines.compare_results import compare_results
from close_transfer.pipelines.score_predictions import score_predictions
from close_transfer.reports.comparison_report import BUILTIN_DATASET_SENTENCE, describe_report
from tests.commands import run_command


def results(cider=90.0, seed=0, **other):
    """Return a results.json in the form of eval_image.py's."""
    noise = other.pop("std", 0.1)
    train = {"seed": seed, "output": f"somewhere-{seed}", "adapter": {"gaussian": {}}, "lm": {"name": "t5-mini"}}
    return {
        "metrics": {"BLEU-4": cider / 3, "CIDEr": cider},
        "intervals": {"BLEU-4": [cider / 3 - 1, cider / 3 + 1], "CIDEr": [cider - 2, cider + 2]},
        "num_examples": 100, "num_skipped": 0, "task": "captioning", "data": "coco", "split": "test", "scene": "image",
        "noise": {"std": noise}, "data_regime": "T0", "training_input_modality": "text", "seed": seed,
        "config": {"train": {**train, "noise": noise, **other.pop("train", {})}, "eval": {"run": f"run-{seed}", "checkpoint": "best", "num_beams": None}},
        "data_fingerprint": "a" * 64, **other,
    }  # fmt: skip


def put(folder, content, scores=None):
    """Write an evaluation and return its folder's name."""
    Path(folder).mkdir(parents=True)
    Path(folder, "results.json").write_text(json.dumps(content))
    if scores is not None:
        lines = (json.dumps({"id": str(n), "CIDEr": score}) + "\n" for n, score in enumerate(scores))
        Path(folder, "scores.jsonl").write_text("".join(lines))
    return folder


def report(*settings):
    """Return the report of all results below `runs`, and both pages."""
    given = ["results=runs/**/results.json", "num_bootstrap=200", "output=report", *settings]
    made = compare_results(compose_config("compare_results", CompareResultsConfig, given))
    return made, Path("report.md").read_text(), Path("report.html").read_text()


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 12.7062), (2, 4.30265), (3, 3.18245), (10, 2.22814), (30, 2.04227), (120, 1.97993)]
)
def test_t_quantile_is_that_of_printed_tables(freedom, value):
    assert compute_t_quantile(freedom) == pytest.approx(value, abs=1e-4)


def test_seeds_of_one_system_are_folded_into_mean_and_interval():
    for seed, cider in enumerate((89.0, 90.0, 91.0)):
        put(f"runs/{seed}", results(cider, seed))
    made, markdown, html = report()
    ((row,),) = [table.rows for table in made.tables]
    assert row.seeds == [0, 1, 2]
    # By hand: standard deviation 1, t of two degrees 4.30265, divided by the root of 3.
    value = row.values["CIDEr"]
    assert (value.value, value.low, value.high) == pytest.approx((90.0, 90 - 2.48414, 90 + 2.48414), abs=1e-4)
    for page in (markdown, html):
        assert "90.0" in page
        assert "87.5 to 92.5" in page
        assert "3 (0, 1, 2)" in page


def test_one_seed_keeps_its_interval_over_examples():
    put("runs/0", results(90.0))
    made, _, _ = report()
    value = made.tables[0].rows[0].values["CIDEr"]
    assert (value.value, value.low, value.high) == (90.0, 88.0, 92.0)


def test_other_settings_are_other_systems_with_other_names():
    put("runs/a", results(90.0, 0))
    put("runs/b", results(80.0, 1, train={"lm": {"name": "t5-base"}}))
    put("runs/c", results(70.0, 0, std=0.0))
    made, _, _ = report()
    assert [row.name for row in made.tables[0].rows] == [
        "trained on text, noise 0.1 (lm.name=t5-mini)",
        "trained on text, noise 0.1 (lm.name=t5-base)",
        "trained on text, no noise",
    ]


def test_a_duplicate_seed_counts_once_and_is_reported():
    put("runs/a", results(90.0, 0))
    put("runs/b", results(80.0, 0))
    made, markdown, html = report()
    assert made.tables[0].rows[0].values["CIDEr"].value == 80.0
    assert made.tables[0].rows[0].seeds == [0]
    for told in (markdown, html, describe_report(made)):
        assert "left out runs/a/results.json" in told


def test_picturebook_and_real_data_never_share_a_table():
    put("runs/real", results(90.0))
    put("runs/world", results(95.0, data="picturebook", data_fingerprint="b" * 64))
    made, markdown, html = report()
    assert [[table.data, len(table.rows)] for table in made.tables] == [["coco", 1], ["picturebook", 1]]
    for page in (markdown, html):
        assert page.count(BUILTIN_DATASET_SENTENCE) == 1
        assert page.index("picturebook") < page.index(BUILTIN_DATASET_SENTENCE)


def test_a_link_to_a_run_is_read_once():
    put("runs/2026-01-01", results(90.0))
    Path("runs/latest").symlink_to("2026-01-01")
    made, _, _ = report("results=runs/*/results.json")
    assert made.num_files == 1
    assert made.notes == []


def test_data_regimes_are_separate_and_named():
    put("runs/images", results(99.0, data_regime="T4", training_input_modality="image"))
    put("runs/text", results(90.0))
    put("runs/noiseless", results(50.0, std=0.0))
    put(
        "runs/theirs",
        {**results(120.0, None), "data_regime": None, "system": "theirs", "config": {"score": {"predictions": "x"}}},
    )
    made, markdown, html = report()
    assert [row.data_regime for row in made.tables[0].rows] == ["T0", "T0", "T4", None]
    for words in ("T0: text only", "T4: images with their text", "not stated"):
        assert words in markdown
        assert words in html
    lines = [line for line in markdown.splitlines() if line.startswith("| T") or line.startswith("| not")]
    # The best of a regime is marked among its own only, never across.
    assert [line.count("**90.0**") for line in lines] == [1, 0, 0, 0]
    assert "**120.0**" not in markdown


def test_other_examples_get_another_table():
    put("runs/a", results(90.0))
    put("runs/b", results(80.0, data_fingerprint="c" * 64, num_examples=50))
    made, markdown, html = report()
    assert sorted(table.num_examples for table in made.tables) == [50, 100]
    for page in (markdown, html):
        assert "do not compare the two" in page


def test_results_without_a_seed_are_never_folded():
    for name in ("a", "b"):
        content = {**results(90.0, None), "system": "theirs", "config": {"score": {"predictions": f"{name}/p.json"}}}
        put(f"runs/{name}", content)
    made, _, _ = report()
    assert [row.name for row in made.tables[0].rows] == [
        "theirs (predictions=a/p.json)",
        "theirs (predictions=b/p.json)",
    ]


def test_seeds_of_external_systems_are_folded_by_name():
    for seed in (1, 2):
        content = {
            **results(90.0 + seed, seed),
            "system": "theirs",
            "config": {"score": {"predictions": f"{seed}.json", "seed": seed}},
        }
        put(f"runs/{seed}", content)
    made, _, _ = report()
    assert [row.seeds for row in made.tables[0].rows] == [[1, 2]]


def test_pages_are_self_contained_and_escape_names():
    put("runs/a", {**results(90.0), "system": "a|b <script>alert(1)</script>"})
    _, markdown, html = report()
    assert not re.search(r"(src|href)=|url\(|@import|https?:", html)
    assert "<script>" not in html
    assert r"a\|b" in markdown
    assert "<script>" not in markdown


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("{", "not valid JSON"),
        ("[]", "the whole"),
        ("{}", "metrics"),
        (json.dumps({**results(), "metrics": {"CIDEr": "90"}}), r"metrics\.CIDEr"),
        (json.dumps({**results(), "metrics": {"CIDEr": float("nan")}}), r"metrics\.CIDEr"),
        (json.dumps({**results(), "metrics": {}}), "metrics"),
        (json.dumps({**results(), "intervals": {"CIDEr": [1]}}), r"intervals\.CIDEr"),
        (json.dumps({**results(), "config": {"train": {"adapter": "x"}}, "seed": "0"}), "seed"),
        ("[" * 100_000, "nested too deeply|not valid JSON"),
    ],
)
def test_errors_of_damaged_results_name_file_and_field(content, where):
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/results.json").write_text(content)
    with pytest.raises(UserError, match=rf"results=runs/a/results\.json: .*({where})"):
        report()


def test_a_glob_that_matches_nothing_is_an_error():
    with pytest.raises(UserError, match=r"results=runs/\*\*/results\.json matches no results\.json"):
        report()


def test_two_systems_are_paired_by_id():
    scores = [float(n % 7) * 20 for n in range(60)]
    a = put("runs/a", results(70.0), [score + 5 + n % 2 for n, score in enumerate(scores)])
    b = put("runs/b", results(65.0, std=0.0), scores)
    lines = Path(b, "scores.jsonl").read_text().splitlines()
    Path(b, "scores.jsonl").write_text("\n".join(reversed(lines)))
    made, markdown, html = report(f"compare=[{a},{b}]")
    # Shifts of 5 and 6 in turn: though single scores spread by 120, their differences do not.
    found = made.pairing.difference
    assert found.difference == pytest.approx(5.5)
    assert 5.3 < found.low < 5.5 < found.high < 5.7
    assert found.share_better == 1.0
    for page in (markdown, html):
        assert "is 5.50" in page
        assert "excludes zero" in page


def test_a_paired_comparison_states_its_reservations():
    a = put("runs/a", results(70.0, data="picturebook"), [1.0, 2.0, 3.0])
    b = put("runs/b", results(70.0, data="picturebook", data_regime="T4", data_fingerprint="d" * 64), [3.0, 2.0, 1.0])
    _, markdown, _ = report(f"compare=[{a},{b}]")
    paired = markdown[markdown.index("## Paired comparison") :]
    for sentence in ("includes zero", "Their training data differ", "references may differ", BUILTIN_DATASET_SENTENCE):
        assert sentence in paired


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Path("runs/b/scores.jsonl").unlink(), r"compare=runs/b: it has no scores\.jsonl"),
        (lambda: Path("runs/b/scores.jsonl").write_text('{"id": "0", "CIDEr": 1}\n'), "2 examples are only in the first"),
        (lambda: Path("runs/b/scores.jsonl").write_text('{"id": "0", "CIDEr": NaN}\n'), "line 1: .*not a number"),
        (lambda: Path("runs/b/scores.jsonl").write_text('{"id": "0"}\n'), "line 1"),
        (lambda: Path("runs/b/scores.jsonl").write_text("x\n"), "line 1: not valid JSON"),
        (lambda: Path("runs/b/scores.jsonl").write_text(""), "is empty"),
        (lambda: Path("runs/b/results.json").write_text(json.dumps(results(data="picturebook"))), "cannot be paired with"),
        (lambda: Path("runs/b/results.json").unlink(), r"compare=runs/b/results\.json: there is no such file"),
    ],
)  # fmt: skip
def test_evaluations_that_cannot_be_paired_are_refused(change, message):
    for name in ("a", "b"):
        put(f"runs/{name}", results(70.0), [1.0, 2.0, 3.0])
    change()
    with pytest.raises(UserError, match=message):
        report("compare=[runs/a,runs/b]")


def test_scored_predictions_are_compared_in_a_report():
    """Score two systems on the same answers, then run the command."""
    answers = {"1": ["yes"] * 4, "2": ["no"] * 4}
    Path("r.jsonl").write_text("".join(json.dumps({"id": i, "references": a}) + "\n" for i, a in answers.items()))
    for name, said in (("right", ["yes", "no"]), ("wrong", ["yes", "yes"])):
        rows = zip(answers, said, strict=True)
        Path(f"{name}.jsonl").write_text("".join(json.dumps({"id": i, "prediction": a}) + "\n" for i, a in rows))
        settings = ["task=vqa", f"predictions={name}.jsonl", "references=r.jsonl", f"output=scored/{name}"]
        score_predictions(compose_config("score_predictions", ScorePredictionsConfig, settings))
    settings = ["results=scored/*/results.json", "compare=[scored/right,scored/wrong]"]
    finished = run_command("compare_results", *settings)
    assert finished.status == 0, finished.err
    assert "files read: 2, tables: 1, systems: 2" in finished.out
    assert "right” minus “wrong” is 50.00" in finished.out
    assert Path("report.md").is_file()
    assert Path("report.html").is_file()
