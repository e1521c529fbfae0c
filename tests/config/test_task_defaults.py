"""Epochs and learning rates, which depend on task, data and language model."""

import pytest
from omegaconf import OmegaConf

from close_transfer.cli import compose_config
from close_transfer.config.data import DATASETS
from close_transfer.config.train import TrainConfig
from close_transfer.core.command_line import CONFIGS, options
from close_transfer.core.errors import UserError
from close_transfer.tasks import TASKS

PICTUREBOOK_EPOCHS = {"captioning": 16, "captioning-multi": 2, "snli-ve": 28, "vqa": 28}
WITHOUT_PROMPT = ("captioning", "captioning-multi")
OWN_DATA = ("file", "huggingface")


def list_served_tasks(data: str) -> list[str]:
    dataset = DATASETS[OmegaConf.load(CONFIGS / "data" / f"{data}.yaml").name]
    return [name for name, task in TASKS.items() if task.reads.name in dataset.provides]


SERVED = [(data, task) for data in options("data") for task in list_served_tasks(data)]


def compose(*overrides: str) -> TrainConfig:
    return compose_config("train", TrainConfig, overrides)


@pytest.mark.parametrize(("data", "task"), SERVED)
def test_epochs_and_learning_rate_are_numbers_for_every_task_and_its_data(data, task):
    composed = compose(f"task={task}", f"data={data}", *(["data.path=x"] if data in OWN_DATA else []))
    expected = PICTUREBOOK_EPOCHS[task] if data == "picturebook" else 8
    rate = 2e-3 if task in WITHOUT_PROMPT else 7e-4
    assert composed.train.epochs == expected
    assert composed.train.learning_rate == composed.lm.learning_rate == rate
    saved = composed.model_dump(mode="json")  # as in a run's config.yaml
    assert saved["train"]["epochs"] == expected
    assert TrainConfig.model_validate(saved) == composed


def test_the_small_decoder_has_learning_rates_too():
    rates = [compose(f"task={task}", "lm=gpt2-mini").train.learning_rate for task in ("captioning", "vqa")]
    assert rates == [1e-3, 7e-4]


def test_epochs_are_the_command_lines_or_the_datas_or_the_tasks():
    assert compose("data=coco", "task.epochs=5").train.epochs == 5
    assert compose("data=coco", "task.epochs=5", "+data.epochs.captioning=3").train.epochs == 3
    assert compose("data=coco", "+data.epochs.vqa=3").train.epochs == 8
    assert compose("data=coco", "+data.epochs.captioning=3", "train.epochs=4").train.epochs == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.epochs=3"], r"train\.epochs: .*data\.epochs=3 should be values by name"),
        (["+data.epochs.vqaa=3"], r"data\.epochs=vqaa: there is no such task\. Use one of captioning, "),
        (["+data.noise.vqaa=0.1"], r"data\.noise=vqaa: there is no such task"),
        (["~task.epochs"], r"task\.epochs"),
        (["task.name=vqaa"], r"task=vqaa: there is no such task\. Use one of captioning, "),
    ],
)
def test_epochs_and_noise_name_existing_tasks(overrides, message):
    with pytest.raises(UserError, match=message):
        compose(*overrides)
