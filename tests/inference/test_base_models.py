"""Models whose base language model is a local folder: found from any folder, and given again after a move."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from close_transfer import TransferModel
from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.predict import PredictConfig
from close_transfer.core.atomic_files import read_json
from close_transfer.core.errors import UserError
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.predict import predict_files
from close_transfer.pipelines.train import train
from tests.conftest import SMALL_DATA, SMALL_LOOP
from tests.families import tiny_family

TEXTS = ["a red dog sleeps in the snow", "two cats on the grass"]


@pytest.fixture
def lora_run():
    """A LoRA run whose base was given as a relative path."""
    tiny_family("gpt2", Path("my_lm"), TEXTS)
    settings = [
        "lm=pretrained",
        "lm.name=my_lm",
        "lm.tuning=lora",
        *SMALL_DATA,
        *SMALL_LOOP,
        "device=cpu",
        "output=run",
    ]
    from close_transfer.config.train import TrainConfig

    train(compose_config("train", TrainConfig, settings), "text")
    Image.new("RGB", (64, 64), "red").save("photo.png")
    return Path("run").absolute()


def predicted(run, *settings):
    given = [f"run={run}", f"images={run.parent}/photo.png", "device=cpu", *settings]
    return predict_files(compose_config("predict", PredictConfig, given)).first_lines


def test_base_model_is_found_from_another_folder(lora_run, tmp_path, monkeypatch):
    told = TransferModel.from_pretrained(lora_run, device="cpu").caption(lora_run.parent / "photo.png")
    monkeypatch.chdir(tmp_path)
    model = TransferModel.from_pretrained(lora_run, device="cpu")
    assert model.network.config.base_model["folder"] == str(lora_run.parent / "my_lm")
    assert model.caption(lora_run.parent / "photo.png") == told
    model.save_pretrained("saved")
    assert TransferModel.from_pretrained("saved", device="cpu").caption(lora_run.parent / "photo.png") == told


def test_moved_base_model_is_given_by_its_new_folder(lora_run, tmp_path):
    before = predicted(lora_run)
    moved = tmp_path / "moved"
    shutil.move(lora_run.parent / "my_lm", moved)
    for use in (
        lambda: predicted(lora_run),
        lambda: evaluate(compose_config("evaluate", EvaluateConfig, [f"run={lora_run}", "device=cpu"])),
        lambda: TransferModel.from_pretrained(lora_run, device="cpu"),
    ):
        with pytest.raises(
            UserError, match=r"my_lm: there is no such folder.*give the folder that holds it as base_model=FOLDER"
        ):
            use()
    assert predicted(lora_run, f"base_model={moved}") == before
    settings = [f"run={lora_run}", f"base_model={moved}", "device=cpu", "num_bootstrap=5", "max_examples=2"]
    assert evaluate(compose_config("evaluate", EvaluateConfig, settings)).predictions
    model = TransferModel.from_pretrained(lora_run, device="cpu", base_model=moved)
    model.save_pretrained(tmp_path / "saved")
    TransferModel.from_pretrained(tmp_path / "saved", device="cpu")  # says where the base model is now


def test_base_model_with_other_weights_or_without_files_is_refused(lora_run, tmp_path):
    other = tiny_family("opt", tmp_path / "other", TEXTS)
    with pytest.raises(
        UserError, match=r"other has other weights than the language model in training .*base_model=FOLDER"
    ):
        TransferModel.from_pretrained(lora_run, device="cpu", base_model=other)
    with pytest.raises(UserError, match=r"nowhere, the base language model of this checkpoint: cannot be loaded"):
        TransferModel.from_pretrained(lora_run, device="cpu", base_model=tmp_path / "nowhere")


def test_base_model_is_refused_for_a_complete_checkpoint(finished_runs):
    with pytest.raises(
        UserError, match=r"base_model=my_lm: the checkpoint holds its whole language model\. Leave base_model out"
    ):
        TransferModel.from_pretrained(finished_runs / "captioning/latest", device="cpu", base_model="my_lm")


def test_card_asks_for_the_base_model_without_its_path(lora_run, tmp_path):
    model = TransferModel.from_pretrained(lora_run, device="cpu")
    model.save_pretrained(tmp_path / "saved")
    card = ModelCard.load(tmp_path / "saved/README.md")
    assert card.data.base_model is None
    assert "`my_lm`. It is a local folder of this model's author" in card.text
    assert 'base_model="my_lm")' in card.text
    written = (tmp_path / "saved/README.md").read_text() + (tmp_path / "saved/about.json").read_text()
    assert str(lora_run.parent) not in written
    assert read_json(tmp_path / "saved/config.json")["base_model"]["folder"] == str(lora_run.parent / "my_lm")
    model.network.config.base_model = {**model.network.config.base_model, "name": "gpt2", "folder": None}
    model.save_pretrained(tmp_path / "of_hub")
    card = ModelCard.load(tmp_path / "of_hub/README.md")
    assert card.data.base_model == "gpt2"
    assert "`gpt2`. It is loaded from the hub" in card.text
