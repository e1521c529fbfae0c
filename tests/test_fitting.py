"""Fitting statistics on a world, and training and testing with what was fitted."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from close_transfer.adapters.statistics import Statistics
from close_transfer.assembly import train
from close_transfer.cli import compose_config
from close_transfer.config import EvalConfig, FitConfig
from close_transfer.errors import UserError
from close_transfer.evaluation import evaluate
from close_transfer.fitting import fit_adapter
from close_transfer.model import TransferModel
from close_transfer.picturebook import drawing
from tests.conftest import SMALL_DATA, small_config

DIM = 128


def fit(*overrides):
    return fit_adapter(
        compose_config("fit_adapter", FitConfig, [*SMALL_DATA, "device=cpu", "output=fitted", *overrides])
    )


def test_what_is_fitted_follows_from_what_may_be_seen(monkeypatch):
    texts = {"text_mean", "text_covariance"}
    unpaired = texts | {"image_mean", "image_covariance"}
    assert set(fit("pairs=true").arrays) > unpaired
    assert fit("pairs=true").regime == "T4"
    assert (set(fit().arrays), fit().regime) == (unpaired, "T1")

    def refuse(*args, **kwargs):
        raise AssertionError("a picture was drawn")

    monkeypatch.setattr(drawing, "draw_scene", refuse)
    assert (set(fit("images=false", "seed=5").arrays), fit("images=false").regime) == (texts, "T0")


def test_unpaired_pictures_are_of_other_scenes_than_the_texts():
    facts = fit("data.num_val=11").facts
    assert (facts["num_texts"], facts["num_images"], facts["paired"]) == (6, 5, False)


def test_a_run_keeps_what_it_was_fitted_by_and_says_its_regime():
    statistics = fit()
    folder, _ = train(small_config("adapter=[remove_mean,gaussian]", "statistics=fitted", "output=run"), "text")
    model = TransferModel.from_pretrained(folder / "last").eval()
    vectors = torch.randn(3, DIM, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    for modality in ("text", "image"):
        mean = torch.from_numpy(statistics.arrays[f"{modality}_mean"]).float()
        expected = torch.nn.functional.normalize(unit - mean, dim=-1)
        torch.testing.assert_close(model.adapter(vectors, modality), expected)
    evaluate(compose_config("eval", EvalConfig, ["run=run", "num_bootstrap=20", "device=cpu"]))
    results = json.loads(Path("run/eval-test-image/results.json").read_text())
    assert results["regime"] == "T1"
    assert model.config.regime == "T1"


def test_text_statistics_come_from_training_itself():
    folder, _ = train(
        small_config("adapter=[truncate,gaussian]", "adapter.truncate.directions=9", "output=run"), "text"
    )
    model = TransferModel.from_pretrained(folder / "last")
    kept = model.adapter.eval()(torch.randn(50, DIM), "image").detach().numpy()
    assert np.linalg.matrix_rank(kept, tol=1e-3) <= 10
    assert model.config.regime == "T0"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["adapter=[remove_mean,truncate]"],
            r"remove_mean and truncate would be fitted .* use one fitted adapter, and put it first",
        ),
        (["adapter=[random_shift,remove_mean]"], r"remove_mean would be fitted .* put it first"),
        (["adapter=gaussian"], r"statistics=fitted: adapter=gaussian reads none; leave it out"),
    ],
)
def test_chains_that_would_not_mean_what_they_say_are_refused(overrides, message):
    fit()
    with pytest.raises(UserError, match=message):
        train(small_config("statistics=fitted", *overrides), "text")


def test_statistics_of_another_encoder_are_refused():
    fit()
    facts = json.loads(Path("fitted/statistics.json").read_text())
    Path("fitted/statistics.json").write_text(
        json.dumps(facts | {"encoder_fingerprint": "other", "encoder": "ViT-B-32"})
    )
    with pytest.raises(UserError, match=r"statistics=fitted were fitted on vectors of ViT-B-32 with other weights"):
        train(small_config("adapter=remove_mean", "statistics=fitted"), "text")


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
