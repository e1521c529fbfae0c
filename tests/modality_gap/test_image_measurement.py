"""Images measured alone, for encoders without a text tower."""

import json
from pathlib import Path

import numpy as np
import pytest

from close_transfer.cli import compose_config
from close_transfer.config.measure_gap import MeasureGapConfig
from close_transfer.core.arrays import normalize_rows
from close_transfer.core.errors import UserError
from close_transfer.encoders.captioner_encoder import build_vision_transformer, save_encoder
from close_transfer.modality_gap.image_measurement import measure_images
from close_transfer.modality_gap.measurement import measure
from close_transfer.modality_gap.vectors import GroupedVectors
from close_transfer.pipelines.measure_gap import main, measure_gap
from close_transfer.reports.image_vectors_report import describe_images
from tests.conftest import SMALL_DATA

NAMES = {"unrelated_image_cosine", "image_mean_length", "image_std", "image_effective_dimension"}
SIZES = {"image_size": 16, "patch_size": 8, "width": 8, "depth": 1, "heads": 2}


def make_config(*overrides):
    save_encoder(Path("cap/encoder"), build_vision_transformer(SIZES), SIZES)
    settings = [*SMALL_DATA, "num_bootstrap=20", "output=gap", "device=cpu", "clip=captioner", "clip.model=cap"]
    return compose_config("measure_gap", MeasureGapConfig, [*settings, *overrides])


def test_numbers_are_those_of_a_measurement_with_texts():
    rng = np.random.default_rng(0)
    images, texts = (normalize_rows(rng.standard_normal((12, 5)) + shift) for shift in (1, -1))
    alone = measure_images(images, 30, 3, "any")
    both = measure(GroupedVectors(texts, np.arange(12), images), [], 30, 3)
    assert set(alone.metrics) == NAMES
    for name in NAMES:
        assert alone.metrics[name] == both.metrics[name]
        assert alone.intervals[name] == both.intervals[name]
    assert alone.spectrum == both.spectra["images"]
    # By hand.
    cosines = images @ images.T
    assert alone.metrics["unrelated_image_cosine"] == pytest.approx((cosines.sum() - 12) / (12 * 11))
    assert alone.metrics["image_mean_length"] == pytest.approx(np.linalg.norm(images.mean(axis=0)))
    assert alone.metrics["image_std"] == pytest.approx(images.var(axis=0).mean() ** 0.5)


def test_an_encoder_without_texts_gets_a_report_of_its_images(capsys):
    config = make_config()
    main(config)
    measured, written = measure_gap(config), json.loads(Path("gap/gap.json").read_text())
    assert written["metrics"].keys() == written["intervals"].keys() == NAMES
    assert (written["num_scenes"], written["num_texts"], written["dim"]) == (10, 0, 8)
    assert written["spectra"].keys() == {"images"} and len(written["spectra"]["images"]) == 8
    page, printed = Path("gap/gap.html").read_text(), capsys.readouterr().out
    (note,) = written["notes"]
    assert "captioner cap gives no vectors of texts. The gap between texts and images" in note
    assert note.endswith("train a text tower for it by train_text_tower.py image_tower=locked")
    assert note in page and note in printed and "gap.html" in printed
    for name, value in written["metrics"].items():
        assert f"{value:.3f}" in page and f"<code>{name}</code>" in page and f"{value:.3f}" in describe_images(measured)
    assert page.count("data:image/svg+xml;base64,") == 2 and "noise" not in page.replace(note, "")


def test_precomputed_vectors_of_images_need_none_of_texts():
    rng = np.random.default_rng(0)
    Path("lines.txt").write_text("".join(f"caption number {i}\n" for i in range(30)))
    images = rng.normal(size=(30, 16)).astype(np.float32)
    np.save("images.npy", images)
    settings = [
        "data=file",
        "data.path=lines.txt",
        "split=test",
        "clip=precomputed",
        "clip.image_embeddings=images.npy",
    ]
    measured = measure_gap(
        compose_config("measure_gap", MeasureGapConfig, [*settings, "num_bootstrap=20", "output=gap", "device=cpu"])
    )
    np.testing.assert_allclose(measured.images, normalize_rows(images), atol=1e-6)


def test_what_cannot_be_measured_without_texts_is_refused():
    for settings, problem in (
        (["images=false"], "images=false measures texts only, and clip=captioner gives no vectors of texts. Leave"),
        (["clip.features=grid"], r"4 vectors per image, but single vectors are measured\. Give clip\.features=pooled"),
        (["data.num_val=1"], "at least two are needed"),
    ):
        with pytest.raises(UserError, match=problem):
            measure_gap(make_config(*settings))
