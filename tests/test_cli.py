import ast
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from close_transfer import cli
from close_transfer.cli import CONFIGS, compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.predict import PredictConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.modality_gap.adapter_fitting.requested_noise import resolve_requested_noise
from studies import commands as studies
from tests.conftest import REPOSITORY

COMMANDS = {command.config_name: command.load_schema() for command in cli.COMMANDS.values()}
# Files that commands read on their way.
PARTS = {"prices"}
# Settings that have no default.
NEEDED = {
    "data=file": ["data.path=x.txt"],
    "lm=pretrained": ["lm.name=x"],
    "pretrain_lm": ["text=x.txt", "output=y"],
    "train_captioner": ["output=y"],
    "train_image_encoder": ["output=y"],
    "train_text_tower": ["image_tower=trained", "output=y"],
    "clip=captioner": ["clip.model=runs/cappa"],
    "mapper=identity": ["noise=0"],
    "predict": ["images=x.png"],
    "score_predictions": ["predictions=x.json", "references=y.json", "output=z"],
    "compare_results": ["results=x"],
    "export_model": ["output=x"],
    "baseline": ["output=x"],
    "write_picturebook_text": ["output=x.jsonl"],
}


def test_every_file_at_the_top_belongs_to_a_command():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {*COMMANDS, *PARTS}


def test_every_script_runs_a_command_of_its_name_and_holds_no_logic():
    commands = {
        script
        for table in (cli.COMMANDS, studies.COMMANDS)
        for command in table.values()
        for script in command.list_scripts()
    }
    scripts = {path.stem: path for path in (REPOSITORY / "scripts").glob("*.py")}
    assert scripts.keys() == commands
    for path in scripts.values():
        statements = [type(one).__name__ for one in ast.parse(path.read_text(encoding="utf-8")).body]
        assert set(statements) <= {"Expr", "Import", "ImportFrom", "If"}, path


def test_a_command_has_one_name():
    for table, package in ((cli.COMMANDS, CONFIGS), (studies.COMMANDS, studies.FOLDERS[0])):
        for name, command in table.items():
            assert command.name == name
            assert (package / f"{command.config_name}.yaml").is_file()
            assert command.config_name.replace("_", "") in command.load_schema().__name__.lower()
            if not command.runs_itself:
                assert callable(command.load_main())
            if command.pipeline_module is None:
                assert command.load_main().__module__ == f"close_transfer.pipelines.{name}"
                assert command.settings or command.load_schema().__module__ == f"close_transfer.config.{name}"


