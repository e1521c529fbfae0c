"""Training of captioners, and commands that use them."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.measure_gap import MeasureGapConfig
from close_transfer.config.predict import PredictConfig
from close_transfer.config.probe_encoder import ProbeEncoderConfig
from close_transfer.config.train import TrainConfig
from close_transfer.config.train_captioner import TrainCaptionerConfig
from close_transfer.core.errors import UserError
from close_transfer.data.picturebook.drawing import draw_scene
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.inference.transfer_model import TransferModel
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.measure_gap import measure_gap
from close_transfer.pipelines.predict import predict_files
from close_transfer.pipelines.probe_encoder import probe_encoder
from close_transfer.pipelines.train import train
from close_transfer.pipelines.train_captioner import main, train_captioner
from tests.conftest import SMALL_DATA, SMALL_LOOP, act_before_steps

SMALL_CAPTIONER = [
    *SMALL_DATA, *SMALL_LOOP, "device=cpu", "output=cap", "captioner.width=16", "captioner.depth=1", "captioner.heads=2",
    "captioner.decoder_depth=1", "captioner.vocab_size=400", "train.tensorboard=false",
]  # fmt: skip


def small(*overrides):
    return compose_config("train_captioner", TrainCaptionerConfig, [*SMALL_CAPTIONER, *overrides])


def read_weights(folder="cap"):
    return [Path(folder, name, "model.safetensors").read_bytes() for name in ("model", "encoder")]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("output=", "output: missing"),
        ("captioner.patch_size=9", "does not divide"),
        ("captioner.heads=3", "does not divide"),
        ("task.prompt=A picture of", "reads no prompt"),
        ("task.max_target_tokens=41", "at most that"),
        ("train.gradient_accumulation=3", "equal parts"),
        ("masked_share=1.5", "masked_share"),
        (["objective=cap", "masked_share=0.5"], "only applies with objective=cappa"),
    ],
)
@pytest.mark.slow
def test_mistakes_are_named(override, problem):
    with pytest.raises(UserError, match=problem):
        small(*([override] if isinstance(override, str) else override))


def test_captioners_of_other_shares_are_other_systems_in_comparisons():
    config = small("masked_share=0.25")
    names = {
        config.model_copy(update={"masked_share": share}).build_run_settings(Path("cap")).lm.name
        for share in (0.25, 0.5, 0.75, None)
    }
    # 0.75 is the default.
    assert names == {
        f"small decoder, objective=cappa{share}" for share in ("", ", masked_share=0.25", ", masked_share=0.5")
    }


def test_a_task_with_prompts_is_refused():
    with pytest.raises(UserError, match="task=vqa: its examples have prompts, which a captioner does not read"):
        train_captioner(small("task=vqa"))


@pytest.mark.slow
def test_share_0_equals_cap_bit_for_bit():
    train_captioner(small("objective=cap", "output=cap"))
    train_captioner(small("objective=cappa", "masked_share=0", "output=share0"))
    train_captioner(small("objective=cappa", "output=cappa"))
    assert read_weights("cap") == read_weights("share0")
    assert read_weights("cap") != read_weights("cappa")


@pytest.mark.slow
def test_share_1_equals_parallel_and_blind_trains_no_encoder():
    train_captioner(small("objective=parallel", "output=parallel"))
    train_captioner(small("masked_share=1", "output=share1"))
    assert read_weights("parallel") == read_weights("share1")
    train_captioner(small("objective=blind", "output=blind"))
    train_captioner(small("objective=blind", "output=blind1", "train.max_steps=1"))
    (first, encoder), (second, same_encoder) = read_weights("blind"), read_weights("blind1")
    assert first != second and encoder == same_encoder


@pytest.mark.slow
def test_a_resumed_training_equals_one_that_never_stopped(monkeypatch):
    train_captioner(small("output=whole"))

    def stop(step, model):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        act_before_steps(patched, stop)
        assert main(small()) == 143
    assert not Path("cap/config.yaml").exists()
    with pytest.raises(UserError, match="other settings or data"):
        train_captioner(small("resume=true", "seed=1"))
    with pytest.raises(UserError, match="holds a model already"):
        train_captioner(small())
    train_captioner(small("resume=true"))
    assert read_weights("cap") == read_weights("whole")
    assert Path("cap/training.jsonl").read_text() == Path("whole/training.jsonl").read_text()
    assert not Path("cap/checkpoints").exists()
    with pytest.raises(UserError, match=r"is finished\. Use it with run=cap"):
        train_captioner(small("resume=true"))


@pytest.mark.slow
def test_a_captioner_is_a_run_and_an_encoder(capsys):
    assert main(small()) == 0
    assert "eval_image.py task=captioning run=cap" in capsys.readouterr().out
    summary = json.loads(Path("cap/captioner.json").read_text())
    assert summary["counts"]["training_images"] == 40 and summary["trained"]["step"] == 6

    # It captions as any run does, and the same way from Python.
    arguments = ["run=cap", "num_beams=2", "device=cpu", "max_examples=5"]
    evaluation = evaluate(compose_config("evaluate", EvaluateConfig, arguments))
    assert len(evaluation.predictions) == 5 and "CIDEr" in evaluation.scores.metrics
    image = draw_scene(scenes("test", 1)[0])
    image.save("photo.png")
    predict_files(
        compose_config(
            "predict", PredictConfig, ["run=cap", "images=photo.png", "output=out.jsonl", "num_beams=2", "device=cpu"]
        )
    )
    written = json.loads(Path("out.jsonl").read_text())["prediction"]
    assert TransferModel.from_pretrained("cap", device="cpu").caption(np.asarray(image), num_beams=2) == written

    # It classifies, and its images are measured.
    arguments_of_probe = ["run=cap", "targets=[places]", "probes=[few_shot,zero_shot]", *SMALL_DATA, "device=cpu"]
    probes = probe_encoder(compose_config("probe_encoder", ProbeEncoderConfig, arguments_of_probe))
    assert {"places/few_shot_1", "places/zero_shot_likelihood"} <= probes.metrics.keys()
    assert "places/zero_shot" not in probes.metrics and probes.encoder == "captioner cap"
    measured = compose_config(
        "measure_gap", MeasureGapConfig, ["clip=captioner", "clip.model=cap", *SMALL_DATA, "device=cpu"]
    )
    assert measure_gap(measured).as_dict()["dim"] == 16

    # Moved, and exported, it needs nothing of its first folder.
    Path("cap").rename("moved")
    TransferModel.from_pretrained("moved", device="cpu").save_pretrained("exported")
    assert (
        evaluate(compose_config("evaluate", EvaluateConfig, ["run=moved", *arguments[1:]])).scores == evaluation.scores
    )
    Path("moved").rename("cap")
    Path("cap", "encoder").rename("encoder")
    exported = TransferModel.from_pretrained("exported", device="cpu")
    assert exported.caption(np.asarray(image), num_beams=2) == written
    with Path("exported", "encoder", "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="damaged"):
        TransferModel.from_pretrained("exported", device="cpu").caption(np.asarray(image))
    Path("encoder").rename("cap/encoder")

    # Its encoder serves training on images, pooled and as a grid.
    for features in ("pooled", "grid"):
        given = [
            *SMALL_DATA,
            *SMALL_LOOP,
            "device=cpu",
            "clip=captioner",
            "clip.model=cap",
            f"clip.features={features}",
        ]
        more = ["mapper.num_tokens=1", "lm.config.d_model=32", f"output={features}"]
        config = compose_config("train", TrainConfig, [*given, *more])
        assert train(config, "image")[1].state.step == 6
