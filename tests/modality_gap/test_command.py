"""measure_gap.py as a user calls it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from close_transfer.cli import compose_config
from close_transfer.config.measure_gap import MeasureGapConfig
from close_transfer.core.errors import UserError
from close_transfer.data.picturebook import drawing
from close_transfer.pipelines.measure_gap import measure_gap
from close_transfer.reports.gap_report import describe, write_page
from tests.conftest import SMALL_DATA


def run(*overrides):
    world = [] if "data=file" in overrides else SMALL_DATA
    settings = [*world, "num_bootstrap=20", "noises=[0.05,0.1]", "output=gap", "device=cpu", *overrides]
    config = compose_config("measure_gap", MeasureGapConfig, settings)
    gap = measure_gap(config)
    return gap, json.loads(Path("gap/gap.json").read_text()), write_page(gap, config).read_text()


def test_numbers_page_and_terminal_agree():
    gap, written, page = run()
    assert {"paired_cosine", "unrelated_text_cosine", "unrelated_image_cosine", "mean_distance"} <= set(
        written["metrics"]
    )
    assert {"recall@1", "recall@5", "recall@10"} <= set(written["metrics"])
    assert written["metrics"].keys() == written["intervals"].keys()
    assert written["metrics"]["paired_cosine"] < written["metrics"]["unrelated_text_cosine"]
    assert (written["num_scenes"], written["dim"], written["split"]) == (10, 128, "val")
    for name in ("paired_cosine", "mean_distance"):
        assert f"{written['metrics'][name]:.3f}" in describe(gap)
        assert f"{written['metrics'][name]:.3f}" in page
    assert page.count("data:image/svg+xml;base64,") == 4
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "built-in world" in page


def test_texts_alone_open_no_picture(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("an image was drawn")

    monkeypatch.setattr(drawing, "draw_scene", refuse)
    _, written, page = run("images=false")
    assert "paired_cosine" not in written["metrics"]
    assert written["metrics"]["caption_spread"] > 0
    assert "image and its own" not in page


def test_precomputed_vectors_of_any_text_file():
    rng = np.random.default_rng(0)
    Path("lines.txt").write_text("".join(f"caption number {i}\n" for i in range(30)))
    np.save("texts.npy", rng.normal(size=(30, 16)).astype(np.float32) + 2)
    np.save("images.npy", rng.normal(size=(30, 16)).astype(np.float32) - 2)
    files = ["clip.text_embeddings=texts.npy", "clip.image_embeddings=images.npy"]
    _, written, _ = run("data=file", "data.path=lines.txt", "clip=precomputed", *files, "split=test")
    assert written["metrics"]["mean_distance"] > 1
    assert "same_scene_text_cosine" not in written["metrics"]


def test_too_little_is_told():
    with pytest.raises(UserError, match="1 scenes with text are too few, at least two are needed"):
        run("data.num_val=1")
    Path("lines.txt").write_text("one\ntwo\nthree\n")
    with pytest.raises(UserError, match=r"names no image"):
        run("data=file", "data.path=lines.txt", "split=test")
