"""Fitting statistics on a world, and training and testing with what was fitted."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from close_transfer.cli import compose_config
from close_transfer.config.compute_statistics import ComputeStatisticsConfig
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.core.checksums import read_checked_json, write_checked_json
from close_transfer.core.errors import UserError
from close_transfer.data.example_kinds import CAPTIONS, QUESTIONS
from close_transfer.data.examples import group_by_scene
from close_transfer.data.picturebook import drawing
from close_transfer.data.sources import load_examples
from close_transfer.encoders.build import build_encoder
from close_transfer.modality_gap.adapter_fitting.for_training import TrainingNoise, _read_saved_choice
from close_transfer.modality_gap.noise_selection import NoiseChoice
from close_transfer.modality_gap.vectors import encode_groups
from close_transfer.models.adapters.statistics import Statistics
from close_transfer.models.network import TransferNetwork
from close_transfer.models.noise_scale import NoiseScale
from close_transfer.pipelines.compute_statistics import compute_statistics
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.train import train
from tests.conftest import SMALL_DATA, small_config

DIM = 128


def fit(*overrides):
    given = [*SMALL_DATA, "device=cpu", "output=fitted", *overrides]
    return compute_statistics(compose_config("compute_statistics", ComputeStatisticsConfig, given))[0]


def test_what_is_fitted_follows_from_what_may_be_seen(monkeypatch):
    texts = {"text_mean", "text_covariance"}
    unpaired = texts | {"image_mean", "image_covariance"}
    assert set(fit("pairs=true").arrays) > unpaired
    assert fit("pairs=true").data_regime == "T4"
    assert (set(fit().arrays), fit().data_regime) == (unpaired, "T1")

    def refuse(*args, **kwargs):
        raise AssertionError("an image was drawn")

    monkeypatch.setattr(drawing, "draw_scene", refuse)
    assert (set(fit("images=false", "seed=5").arrays), fit("images=false").data_regime) == (texts, "T0")


def test_unpaired_pictures_are_of_other_scenes_than_the_texts():
    facts = fit("data.num_val=11").facts
    assert (facts["num_scenes"], facts["num_images"], facts["paired"]) == (6, 5, False)
    assert facts["num_texts"] == 30  # five captions each, as training takes them


@pytest.mark.slow
def test_a_run_keeps_what_it_was_fitted_by_and_says_its_regime():
    statistics = fit()
    folder, _ = train(small_config("adapter=[remove_mean,gaussian]", "statistics=fitted", "output=run"), "text")
    model = TransferNetwork.from_pretrained(folder / "last").eval()
    vectors = torch.randn(3, DIM, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    for input_modality in ("text", "image"):
        mean = torch.from_numpy(statistics.arrays[f"{input_modality}_mean"]).float()
        expected = torch.nn.functional.normalize(unit - mean, dim=-1)
        torch.testing.assert_close(model.adapter(vectors, input_modality), expected)
    evaluate(compose_config("evaluate", EvaluateConfig, ["run=run", "num_bootstrap=20", "device=cpu"]))
    results = json.loads(Path("run/eval-test-image/results.json").read_text())
    assert results["data_regime"] == "T1"
    assert model.config.data_regime == "T1"


def test_text_statistics_come_from_training_itself():
    folder, _ = train(
        small_config("adapter=[truncate,gaussian]", "adapter.truncate.directions=9", "output=run"), "text"
    )
    model = TransferNetwork.from_pretrained(folder / "last")
    kept = model.adapter.eval()(torch.randn(50, DIM), "image").detach().numpy()
    assert np.linalg.matrix_rank(kept, tol=1e-3) <= 10
    assert model.config.data_regime == "T0"


@pytest.mark.parametrize(
    ("fitted_with", "overrides", "message"),
    [
        ([], ["adapter=gaussian"], r"statistics=fitted: adapter=gaussian does not read statistics\. Leave them out"),
        (
            [],
            ["adapter=[remove_mean,whiten]"],
            r"needs whiten/image_covariance, which these statistics lack\. Fit them .* adapter=\[\.\.\.,whiten,\.\.\.\]",
        ),
        (
            ["adapter=[remove_mean,whiten]"],
            ["adapter=[standardize,whiten]"],
            r"whiten was fitted after \[remove_mean,.*\], but follows \[standardize\(floor=0.01\)\]",
        ),
        (
            ["adapter=[truncate,remove_mean]", "adapter.truncate.directions=20"],
            ["adapter=[truncate,remove_mean]", "adapter.truncate.directions=30"],
            r"after \[truncate\(directions=20\),.*follows \[truncate\(directions=30\)\]",
        ),
    ],
)
def test_chains_that_would_not_mean_what_they_say_are_refused(fitted_with, overrides, message):
    fit(*fitted_with)
    with pytest.raises(UserError, match=message):
        train(small_config("statistics=fitted", *overrides), "text")


def test_adapters_are_fitted_on_what_those_before_them_give():
    """Whitening after the removal of the mean or after truncation whitens their output."""
    chain = ["adapter=[remove_mean,truncate,whiten,gaussian]", "adapter.truncate.directions=16"]
    fitted = fit(*chain, "adapter.whiten.shrinkage=0.001")
    folder, _ = train(small_config(*chain, "adapter.whiten.shrinkage=0.001", "statistics=fitted", "output=run"), "text")
    model = TransferNetwork.from_pretrained(folder / "last").eval()
    assert {"truncate/text_covariance", "whiten/image_covariance", "text_mean"} <= set(fitted.arrays)
    # What it was fitted on, once more through the whole chain but without the last return to unit length.
    given = [*SMALL_DATA, "device=cpu"]
    config = compose_config("compute_statistics", ComputeStatisticsConfig, given)
    encoder = build_encoder(config.clip, config.data, "cpu", texts_needed=True)
    examples = load_examples(config.data, CAPTIONS, "val").examples
    half = np.sort(np.array_split(np.random.default_rng(0).permutation(len(examples)), 2)[0])
    told = [examples[i] for i in half]
    texts = torch.from_numpy(encode_groups(encoder, told, config.embedding_cache, False).texts).float()
    steps = model.adapter.steps
    for name in ("remove_mean", "truncate"):
        texts = torch.nn.functional.normalize(steps[name](texts, "text", None), dim=-1)
    white = steps["whiten"](texts, "text", None).detach().double()
    covariance = torch.cov(white.T, correction=0)
    values = torch.linalg.eigvalsh(covariance).flip(0)
    assert values[:10].min() > 0.5 * values[0]
    assert white.mean(dim=0).norm() < 1e-3


def test_statistics_of_another_encoder_are_refused():
    fit()
    facts = read_checked_json(Path("fitted/statistics.json"))
    write_checked_json(Path("fitted/statistics.json"), facts | {"encoder_fingerprint": "other", "encoder": "ViT-B-32"})
    with pytest.raises(UserError, match=r"statistics=fitted were fitted on vectors of ViT-B-32 with other weights"):
        train(small_config("adapter=remove_mean", "statistics=fitted"), "text")


CHOICE = {
    "rule": "r",
    "data_regime": "T1",
    "std": 0.1,
    "evidence": {},
    "grouped": True,
    "interval": None,
    "sensitivity": [],
}


@pytest.mark.parametrize("change", [
    {"std": 0}, {"std": -1.0}, {"std": "much"}, {"std": float("nan")}, {"std": float("inf")}, {"evidence": [1]}, {"interval": [1]},
    {"sensitivity": [{"std": 1}]}, {"rule": None},
])  # fmt: skip
def test_a_damaged_choice_of_noise_is_a_sentence(change):
    statistics = Statistics({}, {"noise": {"unpaired": CHOICE | change}, "noise_behind": []})
    with pytest.raises(UserError, match=r"hold a damaged choice of noise \(.*\)\. Fit the statistics again"):
        _read_saved_choice("fitted", "auto-unpaired", statistics, [])
    good = Statistics({}, {"noise": {"unpaired": CHOICE | {"interval": [0.05, 0.2]}}, "noise_behind": []})
    choice = _read_saved_choice("fitted", "auto-unpaired", good, [])
    assert (choice.std, choice.interval, choice.sensitivity) == (0.1, (0.05, 0.2), ())


def test_noise_of_a_model_is_read_as_it_was_saved():
    # A rule chooses 0 if both texts of each scene have the same vector.
    for std, interval in ((0.1, (0.05, 0.2)), (0.0, None)):
        noise = TrainingNoise(NoiseScale(std, 8), NoiseChoice("cosine", "T0", std, {"pairs": 3.0}, True, interval))
        assert TrainingNoise.from_dict(json.loads(json.dumps(noise.as_dict())), 8) == noise


def test_changed_facts_of_statistics_are_refused():
    fit()
    path = Path("fitted/statistics.json")
    good = path.read_bytes()
    for place in range(0, len(good), 97):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(
            UserError, match=r"statistics=fitted: statistics\.json is damaged\. Fit the statistics again"
        ):
            Statistics.load(Path("fitted"), DIM)


def test_texts_of_another_domain_are_told_with_a_number(capsys):
    statistics = fit()
    moved = dict(statistics.arrays) | {"text_mean": -statistics.arrays["text_mean"]}
    Statistics(moved, statistics.facts).save(Path("fitted"))
    train(small_config("adapter=remove_mean", "statistics=fitted", "output=one"), "text")
    said = capsys.readouterr().err
    assert float(re.search(r"their mean is ([\d.]+) of the training texts' spread away", said)[1]) > 1
    fit()
    train(small_config("adapter=remove_mean", "statistics=fitted", "output=two"), "text")
    assert "elsewhere" not in capsys.readouterr().err


@pytest.mark.slow
def test_results_say_what_the_statistics_were_measured_on_and_warn_of_their_own_pictures(capsys):
    fit("split=test", "pairs=true")
    train(small_config("adapter=[linear,gaussian]", "statistics=fitted", "output=run"), "text")
    capsys.readouterr()
    for split, warned in (("test", True), ("val", False)):
        evaluate(
            compose_config("evaluate", EvaluateConfig, ["run=run", f"split={split}", "num_bootstrap=20", "device=cpu"])
        )
        assert ("statistics of 12 images of split=test" in capsys.readouterr().err) is warned
    told = json.loads(Path("run/eval-test-image/results.json").read_text())["statistics"]
    assert (told["split"], told["num_scenes"], told["num_images"], told["paired"]) == ("test", 12, 12, True)
    assert told["sha256"] == json.loads(Path("fitted/statistics.json").read_text())["sha256"]


def test_another_domain_is_told_where_only_the_noise_comes_from_statistics(capsys):
    statistics = fit()
    moved = dict(statistics.arrays) | {"text_mean": -statistics.arrays["text_mean"]}
    Statistics(moved, statistics.facts).save(Path("fitted"))
    train(small_config("noise=auto-unpaired", "statistics=fitted", "output=one"), "text")
    assert "are from another domain" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["adapter=[remove_mean,gaussian]"],
            r"remove_mean needs statistics of images. Run .*compute_statistics\.py output=",
        ),
        (
            ["adapter=[gaussian,uniform_ball]", "noise=0.1"],
            r"gaussian and uniform_ball both add noise\. Leave one of them out",
        ),
        (
            ["adapter=covariance_noise", "adapter.covariance_noise.shape=difference", "noise=auto"],
            r"noise=auto: .*shape=difference has its own scale\. Leave noise out",
        ),
    ],
)
def test_what_is_missing_or_twice_is_told(overrides, message):
    with pytest.raises(UserError, match=message):
        train(small_config(*overrides), "text")


def test_noise_of_differences_is_told_at_its_own_scale():
    statistics = fit("pairs=true")
    given = ["adapter=covariance_noise", "adapter.covariance_noise.shape=difference", "statistics=fitted"]
    train(small_config(*given, "output=run"), "text")
    told = TransferNetwork.from_pretrained("run/last").config.noise["std"]
    mean, covariance = (statistics.arrays[f"difference_{name}"] for name in ("mean", "covariance"))
    assert told == pytest.approx(np.sqrt((np.trace(covariance) + mean @ mean) / DIM))


def test_unpaired_pictures_are_no_scenes_of_the_texts_where_several_questions_share_one():
    """Every question of an image is on one side, and inputs are averages of captions as the task makes them."""
    statistics = fit("task=vqa", "data.num_val=30")
    assert statistics.facts["num_scenes"] + statistics.facts["num_images"] == len(
        group_by_scene(
            load_examples(
                compose_config("compute_statistics", ComputeStatisticsConfig, [*SMALL_DATA, "data.num_val=30"]).data,
                QUESTIONS,
                "val",
            ).examples
        )
    )


def test_pairs_without_pictures_are_refused():
    with pytest.raises(UserError, match=r"pairs=true reads the texts' images, but images=false reads none"):
        fit("pairs=true", "images=false")
