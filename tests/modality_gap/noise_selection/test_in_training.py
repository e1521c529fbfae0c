"""noise=auto from the command line to results.json."""

import json
from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.compute_statistics import ComputeStatisticsConfig
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.core.errors import UserError
from close_transfer.data.picturebook import drawing
from close_transfer.models.network import TransferNetwork
from close_transfer.pipelines.compute_statistics import compute_statistics
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.train import train
from tests.conftest import SMALL_DATA, small_config


def fit(*overrides):
    return compute_statistics(
        compose_config(
            "compute_statistics", ComputeStatisticsConfig, [*SMALL_DATA, "device=cpu", "output=fitted", *overrides]
        )
    )


def noise_of(folder):
    return TransferNetwork.from_pretrained(Path(folder) / "last").config.noise


def refuse(*args, **kwargs):
    raise AssertionError("an image was drawn")


@pytest.mark.parametrize("task", ["captioning", "snli-ve", "vqa"])
def test_auto_sees_texts_only_and_says_what_it_saw(task, monkeypatch, capsys):
    monkeypatch.setattr(drawing, "draw_scene", refuse)
    train(small_config(f"task={task}", "noise=auto", "output=run"), "text")
    noise = noise_of("run")
    said = capsys.readouterr().out
    assert noise["choice"]["rule"] == "largest_coordinate"
    averaged = {"vqa": 5}.get(task, 1)  # all captions of a scene
    assert noise["std"] == noise["choice"]["std"]
    assert noise["std"] == pytest.approx(noise["choice"]["evidence"]["largest_coordinate"] / averaged**0.5)
    assert f"noise:        {noise['std']:.4g} per coordinate (variance" in said
    assert "chosen by:    largest_coordinate (T0), 95% interval" in said
    assert "text only, no image is opened" in said
    assert len(noise["choice"]["sensitivity"]) == 3


def test_results_hold_the_choice_and_a_resumed_run_keeps_it():
    train(small_config("noise=auto", "output=run", "noise_rule=cosine"), "text")
    before = noise_of("run")
    train(small_config("noise=auto", "output=run", "noise_rule=cosine", "resume=auto"), "text")
    assert noise_of("run") == before
    evaluate(compose_config("evaluate", EvaluateConfig, ["run=run", "num_bootstrap=20", "device=cpu"]))
    results = json.loads(Path("run/eval-test-image/results.json").read_text())
    assert results["noise"] == before
    assert results["noise"]["choice"]["rule"] == "cosine"
    assert results["data_regime"] == "T0"


def test_every_seed_gets_the_same_noise():
    for seed in (0, 1):
        train(small_config("noise=auto", f"seed={seed}", f"output=run{seed}"), "text")
    assert noise_of("run0") == noise_of("run1")


@pytest.mark.parametrize(
    ("mode", "how", "data_regime", "rule"),
    [("auto-unpaired", [], "T1", "nearest_text"), ("auto-paired", ["pairs=true"], "T4", "paired_cosine")],
)
def test_choices_that_saw_pictures_come_from_statistics_with_their_regime(mode, how, data_regime, rule, monkeypatch):
    statistics, lines = fit(*how)
    chosen = statistics.facts["noise"][mode.removeprefix("auto-")]
    assert f"  noise={mode}:".ljust(23) + f" {chosen['std']:.4g}" in lines
    monkeypatch.setattr(drawing, "draw_scene", refuse)
    train(small_config(f"noise={mode}", "statistics=fitted", "output=run"), "text")
    noise = noise_of("run")
    assert (noise["std"], noise["choice"]["rule"]) == (chosen["std"], rule)
    assert TransferNetwork.from_pretrained("run/last").config.data_regime == data_regime


def test_noise_is_chosen_where_it_stands_in_the_chain():
    """Behind the removal of the mean, captions of one scene lie further apart."""
    fit()
    train(small_config("noise=auto", "output=plain"), "text")
    train(small_config("noise=auto", "adapter=[remove_mean,gaussian]", "statistics=fitted", "output=centred"), "text")
    assert noise_of("centred")["std"] > 1.2 * noise_of("plain")["std"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["noise=much"], r"noise=much: is not a number\. Give 0 or more, or one of auto, auto-unpaired, auto-paired"),
        (["noise=-1"], r"noise=-1: .*greater than or equal to 0\. Give 0 or more, or one of auto"),
        (["noise_rule=cosine"], r"noise_rule=cosine only applies with noise=auto\. Give noise=auto"),
        (["noise=0.1", "noise_rule=cosine"], r"noise_rule=cosine only applies with noise=auto"),
        (["noise=auto", "noise_rule=best"], r"noise_rule=best: should be 'largest_coordinate', 'cosine' or"),
        (["noise=auto", "noise_cosine=0.3"], r"noise=auto .* and noise_cosine=0.3 .* are given together"),
        (["noise=auto", "adapter=truncate"], r"noise=auto, but adapter=truncate adds no noise"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides, message):
    with pytest.raises(UserError, match=message):
        small_config(*overrides)


def test_modes_that_need_statistics_say_how_to_get_them():
    with pytest.raises(UserError, match=r"compute_statistics\.py images=true output=FOLDER .* statistics=FOLDER"):
        train(small_config("noise=auto-unpaired"), "text")
    with pytest.raises(UserError, match=r"compute_statistics\.py pairs=true max_scenes=100"):
        train(small_config("noise=auto-paired"), "text")
    fit()
    with pytest.raises(
        UserError, match=r"noise=auto-paired: statistics=fitted hold no choice of noise\. Fit them with pairs=true"
    ):
        train(small_config("noise=auto-paired", "statistics=fitted"), "text")
    with pytest.raises(UserError, match=r"noise follows \[remove_mean\]\. Fit with the run's adapter="):
        train(small_config("noise=auto-unpaired", "adapter=[remove_mean,gaussian]", "statistics=fitted"), "text")
    with pytest.raises(UserError, match=r"noise=auto chooses noise that lets texts stand in .* trained on images"):
        train(small_config("noise=auto"), "image")