def test_commands_can_be_listed_and_run_as_a_module(capsys, monkeypatch):
    listed = subprocess.run([sys.executable, "-m", "close_transfer"], capture_output=True, text=True, cwd=REPOSITORY)
    assert listed.returncode == 0 and all(
        script in listed.stdout for command in cli.COMMANDS.values() for script in command.list_scripts()
    )
    wrong = subprocess.run(
        [sys.executable, "-m", "close_transfer", "predict"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert (wrong.returncode, "Give exactly one of images=" in wrong.stderr) == (2, True)
    unknown = subprocess.run(
        [sys.executable, "-m", "close_transfer", "nope"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert unknown.returncode == 1 and "nope: there is no such command" in unknown.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes(command):
    compose_config(command, COMMANDS[command], NEEDED.get(command, []))


# Those of `study` are composed in tests/studies/test_systems.py, those of `experiment` in tests/config/test_experiments.py; those
# of `recipe` in tests/textgen; `grammars` holds data, `fragments` what several files share.
_ELSEWHERE = ("study", "experiment", "recipe", "grammars", "fragments")


@pytest.mark.parametrize(
    "path",
    sorted(path for path in CONFIGS.glob("*/*.yaml") if path.parent.name not in _ELSEWHERE),
    ids=lambda p: f"{p.parent.name}={p.stem}",
)
def test_every_file_of_a_group_composes(path):
    choice = f"{path.parent.name}={path.stem}"
    command = "train_captioner" if path.parent.name == "captioner" else "train"
    composed = compose_config(command, COMMANDS[command], [*NEEDED.get(command, []), choice, *NEEDED.get(choice, [])])
    chosen = getattr(composed, path.parent.name)
    if path.parent.name == "adapter":
        assert chosen.names == (path.stem,)
        return
    written = OmegaConf.load(path)
    keys = [key for key in ("kind", "name", "model") if OmegaConf.select(written, key) is not None]
    assert keys and all(getattr(chosen, key) == written[key] for key in keys)


def test_a_misspelt_key_suggests_the_nearest():
    with pytest.raises(UserError, match=r"nosie=0\.1: there is no such setting\. Did you mean noise\?"):
        compose_config("train", TrainConfig, ["nosie=0.1"])


def test_a_misspelt_option_lists_what_is_allowed():
    with pytest.raises(UserError, match=r"task=snlive: allowed are .*snli-ve.*\. Did you mean snli-ve\?"):
        compose_config("train", TrainConfig, ["task=snlive"])


@pytest.mark.parametrize(
    ("command", "overrides", "message"),
    [
        ("train", ["lm=t5-mini", "lm.tuning=lora"],
         r"lm\.tuning=lora: there is no such setting here; it only applies with pretrained models, lm=flan-t5-base, .*t5-small$"),
        ("train", ["task=vqa", "task.metric=text"], r"task\.metric=text: .*; it only applies with task=custom$"),
        ("evaluate", ["task.metric=text"], r"task\.metric=text: there is no such setting($|\. Did you mean)"),
        ("train", ["lm=pretrained"], r"lm\.name=\?\?\?: no model is named\. Give lm\.name=NAME"),
        ("train", ["task=custom", "task.metric=accuracy", "task.labels=[yes]"],
         r"^task\.labels=\[yes\]: must be two or more different answers\. Give them, such as task\.labels=\[yes,no\]"),
        ("train", ["task=custom", "task.metric=accuracy", "task.labels=[0,'1',2]"],
         r"Quote answers that look like a number, true or false: \"task\.labels=\['0','1','2'\]\"$"),
        ("train", ["lm=t5-small", "lm.dtype=bfloat16"], r"^lm\.dtype=bfloat16: weights that are trained"),
    ],
)  # fmt: skip
def test_message_names_where_a_setting_applies_and_how_to_write_it(command, overrides, message):
    with pytest.raises(UserError, match=message):
        compose_config(command, COMMANDS[command], overrides)


def test_quoted_numbers_are_answers():
    given = ["task=custom", "task.metric=accuracy", "task.labels=['0','1','2']"]
    assert compose_config("train", TrainConfig, given).task.labels == ("0", "1", "2")


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(UserError) as caught:
        compose_config("train", TrainConfig, ["noise=-1", "seed=x", "train.batch_size=0", "train.schedule=step"])
    for part in (
        "noise=-1",
        "seed=x",
        "train.batch_size=0",
        "train.schedule=step",
        "'linear', 'cosine', 'constant' or 'close-code'",
    ):
        assert part in str(caught.value)


def test_two_units_of_noise_at_once_are_an_error():
    with pytest.raises(
        UserError, match=r"noise=0\.1 .* and noise_variance=0\.016 .* are given together\. Give one of them"
    ):
        compose_config("train", TrainConfig, ["noise=0.1", "noise_variance=0.016"])


@pytest.mark.parametrize("value", ["nan", "inf", ".nan"])
def test_noise_must_be_a_finite_number(value):
    with pytest.raises(UserError, match="noise="):
        compose_config("train", TrainConfig, [f"noise={value}"])


@pytest.mark.parametrize(
    ("overrides", "std"),
    [
        (["data=file", "data.path=x"], 0.12),
        (["data=file", "data.path=x", "task=captioning-multi"], 0.04),
        (["task=snli-ve"], 0.08),
        (["task=vqa"], 0.04),
        ([], 0.1),
        (["noise_variance=0.0144"], 0.12),
        (["noise=0"], 0.0),
        (["noise_cosine=0.5"], 3**0.5 / 10),
        (["adapter=blind"], 0.0),
    ],
)
def test_noise_defaults_are_those_of_the_paper_and_of_picturebook(overrides, std):
    assert resolve_requested_noise(compose_config("train", TrainConfig, overrides), "text", 100) == pytest.approx(std)


def test_batches_must_split_evenly():
    with pytest.raises(UserError, match=r"train\.batch_size=128 cannot be split into train\.gradient_accumulation=3"):
        compose_config("train", TrainConfig, ["train.gradient_accumulation=3"])


def test_values_may_hold_anything():
    composed = compose_config(
        "predict", PredictConfig, ["images=my folder (1), [new]/x.png", 'prompt=Is it "red", or {blue}?']
    )
    assert composed.images == "my folder (1), [new]/x.png"
    assert composed.prompt == 'Is it "red", or {blue}?'


def test_evaluation_accepts_a_run_and_other_data():
    composed = compose_config(
        "evaluate", EvaluateConfig, ["run=somewhere", "data=file", "data.path=x.jsonl", "scene=text"]
    )
    assert composed.data.path == "x.jsonl"
    assert Path(composed.run) == Path("somewhere")


def test_epochs_are_per_task_in_data_and_one_number_in_train():
    assert compose_config("train", TrainConfig, ["train.epochs=3"]).train.epochs == 3
    with pytest.raises(UserError, match=r"train\.epochs: .*data\.epochs"):
        compose_config("train", TrainConfig, ["data.epochs=3"])


def test_adapters_keep_the_order_they_were_given_in():
    for names in (["remove_mean", "gaussian"], ["gaussian", "truncate", "remove_mean"]):
        composed = compose_config("train", TrainConfig, [f"adapter=[{','.join(names)}]", "statistics=x"])
        assert composed.adapter.names == tuple(names)
        again = TrainConfig.model_validate(composed.model_dump(mode="json"))
        assert again.adapter.names == tuple(names)
    settings = compose_config("train", TrainConfig, ["adapter=[gaussian,truncate]", "adapter.truncate.directions=9"])
    assert settings.adapter.list_steps() == [{"name": "gaussian"}, {"name": "truncate", "directions": 9}]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["adapter=[remove_mean,gausian]"], r"adapter=gausian: allowed are .*\. Did you mean gaussian\?"),
        (
            ["adapter=remove_mean", "noise=0.1"],
            r"noise=0\.1, but adapter=remove_mean adds no noise\. Add one .*\[remove_mean,gaussian\]",
        ),
        (["adapter=whiten", "adapter.whiten.shrinkage=2"], r"adapter\.whiten\.shrinkage=2"),
        (["noise_cosine=0"], r"noise_cosine=0"),
        (["mapper=identity"], r"mapper=identity gives .* so adapter=gaussian and noise would have no effect\. Give "),
        (["mapper=identity", "noise=0", "adapter=blind"], r"so adapter=blind and noise would have no effect"),
        (
            ["mapper=identity", "noise=0", "adapter=[remove_mean,gaussian]"],
            r"so adapter=remove_mean,gaussian and noise",
        ),
    ],
)
def test_mistakes_in_adapters_and_noise(overrides, message):
    with pytest.raises(UserError, match=message):
        compose_config("train", TrainConfig, overrides)
