from pathlib import Path

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.core.schema import StrictModel, expand_home, validate
from textgen.corpus.folder import merge_remembered_args


@pytest.mark.parametrize("typed", ["20261127", "1e5", "007", "1_000", "1.10", "true", "on", "yes", "2026-11-27", "inf"])
def test_texts_are_as_typed(typed):
    assert compose_config("train", TrainConfig, [f"output={typed}"]).output == typed


def test_settings_of_every_depth_are_as_typed():
    config = compose_config(
        "train", TrainConfig, ["data=file", "data.path=123", "data.val_path=null", "noise=1e-1", "seed=3"]
    )
    assert (config.data.path, config.data.val_path, config.noise, config.seed) == ("123", None, 0.1, 3)
    config = compose_config("train", TrainConfig, ["data=huggingface", "data.path=x", "data.splits.val=1"])
    assert config.data.splits["val"] == "1"
    settings = [
        "task=custom",
        "data=file",
        "data.path=x",
        "data.target_column=y",
        "task.labels=[true, 1e5,no]",
        "task.metric=accuracy",
    ]
    assert compose_config("train", TrainConfig, settings).task.labels == ("true", "1e5", "no")
    given = ["predictions=1", "references=2", "output=3", "name=123", "task=captioning"]
    config = compose_config("score_predictions", ScorePredictionsConfig, given)
    assert (config.predictions, config.references, config.output, config.name) == ("1", "2", "3", "123")


def test_a_number_in_a_file_of_settings_says_that_it_needs_quotes():
    class Settings(StrictModel):
        path: str

    with pytest.raises(UserError, match=r"path=3: is not text, but a number or true or false\. Put it in quotes"):
        validate(Settings, {"path": 3})


def test_the_home_folder_is_expanded_in_every_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    home = str(tmp_path)
    settings = ["output=~/run", "runs=~", "data=coco", "data.root=~/coco", "data.files.train=~/a.json", "task.prompt=~"]
    config = compose_config("train", TrainConfig, [*settings, "embedding_cache.folder=~/cache"])
    assert (config.output, config.runs, config.data.root) == (f"{home}/run", home, f"{home}/coco")
    assert (config.data.files["train"], config.embedding_cache.folder) == (f"{home}/a.json", f"{home}/cache")
    assert config.task.prompt == "~"
    (tmp_path / "lm").mkdir()
    assert compose_config("train", TrainConfig, ["lm=~/lm"]).lm.name == f"{home}/lm"
    assert expand_home(["~/a", "b~/c", "~b", {"k": "~/d"}]) == [f"{home}/a", "b~/c", "~b", {"k": f"{home}/d"}]
    assert merge_remembered_args(["output=~/corpus"], "x", "y") == ["output=~/corpus"]
    assert not Path("~").exists()
