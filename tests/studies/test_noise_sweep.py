"""The sweep over noise: what it says are the results of its runs, and nothing is done twice."""

import json
from pathlib import Path

import numpy as np
import pytest

from close_transfer.config.compute_statistics import ComputeStatisticsConfig
from close_transfer.core.errors import UserError
from close_transfer.pipelines.compute_statistics import compute_statistics
from studies import noise_sweep
from studies.commands import compose_config
from studies.config import SweepNoiseConfig
from studies.jobs import run_job
from studies.noise_sweep import run_sweep
from studies.scene_scores import SceneScores, map_examples_to_scenes
from tests.conftest import SMALL, SMALL_DATA


def config(*overrides):
    settings = f"train_overrides={' '.join(SMALL)}"
    given = [settings, "eval_overrides=num_bootstrap=20 device=cpu", "num_bootstrap=50", "seeds=2", "noises=[0,0.1]"]
    return compose_config("sweep_noise", SweepNoiseConfig, [*given, "output=sweep", "num_workers=1", *overrides])


@pytest.fixture
def in_this_process(monkeypatch):
    """Run jobs in this process; return the list that collects the finished ones."""
    done = []

    def stand_in(jobs, workers, what):
        for job in jobs:
            if job.find_missing_tests():
                run_job(job)
                done.append(job.folder.name)

    monkeypatch.setattr(noise_sweep, "run_jobs", stand_in)
    return done


@pytest.mark.slow
@pytest.mark.parametrize("task", ["captioning", "vqa"])
def test_points_are_the_means_of_the_results(in_this_process, task):
    said = run_sweep(config(f"task={task}", "output=sweep"))
    written = json.loads(Path("sweep/sweep.json").read_text())
    assert len(written["points"]) == 6  # two numbers and auto, on images and on texts
    for point in written["points"]:
        told = []
        for seed in (0, 1):
            folder = Path(f"sweep/noise-{point['given']}-seed-{seed}/test-{point['scene']}")
            results = json.loads((folder / "results.json").read_text())
            assert (results["scene"], results["seed"]) == (point["scene"], seed)
            assert results["noise"]["std"] == point["noise"]
            told.append(results["metrics"][written["metric"]])
        assert point["score"] == pytest.approx(np.mean(told))
        assert point["by_seed"] == pytest.approx(told)
        assert point["low"] <= point["score"] <= point["high"]
    for scene in ("image", "text"):
        mine = [point for point in written["points"] if point["scene"] == scene]
        best = max((one for one in mine if one["given"] != "auto"), key=lambda point: point["score"])
        assert best["below_best"] == [0, 0, 0]
        for point in mine:
            assert point["below_best"][0] == pytest.approx(best["score"] - point["score"])
            assert f"| {scene} | T0 | " in said
    chosen = next(point for point in written["points"] if point["given"] == "auto" and point["scene"] == "image")
    assert f"noise=auto (T0) chose {chosen['noise']:.3g} and reached {chosen['score']:.1f} on images" in said
    page = Path("sweep/sweep.html").read_text()
    assert "data:image/svg+xml;base64," in page
    assert "built-in world" in page


@pytest.mark.slow
def test_resamples_draw_scenes_and_not_their_questions(in_this_process):
    """Twelve scenes with several questions each: the interval is that of scenes as a whole."""
    run_sweep(config("task=vqa", "seeds=1", "num_bootstrap=2000"))
    folder = Path("sweep/noise-0-seed-0")
    scene_of = map_examples_to_scenes(folder, "test")
    scores = SceneScores.read([folder / "test-image"], scene_of)
    assert len(scores.counts) <= 12 < scores.counts.sum() == len(scene_of)
    per_scene = [scores.sums[i] / scores.counts[i] for i in range(len(scores.counts))]
    low, high = scores.compute_interval(2000)
    half = 1.96 * np.std(per_scene) / np.sqrt(len(per_scene))
    assert high - low == pytest.approx(2 * half, rel=0.5)
    assert scores.subtract(scores, 50).difference == 0


@pytest.mark.slow
def test_what_is_finished_is_not_done_again(in_this_process):
    run_sweep(config("seeds=1"))
    before = list(in_this_process)
    first = Path("sweep/sweep.md").read_text()
    run_sweep(config("seeds=1"))
    assert in_this_process == before
    assert Path("sweep/sweep.md").read_text() == first
    run_sweep(config("seeds=1", "noises=[0,0.1,0.2]"))
    assert in_this_process == [*before, "noise-0.2-seed-0"]


@pytest.mark.parametrize("setting", ["noise=0.3", "seed=4", "output=x"])
def test_what_the_sweep_sets_cannot_be_given(setting):
    with pytest.raises(UserError, match=rf"train_overrides={setting}: the sweep sets noise, .* itself"):
        config(f"train_overrides={setting}")


@pytest.mark.slow
def test_choices_that_saw_pictures_get_their_statistics_and_are_told_apart(in_this_process):
    compute_statistics(
        compose_config("compute_statistics", ComputeStatisticsConfig, [*SMALL_DATA, "device=cpu", "output=fitted"])
    )
    said = run_sweep(config("seeds=1", "noises=[0.1]", "auto=[auto,auto-unpaired]", "statistics=fitted"))
    assert "noise=auto (T0) chose" in said
    assert "noise=auto-unpaired (T1) chose" in said
    assert "| image | T1 | auto-unpaired: " in said


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["auto=[auto-paired]"], r"auto=auto-paired is chosen by compute_statistics\.py\. Run it, and give its folder"),
        (["statistics=somewhere"], r"statistics=somewhere only applies with auto=auto-unpaired and auto=auto-paired"),
    ],
)
def test_statistics_go_with_the_choices_that_need_them(overrides, message):
    with pytest.raises(UserError, match=message):
        config(*overrides)


@pytest.mark.slow
def test_processes_of_their_own_and_a_failure_in_its_own_words():
    said = run_sweep(config("seeds=1", "num_workers=2", "auto=[]"))
    assert said.count("| image |") == 2
    with pytest.raises(UserError, match=r"other.noise-.*data\.num_trian.*Did you mean data\.num_train"):
        run_sweep(config("output=other", "train_overrides=data.num_trian=3"))
