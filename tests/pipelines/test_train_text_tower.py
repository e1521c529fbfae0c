"""Training of text towers, with an image tower or against a frozen encoder, and commands that use them."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.measure_gap import MeasureGapConfig
from close_transfer.config.train import TrainConfig
from close_transfer.config.train_captioner import TrainCaptionerConfig
from close_transfer.config.train_text_tower import TrainTextTowerConfig
from close_transfer.core.errors import UserError
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.drawing import draw_scene
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.encoders import load_encoder
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.measure_gap import measure_gap
from close_transfer.pipelines.train import train
from close_transfer.pipelines.train_captioner import train_captioner
from close_transfer.pipelines.train_text_tower import main, train_text_tower
from close_transfer.training.captioner_objective import CaptionerObjective
from close_transfer.training.contrastive_objective import ContrastiveObjective
from tests.conftest import SMALL, act_before_steps
from tests.pipelines.test_train_captioner import SMALL_CAPTIONER
from tests.settings import make_encoder

TRAINED = ["image_tower=trained", "output=clip_star"]
LOCKED = ["image_tower=locked", "clip=captioner", "clip.model=clip_star", "output=lit"]


def small(*overrides, config="train_text_tower", schema=TrainTextTowerConfig):
    return compose_config(config, schema, [*SMALL_CAPTIONER, *overrides])


def read_weights(folder):
    return Path(folder, "open_clip_model.safetensors").read_bytes()


def encode(folder, features="pooled", **changed):
    """Return image vectors of an open_clip folder, or of an encoder with other settings."""
    images = [draw_scene(scene, 100).resize((120, 80)) for scene in scenes("test", 3)]
    config = make_encoder(model=f"local-dir:{folder}", features=features)
    if changed:
        config = compose_config("train", TrainConfig, [f"{key}={value}" for key, value in changed.items()]).clip
    return load_encoder(config, "cpu").encode_images(images)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["image_tower="], "image_tower: missing"),
        (["output="], "output: missing"),
        (["image_tower=locked"], r"image_tower=locked: no encoder is given\. Give one"),
        (["clip=picturebook"], "clip=open_clip has no effect with image_tower=trained"),
        (["image_tower=locked", "clip=precomputed"], "clip=precomputed has no image tower"),
        (["image_tower=locked", "clip=timm"], r"clip\.features=grid: a text is compared with one vector"),
        (["train.gradient_accumulation=2"], r"train\.gradient_accumulation=2: .* another loss\. Give 1"),
        (["train.batch_size=1"], r"train\.batch_size=1: a text is compared with the others .* Give 2 or more"),
        (["train.label_smoothing=0.1"], r"train\.label_smoothing=0\.1 has no effect"),
        (["text_tower.heads=3"], r"text_tower\.heads=3 does not divide text_tower\.width=16"),
        (["task.prompt=A picture of"], "a text tower reads no prompt"),
    ],
)
@pytest.mark.slow
def test_mistakes_are_named(overrides, problem):
    with pytest.raises(UserError, match=problem):
        small(*TRAINED, *overrides)


def test_sizes_of_an_image_tower_are_refused_if_it_is_locked():
    with pytest.raises(UserError, match=r"captioner\.depth=3 has no effect with image_tower=locked"):
        main(small(*LOCKED), ["captioner.depth=3"])


@pytest.mark.slow
def test_batches_are_those_of_a_captioner(monkeypatch):
    drawn = {}
    for objective in (CaptionerObjective, ContrastiveObjective):
        make_parts, rows_of_steps = objective.make_parts, drawn.setdefault(objective, [])

        def remember(self, step, rows, *more, make_parts=make_parts, rows_of_steps=rows_of_steps):
            texts = [self.examples.texts[row].tolist() for row in rows]
            rows_of_steps.append((rows.tolist(), self.examples.image_rows[rows].tolist(), texts))
            return make_parts(self, step, rows, *more)

        monkeypatch.setattr(objective, "make_parts", remember)
    shared = ["seed=3", "train.max_steps=20", "output=out"]  # more than an epoch
    train_captioner(small(*shared, config="train_captioner", schema=TrainCaptionerConfig))
    train_text_tower(small(*TRAINED, *shared, "output=clip_star"))
    assert len(drawn[CaptionerObjective]) == 20
    assert drawn[CaptionerObjective] == drawn[ContrastiveObjective]


@pytest.mark.slow
def test_a_resumed_training_equals_one_that_never_stopped(monkeypatch):
    train_text_tower(small(*TRAINED, "output=whole"))

    def stop(step, model):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        act_before_steps(patched, stop)
        assert main(small(*TRAINED)) == 143
    assert not Path("clip_star/open_clip_config.json").exists()
    with pytest.raises(UserError, match="other settings or data"):
        train_text_tower(small(*TRAINED, "resume=true", "mask_duplicates=false"))
    train_text_tower(small(*TRAINED, "resume=true"))
    assert read_weights("clip_star") == read_weights("whole")
    assert Path("clip_star/training.jsonl").read_text() == Path("whole/training.jsonl").read_text()
    assert not Path("clip_star/checkpoints").exists() and not Path("clip_star/last").is_symlink()
    with pytest.raises(UserError, match=r"is finished\. Use it with clip=open_clip clip\.model=local-dir:clip_star"):
        train_text_tower(small(*TRAINED, "resume=true"))


@pytest.mark.slow
def test_both_towers_are_an_encoder_of_open_clip_and_the_image_tower_also_one_alone(capsys):
    assert main(small(*TRAINED)) == 0
    assert "train_text_only.py clip=open_clip clip.model=local-dir:clip_star" in capsys.readouterr().out
    summary = json.loads(Path("clip_star/text_tower.json").read_text())
    assert summary["trained"]["step"] == 6 and summary["counts"]["training_images"] == 40
    assert 0 < summary["counts"]["duplicates"]["texts_with_another_of_their_image"] < 1

    # open_clip's preprocessing gives the same tokens as the encoder's own; the vectors are their projected mean.
    alone = {"clip": "captioner", "clip.model": "clip_star"}
    np.testing.assert_allclose(encode("clip_star", "grid"), encode("", **alone, **{"clip.features": "grid"}), atol=1e-5)
    encoder = load_encoder(make_encoder(model="local-dir:clip_star"), "cpu")
    assert encoder.dim == 16 and encoder.encode_texts([captions(scenes("test", 1)[0])[0].text]).shape == (1, 16)
    projection = encoder._model.visual.head.proj.weight.detach().numpy()
    np.testing.assert_allclose(encode("clip_star"), encode("", **alone) @ projection.T, atol=1e-5)

    # A text tower that is trained against it leaves its vectors as they are.
    assert main(small(*LOCKED)) == 0
    np.testing.assert_allclose(encode("lit"), encode("", **alone), atol=1e-5)
    np.testing.assert_allclose(encode("lit", "grid"), encode("clip_star", "grid"), atol=1e-5)

    # CLOSE runs in that space: the gap is measured, the noise chosen, the text-only model tested on images.
    clip = ["clip=open_clip", "clip.model=local-dir:lit"]
    data = [setting for setting in SMALL if setting.startswith(("data.", "device="))]
    measure_gap(compose_config("measure_gap", MeasureGapConfig, [*data, *clip, "output=gap"]))
    assert Path("gap").is_dir()
    config = compose_config("train", TrainConfig, [*SMALL, *clip, "noise=auto", "output=close"])
    assert train(config, "text")[1].state.step == 6
    arguments = ["run=close", "num_beams=2", "device=cpu", "max_examples=5"]
    assert len(evaluate(compose_config("evaluate", EvaluateConfig, arguments)).predictions) == 5


@pytest.mark.slow
def test_encoders_of_open_clip_and_timm_can_be_locked(capsys):
    locked = ["image_tower=locked", "train.max_steps=2"]
    train_text_tower(small(*locked, "clip=picturebook", "output=one"))
    np.testing.assert_allclose(encode("one"), encode("", clip="picturebook"), atol=1e-5)

    for model, is_cropped in (("test_mambaout", False), ("test_vit", True)):
        timm = {"clip": "timm", "clip.model": model, "clip.pretrained": "random", "clip.features": "pooled"}
        given = [f"{key}={value}" for key, value in timm.items()]
        train_text_tower(small(*locked, *given, f"output={model}"))
        assert ("cuts out 160" in capsys.readouterr().out) == is_cropped
        if not is_cropped:
            np.testing.assert_allclose(encode(model), encode("", **timm), atol=1e-4)
    with pytest.raises(UserError, match="holds a model already"):
        train_text_tower(small(*locked, *given, f"output={model}"))
    with pytest.raises(UserError, match=r"open_clip cannot hold this image encoder .*\. Leave clip\.image_size out"):
        train_text_tower(small(*locked, *given, "clip.image_size=96", "output=other"))
