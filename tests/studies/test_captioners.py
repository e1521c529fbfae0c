"""The study of captioners: its tables and gates are the numbers of its folders."""

import json
import math
from functools import cache
from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from studies.captioners import jobs as captioner_jobs
from studies.captioners.gates import judge_gates
from studies.captioners.jobs import list_jobs
from studies.captioners.study import run_study
from studies.captioners.system_scores import collect_scores
from studies.commands import compose_config
from studies.config import StudyCaptionersConfig

TWINS_RIGHT, TWINS_TIED, TWINS_HALF = [[2, 1], [1, 2]], [[1, 2], [1, 2]], [[3, 1], [2, 2]]
TWINS_NEARLY_TIED = [[2.0001, 2], [2, 2.0001]]  # right for a CLIP, equal for a captioner


@cache  # composing takes longer than most of these tests
def config(*overrides):
    return compose_config("study_captioners", StudyCaptionersConfig, ["output=out", "num_bootstrap=50", *overrides])


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_results(folder, **more):
    results = {"metrics": {"any": 1.0}, "num_examples": 4, "task": "any", "data": "picturebook", "config": {}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results | {"data_fingerprint": "1"} | more))


def make_step(job, step, loss, right, cider, twins):
    """Write the files of one finished step: `right` of 4 orders and probes right, and the scores of each pair of twins."""
    folder = step.folder
    if step.name == "training":
        write_lines(folder / "training.jsonl", [{"step": n, "validation_loss": loss + 1 - n} for n in (0, 1)])
    elif step.name == "composition":
        # A captioner's scores are equal within 1e-3, a CLIP's within 1e-6.
        write_results(folder, **({} if job.system == "clip" else {"run": str(job.folder)}))
        orders = [{"id": f"order-{n:05d}", "captions": [], "scores": [n < right, 0.5]} for n in range(4)]
        pairs = [{"id": f"twins-count-{n:05d}", "captions": [], "scores": scores} for n, scores in enumerate(twins)]
        write_lines(folder / "predictions.jsonl", orders + pairs)
    elif step.name == "captions":
        write_results(folder)
        write_lines(folder / "scores.jsonl", [{"id": f"test-{n}", "CIDEr": cider + n} for n in (-1, 0, 1)])
    elif step.name == "zero-shot":
        write_results(folder)
        probe = "zero_shot" if job.system == "clip" else "zero_shot_likelihood"
        write_lines(folder / "predictions.jsonl", [{"id": "test-0", "target": "kinds", "class": "x", probe: ["x"]}])
    else:
        write_results(folder)
        rows = [
            {
                "id": f"test-{n}",
                "target": target,
                "class": "x",
                "few_shot_10": ["x", "x" if n < right else "y"],
                "linear": ["x"],
            }
            for target, images in (("kinds", 4), ("places", 2))
            for n in range(images)
        ]
        write_lines(folder / "predictions.jsonl", rows)
    step.mark_finished()


def make_system(asked, name, *, seeds=(0, 1, 2), loss=1.0, right=4, cider=90.0, twins=(TWINS_RIGHT,) * 4):
    for job in list_jobs(asked):
        if job.system == name and job.seed in seeds:
            for step in job.steps:
                make_step(job, step, loss, right, cider, twins)


@pytest.fixture
def finished():
    """Return the configuration of a study whose captioners are finished."""
    asked = config()
    make_system(asked, "cap")
    make_system(asked, "cappa", loss=1.1, cider=91.0)
    make_system(asked, "blind", loss=1.8, cider=50.0, twins=[TWINS_TIED] * 4)
    make_system(asked, "clip", right=1, twins=[TWINS_NEARLY_TIED, *[TWINS_RIGHT] * 2, TWINS_TIED])
    make_system(asked, "parallel", loss=2.0, right=2, cider=60.0)
    return asked


def test_the_first_seed_of_all_comes_before_the_second_of_any():
    order = [(job.system, job.seed) for job in list_jobs(config())]
    gated = ("cap", "cappa", "blind", "clip")
    assert order[:4] == [(name, 0) for name in gated] and ("parallel", 0) in order[4:-8]
    assert order[-8:] == [(name, seed) for seed in (1, 2) for name in gated]
    assert len(set(order)) == len(order)


@pytest.mark.slow
def test_all_systems_compose():
    captioner_jobs.check_settings(list_jobs(config("with_recipes=true")))


def test_tables_and_gates_hold_the_numbers_of_the_folders(finished):
    table = run_study(config("report_only=true"))
    written = json.loads(Path("out/captioners.json").read_text())
    cap, blind, parallel = (written["systems"][name] for name in ("cap", "blind", "parallel"))
    assert cap["perplexity"] == {"mean": pytest.approx(math.e), "by_seed": pytest.approx([math.e] * 3)}
    assert cap["validation_losses"]["0"] == [[0, 2.0], [1, 1.0]]
    assert cap["metrics"]["accuracy/order"]["by_seed"] == [100.0] * 3
    assert parallel["metrics"]["accuracy/order"]["score"] == 50.0 and parallel["seeds"] == [0]
    assert {name: blind["metrics"][name]["score"] for name in ("accuracy/twins", "text", "image", "group")} == {
        "accuracy/twins": 50.0, "text": 0.0, "image": 0.0, "group": 0.0
    }  # fmt: skip
    assert cap["metrics"]["CIDEr"]["score"] == pytest.approx(90.0)
    # Two of four kinds and both places are right with the second seed of the probe; targets count the same.
    assert parallel["metrics"]["kinds/few_shot_10"]["score"] == 75.0
    assert parallel["metrics"]["all targets/few_shot_10"]["score"] == pytest.approx((75 + 100) / 2)
    assert cap["metrics"]["all targets/zero_shot"]["score"] == 100.0
    clip = written["systems"]["clip"]
    assert clip["perplexity"] == {"mean": None, "by_seed": []} and clip["validation_losses"]["2"] == [
        [0, 2.0],
        [1, 1.0],
    ]
    assert clip["metrics"]["accuracy/twins"]["score"] == clip["metrics"]["all targets/zero_shot"]["score"] - 12.5
    status = {gate["name"]: gate["status"] for gate in written["gates"]}
    assert status["accuracy/order"] == status["perplexity"] == status["captions (CIDEr)"] == "passed"
    assert "| cap | 3 | 2.72 (2.72 to 2.72) | 90.0 (" in table
    assert "| perplexity | cappa divided by parallel at most 0.7 | 0.41 | passed |" in table
    assert "| cap minus blind at least 20 | 40.0 (40.0 to 40.0) | passed |" in table
    page = Path("out/captioners.html").read_text()
    assert "data:image/svg+xml;base64," in page and "built-in world" in page
    assert Path("out/captioners.md").read_text() == table.partition("\n\npage:")[0] + "\n"


