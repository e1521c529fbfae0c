"""The sweep over noise: what it says are the results of its runs, and nothing is done twice."""

import json
from pathlib import Path

import numpy as np
import pytest

from close_transfer.assembly import train
from close_transfer.cli import compose_config
from close_transfer.config import EvalConfig, SweepConfig, TrainConfig
from close_transfer.errors import UserError
from close_transfer.evaluation import evaluate
from close_transfer.studies import noise_sweep
from close_transfer.studies.noise_sweep import sweep
from tests.conftest import SMALL


def config(*overrides):
    settings = f"settings={' '.join(SMALL)}"
    given = [settings, "eval_settings=num_bootstrap=20 device=cpu", "num_bootstrap=50", "seeds=2", "noises=[0,0.1]"]
    return compose_config("sweep_noise", SweepConfig, [*given, "output=sweep", "jobs=1", *overrides])


@pytest.fixture
def in_this_process(monkeypatch):
    """The scripts' work without processes of their own; gives the calls."""
    calls = []

    def stand_in(script, arguments):
        calls.append((script, *arguments))
        if script == "train_text_only.py":
            train(compose_config("train", TrainConfig, arguments), "text")
        else:
            evaluate(compose_config("eval", EvalConfig, arguments))

    monkeypatch.setattr(noise_sweep, "_call", stand_in)
    return calls


@pytest.mark.parametrize("task", ["captioning", "vqa"])
def test_points_are_the_means_of_the_results(in_this_process, task):
    said = sweep(config(f"task={task}"))
    written = json.loads(Path("sweep/sweep.json").read_text())
    assert len(written["points"]) == 4
    for point in written["points"]:
        told = []
        for seed in (0, 1):
            folder = Path(f"sweep/noise-{point['noise']:g}-seed-{seed}/test-{point['scene']}")
            results = json.loads((folder / "results.json").read_text())
            assert (results["scene"], results["seed"]) == (point["scene"], seed)
            assert results["noise"]["std"] == point["noise"]
            told.append(results["metrics"][written["metric"]])
        assert point["score"] == pytest.approx(np.mean(told))
        assert point["by_seed"] == pytest.approx(told)
        assert point["low"] <= point["score"] <= point["high"]
        assert f"| {point['scene']} | {point['noise']:g} | {point['score']:.1f} " in said
    for scene in ("image", "text"):
        mine = [point for point in written["points"] if point["scene"] == scene]
        best = max(mine, key=lambda point: point["score"])
        assert best["below_best"] == [0, 0, 0]
        for point in mine:
            assert point["below_best"][0] == pytest.approx(best["score"] - point["score"])
    page = Path("sweep/sweep.html").read_text()
    assert "data:image/svg+xml;base64," in page
    assert "built-in world" in page


def test_what_is_finished_is_not_done_again(in_this_process):
    sweep(config("seeds=1"))
    before = len(in_this_process)
    first = Path("sweep/sweep.md").read_text()
    sweep(config("seeds=1"))
    assert len(in_this_process) == before
    assert Path("sweep/sweep.md").read_text() == first
    sweep(config("seeds=1", "noises=[0,0.1,0.2]"))
    assert [call[0] for call in in_this_process[before:]] == ["train_text_only.py", "eval_image.py", "eval_image.py"]


@pytest.mark.parametrize("setting", ["noise=0.3", "seed=4", "output=x"])
def test_what_the_sweep_sets_cannot_be_given(setting):
    with pytest.raises(UserError, match=rf"settings={setting}: the sweep sets noise, .* itself"):
        config(f"settings={setting}")


@pytest.mark.slow
def test_processes_of_their_own_and_a_failure_in_its_own_words():
    said = sweep(config("seeds=1", "jobs=2"))
    assert said.count("| image |") == 2
    with pytest.raises(UserError, match=r"train_text_only\.py .*data\.num_trian.*did you mean data\.num_train"):
        sweep(config("output=other", "settings=data.num_trian=3"))
