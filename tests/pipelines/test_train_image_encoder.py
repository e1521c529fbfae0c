"""Training of the encoders that captioners are compared with."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.config.train_image_encoder import TrainImageEncoderConfig
from close_transfer.core.errors import UserError
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.encoders import load_encoder
from close_transfer.pipelines.image_encoder_examples import load_image_examples
from close_transfer.pipelines.train import train
from close_transfer.pipelines.train_captioner import train_captioner
from close_transfer.pipelines.train_image_encoder import main, train_image_encoder
from close_transfer.training.step_runner import StepRunner
from close_transfer.training.trainer import read_learning_curves
from tests.conftest import SMALL_DATA, SMALL_LOOP, act_before_steps
from tests.pipelines.test_probe_encoder import make_photos
from tests.pipelines.test_train_captioner import SMALL_CAPTIONER
from tests.pipelines.test_train_captioner import small as small_captioner

SIZES = [setting for setting in SMALL_CAPTIONER if setting.startswith(("captioner.", "device=", "train.tensorboard"))]


def shrink(overrides):
    """Return settings that make a training small, for those that it has."""
    settings = [*SIZES, *SMALL_LOOP]
    if not any(override.startswith("data=") for override in overrides):
        settings += SMALL_DATA
    is_trained = "objective=none" not in overrides
    return [setting for setting in settings if is_trained or not setting.startswith("train.")]


def small(*overrides):
    return compose_config(
        "train_image_encoder", TrainImageEncoderConfig, ["output=encoder", *shrink(overrides), *overrides]
    )


def read_weights(folder="encoder"):
    return Path(folder, "encoder", "model.safetensors").read_bytes()


def read_summary(folder="encoder"):
    return json.loads(Path(folder, "image_encoder.json").read_text())


def write_table(classes=("red", "green", "blue"), **photos):
    """Write a table of photos whose text is their class."""
    root = make_photos("photos", **photos)
    rows = [
        {"image": f"{root}/{name}/{path.name}", "text": name}
        for name in classes
        for path in sorted(Path(root, name).iterdir())
    ]
    Path("photos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["data=file", "data.path=photos.jsonl", "data.image_column=image"]


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["output="], "output: missing. Give output=VALUE, such as output=runs/cappa"),
        (["masked_share=0.5"], "masked_share=0.5 only applies with objective=masked_patches"),
        (["decoder_depth=1"], "decoder_depth=1 only applies with objective=masked_patches"),
        (["objective=masked_patches", "masked_share=1"], "masked_share"),
        (["objective=masked_patches", "captioner.patch_size=64"], "an image has one patch, so none can be hidden"),
        (["val_images=x"], "val_images=x only applies with images="),
        (["val_share=0.2"], "val_share=0.2 only applies with images="),
        (["images=x", "val_images=y", "val_share=0.2"], "only applies without val_images"),
        (["images=x", "exclude_overlap_with=val"], "exclude_overlap_with only applies with data="),
        (["train.label_smoothing=0.1"], "label_smoothing=0.1 only applies with objective=classes and one class"),
        (["objective=masked_patches", "images=x", "train.label_smoothing=0.1"], "train.label_smoothing=0.1 only applies"),
        (["objective=none", "images=x"], "images=x: objective=none trains nothing"),
        (["objective=none", "resume=true"], "resume=True: objective=none trains nothing"),
        (["objective=none", "exclude_overlap_with=val"], "objective=none trains nothing"),
        (["task.prompt=A picture of"], "reads no prompt"),
        (["train.gradient_accumulation=3"], "equal parts"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_mistakes_are_named(overrides, problem):
    with pytest.raises(UserError, match=problem):
        small(*overrides)


@pytest.mark.slow
def test_captions_are_not_classes():
    with pytest.raises(UserError, match="data=coco has captions and no classes"):
        train_image_encoder(small("data=coco"))


def test_an_untrained_encoder_has_no_settings_of_training():
    with pytest.raises(UserError, match=r"train\.weight_decay=0\.5: objective=none trains nothing"):
        main(small("objective=none"), ["objective=none", "train.tensorboard=false", "train.weight_decay=0.5"])


def record_pixels(monkeypatch, train_encoder):
    """Return the images of each step of a training, whose steps are not done."""
    seen = []

    def record(self, step, rows, learning_rate):
        seen.append((self._objective.make_parts(step, rows, 1, 1)[0].pixels, learning_rate))

    with monkeypatch.context() as patched:
        patched.setattr(StepRunner, "run", record)
        train_encoder()
    return seen


@pytest.mark.slow
def test_each_step_has_the_images_and_the_rate_of_a_captioners(monkeypatch):
    # Over three epochs, with a rest in each.
    more = ["train.max_steps=40", "train.batch_size=15", "seed=5"]
    captioner = record_pixels(monkeypatch, lambda: train_captioner(small_captioner(*more)))
    assert len(captioner) == 40
    for objective in ("classes", "masked_patches"):
        settings = small(f"objective={objective}", f"output={objective}", *more)
        steps = record_pixels(monkeypatch, lambda settings=settings: train_image_encoder(settings))
        for (pixels, rate), (expected, expected_rate) in zip(steps, captioner, strict=True):
            assert torch.equal(pixels, expected) and rate == expected_rate


@pytest.mark.slow
def test_random_weights_are_those_that_a_captioner_starts_from(capsys):
    train_captioner(small_captioner("objective=blind", "seed=4"))
    assert main(small("objective=none", "seed=4")) == 0
    assert "random weights, drawn by seed=4" in capsys.readouterr().out
    assert read_weights() == read_weights("cap")
    assert read_summary()["counts"].keys() == {"encoder_parameters"} and read_summary()["trained"]["step"] == 0
    train_image_encoder(small("objective=none", "output=other"))
    assert read_weights("other") != read_weights()


@pytest.mark.slow
@pytest.mark.parametrize("given", [["objective=masked_patches"], ["images=photos"]], ids=["masked", "folder"])
def test_a_resumed_training_equals_one_that_never_stopped(monkeypatch, given):
    make_photos("photos")
    train_image_encoder(small(*given, "output=whole"))

    def stop(step, model):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        act_before_steps(patched, stop)
        assert main(small(*given)) == 143
    assert read_summary()["stopped_early"] and not Path("encoder/encoder").exists()
    with pytest.raises(UserError, match="other settings or data"):
        train_image_encoder(small(*given, "resume=true", "seed=1"))
    with pytest.raises(UserError, match="holds a model already"):
        train_image_encoder(small(*given))
    train_image_encoder(small(*given, "resume=true"))
    assert read_weights() == read_weights("whole")
    assert Path("encoder/training.jsonl").read_text() == Path("whole/training.jsonl").read_text()
    assert not Path("encoder/checkpoints").exists()
    with pytest.raises(UserError, match=r"is finished\. Use it with clip=captioner clip\.model=encoder"):
        train_image_encoder(small(*given, "resume=true"))


@pytest.mark.slow
def test_parts_of_a_batch_give_the_same_training():
    for objective in ("classes", "masked_patches"):
        for number in (1, 4):
            accumulation = f"train.gradient_accumulation={number}"
            train_image_encoder(small(f"objective={objective}", accumulation, f"output={objective}-{number}"))
        whole, parts = (
            [loss for _, loss in read_learning_curves(Path(f"{objective}-{number}"))["training"]] for number in (1, 4)
        )
        assert len(whole) == 6 and whole == pytest.approx(parts, rel=1e-4)


@pytest.mark.slow
def test_the_encoder_serves_other_commands_and_is_not_overwritten(capsys):
    assert main(small("objective=masked_patches", "masked_share=0.5", "decoder_depth=1")) == 0
    assert "the encoder sees 8 of an image's patches" in capsys.readouterr().out
    for other in (lambda: train_captioner(small_captioner("output=encoder")), lambda: train_image_encoder(small())):
        with pytest.raises(UserError, match="holds a model already"):
            other()
    given = [*SMALL_DATA, *SMALL_LOOP, "device=cpu", "clip=captioner", "clip.model=encoder", "mapper.num_tokens=1"]
    for features, dim in (("pooled", (16,)), ("grid", (16, 16))):
        more = [f"clip.features={features}", "lm.config.d_model=32", f"output={features}"]
        config = compose_config("train", TrainConfig, [*given, *more])
        image = Image.new("RGB", (80, 60), "red")
        assert load_encoder(config.clip, "cpu").encode_images([image])[0].shape == dim
        assert train(config, "image")[1].state.step == 6


def test_kinds_are_those_of_the_scene():
    examples = load_image_examples(small("data.num_train=8"))
    labels, training = examples.labels, examples.data.training.examples
    assert labels.training.shape == (sum(len(e.targets) for e in training), len(labels.classes))
    for number, scene in enumerate(scenes("train", 8)):
        rows = [row for row, e in enumerate(training) if e.id.startswith(f"train-{number:05d}#")]
        present = {kind for kind, _ in scene.pairs}
        assert all({labels.classes[column] for column in labels.training[row].nonzero()[0]} == present for row in rows)
        assert rows


@pytest.mark.slow
def test_classes_of_a_folder_and_of_a_table_are_learned():
    table = [*write_table(num_images=12), "data.val_share=0.3"]
    longer = ["train.max_steps=40", "train.learning_rate=0.01", "train.warmup_steps=1", "train.label_smoothing=0.01"]
    for name, given in (("folder", ["images=photos", "val_share=0.3"]), ("table", table)):
        train_image_encoder(small(*given, *longer, f"output={name}"))
        summary = read_summary(name)
        assert summary["counts"]["classes"] == 3
        assert summary["trained"]["losses"][-1]["validation_loss"] < 0.3 < np.log(3)
    counts = read_summary("folder")["counts"]
    assert (counts["training_images"], counts["validation_images"]) == (24, 12)


@pytest.mark.slow
def test_images_of_a_table_are_not_ordered_by_the_names_of_classes():
    table = write_table()
    assert not load_image_examples(small(*table)).is_ordered_by_texts
    assert load_image_examples(small(*table, "objective=masked_patches")).is_ordered_by_texts


@pytest.mark.slow
def test_masked_patches_need_no_classes():
    Path("flat").mkdir()
    for number in range(20):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(f"flat/{number}.png")
    train_image_encoder(small("images=flat", "objective=masked_patches"))
    counts = read_summary()["counts"]
    assert (counts["training_images"], counts["validation_images"]) == (18, 2) and "classes" not in counts
    with pytest.raises(UserError, match="is not in a subfolder, so its class is not known"):
        train_image_encoder(small("images=flat", "output=other"))
    with pytest.raises(UserError, match=r"val_images=flat: 20 validation images are training images too"):
        train_image_encoder(small("images=flat", "val_images=flat", "output=other", "objective=masked_patches"))
    with pytest.raises(UserError, match="no image is left for validation"):
        train_image_encoder(small("images=flat/0.png", "output=other", "objective=masked_patches"))


@pytest.mark.slow
def test_classes_of_validation_must_be_known():
    make_photos("photos")
    Path("more/pink").mkdir(parents=True)
    Image.new("RGB", (16, 16), "pink").save("more/pink/0.png")
    with pytest.raises(
        UserError, match=r"1 classes of the validation images have no training image; the first is pink"
    ):
        train_image_encoder(small("images=photos", "val_images=more"))
    with pytest.raises(
        UserError, match=r"18 validation images are training images too.*Give other images for validation"
    ):
        train_image_encoder(small("images=photos", "val_images=photos"))