def find_check(asked, text):
    gates = judge_gates(collect_scores(asked, list_jobs(asked)), 50)
    (check,) = [check for gate in gates for check in gate.checks if check.text == text]
    return check


def test_gates_fail_with_the_numbers(finished):
    make_system(finished, "cappa", right=3, cider=95.0, loss=1.9)
    order = find_check(finished, "cappa at least 95")
    assert (order.value, order.passed) == (75.0, False)
    assert find_check(finished, "cap minus cappa within 3").passed is False
    ratio = find_check(finished, "cappa divided by parallel at most 0.7")
    assert ratio.value == pytest.approx(math.exp(-0.1)) and ratio.passed is False
    make_system(finished, "blind", seeds=[1], twins=[TWINS_HALF, *[TWINS_TIED] * 3])
    assert find_check(finished, "blind exactly 50 with every seed").passed is False


def test_an_unfinished_study_is_reported_and_says_what_is_missing():
    asked = config("report_only=true")
    assert "cap: seed 0 (everything); seed 1 (everything); seed 2 (everything)" in run_study(asked)
    make_system(asked, "cap", seeds=[0])
    (job,) = [job for job in list_jobs(asked) if (job.system, job.seed) == ("cappa", 0)]
    make_step(job, job.steps[0], 1.0, 4, 90.0, ())
    table = run_study(asked)
    assert "- cappa: seed 0 (composition, captions, probes, zero-shot); seed 1 (everything)" in table
    assert "| cappa | 1 | 2.72 |  |  |  |" in table
    row = "| accuracy/order | cap at least 95 | 100.0 (100.0 to 100.0) | passed so far (cap: 1 of 3 seeds) |"
    assert row in table
    assert "| accuracy/order | cappa at least 95 |  | not finished |" in table
    gates = {gate["name"]: gate["status"] for gate in json.loads(Path("out/captioners.json").read_text())["gates"]}
    assert set(gates.values()) == {"not finished"}


def test_a_gate_is_open_until_all_seeds_are_finished(finished):
    Path("out/blind/seed-2/composition/asked.json").unlink()
    table = run_study(config("report_only=true"))
    assert "blind exactly 50 with every seed | 50.0 (50.0 to 50.0) | passed so far (blind: 2 of 3 seeds) |" in table
    assert "| cap minus blind at least 20 | 40.0 (40.0 to 40.0) | passed |" in table
    status = {gate["name"]: gate["status"] for gate in json.loads(Path("out/captioners.json").read_text())["gates"]}
    assert status["accuracy/order"] == "not finished"
    assert status["perplexity"] == status["captions (CIDEr)"] == "passed"


def test_results_of_other_settings_are_refused_and_named(finished):
    with pytest.raises(UserError, match=r"seed-0 holds results of other settings \(captioner=fine, captioner=small, "):
        run_study(config("report_only=true", "train_overrides=captioner=fine"))
    with pytest.raises(UserError, match=r"composition holds results of other settings \(num_order=9\)"):
        run_study(config("report_only=true", "composition_overrides=num_order=9"))


def test_systems_with_other_examples_are_not_compared(finished):
    write_results(Path("out/blind/seed-0/captions"), data_fingerprint="2")
    with pytest.raises(UserError, match=r"systems\.blind: its CIDEr is of other examples than that of cap"):
        run_study(config("report_only=true"))


def test_a_study_may_be_moved(finished):
    table = run_study(config("report_only=true"))
    Path("out").rename("moved")
    moved = run_study(config("report_only=true", f"output={Path('moved').absolute()}"))
    assert moved.partition("\n\npage:")[0] == table.partition("\n\npage:")[0]


def test_settings_that_the_study_makes_itself_are_refused():
    with pytest.raises(UserError, match="train_overrides=seed=3: the study sets that itself"):
        config("train_overrides=seed=3")
    with pytest.raises(UserError, match=r"systems\.cap\.settings=output=here: the study sets that itself"):
        config("systems.cap.settings=output=here")
    with pytest.raises(UserError, match=r"recipes\.close=clip=timm: the study sets that itself"):
        config("recipes.close=clip=timm")
    with pytest.raises(UserError, match=r"only=capp: there is no such system\. Use one of cap, cappa"):
        config("only=[capp]")
    with pytest.raises(UserError, match=r"systems\.cap, training: captioner=tiny: allowed are"):
        run_study(config("train_overrides=captioner=tiny"))
    assert not Path("out").exists()
