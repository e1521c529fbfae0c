"""Last lines and warnings of commands."""

import re
import shlex
from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.data.sources.own_rows import check_columns
from close_transfer.pipelines.console import describe_training
from close_transfer.pipelines.train import train
from close_transfer.tasks import get_task
from close_transfer.training.run_folder import TrainingState
from close_transfer.training.trainer import Outcome
from tests.conftest import SMALL, small_config


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["data=coco"], "task=captioning run=x\n"),
        (["data=vqa2", "task=vqa"], "task=vqa run=x split=val\n"),
        (["data=snli", "task=snli-ve"], "task=snli-ve run=x scene=text\n      (data=snli has no images"),
        (["data=conceptual-captions"], "run=x data=file data.path=TEST_FILE data.image_column=IMAGE_COLUMN\n"),
        (
            ["data=file", "data.path=a.csv", "data.text_column=my text", "data.image_column=file"],
            "run=x data=file data.path=TEST_FILE 'data.text_column=my text' data.image_column=file\n",
        ),
        (
            ["data=file", "data.path=a.csv", "clip=precomputed"],
            "data.path=TEST_FILE data.text_column=text clip=precomputed clip.image_embeddings=TEST_VECTORS\n",
        ),
        (["data=huggingface", "data.path=d", "data.image_column=i", "data.splits.test=null"], "run=x split=val\n"),
        (["data=picturebook"], "task=captioning run=x\n"),
    ],
)
def test_the_next_command_works_for_these_data(settings, expected):
    for folder in ("val2014", "vqa2/val2014"):
        Path(folder).mkdir(parents=True)
    for name in ("dataset_coco.json", "v2_OpenEnded_mscoco_val2014_questions.json", "snli_1.0_test.jsonl",
                 "v2_mscoco_val2014_annotations.json.gz"):  # fmt: skip
        Path(name).write_text("")
    root = ["data.root=."] if settings[0].removeprefix("data=") in ("coco", "vqa2", "snli") else []
    outcome = Outcome(TrainingState(step=1, best_loss=1.0), stopped_early=False)
    output = describe_training(compose_config("train", TrainConfig, [*settings, *root]), Path("x"), outcome, "x") + "\n"
    assert "\nnext: python scripts/eval_image.py" in output
    assert expected in output
    assert "first get" not in output


@pytest.mark.parametrize("data", ["file", "huggingface"])
@pytest.mark.parametrize("task", ["vqa", "snli-ve", "custom"])
def test_the_next_command_repeats_the_prompt_of_training(task, data):
    prompt = 'What\'s "{what}", {who} (say: a, b)?'
    given = [f"task={task}", f"data={data}", "data.path=a", f"data.prompt={prompt}", "data.target_column=the answer"]
    outcome = Outcome(TrainingState(step=1, best_loss=1.0), stopped_early=False)
    output = describe_training(compose_config("train", TrainConfig, given), Path("x"), outcome, "x")
    (command,) = re.findall(r"^next: python scripts/eval_image\.py (.*)$", output, flags=re.MULTILINE)
    evaluated = compose_config("evaluate", EvaluateConfig, shlex.split(command))
    assert (evaluated.data.name, evaluated.data.prompt, evaluated.data.target_column) == ("file", prompt, "the answer")
    check_columns(evaluated.data, get_task(task).reads)


def test_the_next_command_names_missing_files():
    outcome = Outcome(TrainingState(step=1, best_loss=1.0), stopped_early=False)
    config = compose_config("train", TrainConfig, ["task=vqa", "data=vqa2", "data.root=q", "data.captions_root=c"])
    output = describe_training(config, Path("x"), outcome, "x")
    assert (
        "run=x split=val scene=text\n      (images of val are not in q/val2014. Put them there to leave out" in output
    )
    assert "first get q/v2_OpenEnded_mscoco_val2014_questions.json, q/v2_mscoco_val2014_annotations.json, c/" in output


def test_picturebook_clip_on_other_text_is_warned_of(capsys):
    Path("texts.txt").write_text("".join(f"A dog number {n}.\n" for n in range(30)))
    train(small_config_of_table(), "text")
    assert capsys.readouterr().err.count("note: the Picturebook CLIP knows only Picturebook's language") == 1
    train(small_config("train.max_steps=1"), "text")
    assert "Picturebook CLIP" not in capsys.readouterr().err


def small_config_of_table():
    settings = [setting for setting in SMALL if not setting.startswith("data.")]
    return compose_config("train", TrainConfig, [*settings, "data=file", "data.path=texts.txt", "train.max_steps=1"])
