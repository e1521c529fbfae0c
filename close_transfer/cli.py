"""Table of the commands, with their settings, pipelines and scripts, and the function that runs them.

A command has one name, unless its row names others: its settings are in ``configs/<name>.yaml``, their types in
``config/<name>.py``, its steps in ``pipelines/<name>.py``, and its script is ``scripts/<name>.py``. Training and
evaluation have scripts of other names, because users of the method know those. The studies have a separate table,
``studies/commands.py``.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from close_transfer.config.components import TaskConfig
from close_transfer.config.data import DATASETS
from close_transfer.core import command_line
from close_transfer.core.command_line import CONFIGS, CliExtensions, groups, options
from close_transfer.core.guarded_run import run_guarded
from close_transfer.core.schema import C, StrictModel, expand_home
from close_transfer.core.startup import loading_libraries

__all__ = ["COMMANDS", "CONFIGS", "Command", "compose_config", "options", "run"]


@dataclass(frozen=True)
class Command:
    """A command of the package.

    Attributes:
        name: stem of its YAML file, and name of its schema's module and its pipeline's module, unless another attribute
            names another one.
        summary: one line for the list of commands.
        scripts: names of its scripts, each with keyword arguments of `main` in addition to the settings; empty if its
            only script has the command's name.
        settings: name of the command that it shares its settings with; None if it has separate ones.
        takes_arguments: True if `main` also gets the arguments as they were typed.
        config_module: dotted name of the module with its schema, if not ``close_transfer.config.<name>``.
        pipeline_module: dotted name of the module with its `main`, if not ``close_transfer.pipelines.<name>``.
        runs_itself: True if its pipeline's module has a function `run` that reads the arguments.
    """

    name: str
    summary: str
    scripts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: str | None = None
    takes_arguments: bool = False
    config_module: str | None = None
    pipeline_module: str | None = None
    runs_itself: bool = False

    @property
    def config_name(self) -> str:
        """Return the stem of the YAML file with its settings."""
        return self.settings or self.name

    def load_schema(self) -> type[StrictModel]:
        """Import and return the class of its settings, such as `PretrainLmConfig` for `pretrain_lm`."""
        class_name = "".join(part.title() for part in self.config_name.split("_")) + "Config"
        return getattr(import_module(self.config_module or f"close_transfer.config.{self.config_name}"), class_name)

    def load_main(self) -> Callable[..., int | None]:
        """Import and return its `main`, which takes the settings and returns the exit status; None means 0."""
        return import_module(self.pipeline_module or f"close_transfer.pipelines.{self.name}").main

    def list_scripts(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the names of all its scripts, each with keyword arguments of `main` in addition to the settings."""
        return self.scripts or {self.name: {}}


COMMANDS = {
    command.name: command
    for command in (
        Command("train", "Train on text alone.", scripts={"train_text_only": {"input_modality": "text"}}),
        Command("train_on_images", "Train the same model on images, for comparison.", settings="train",
                pipeline_module="close_transfer.pipelines.train", scripts={"train_on_images": {"input_modality": "image"}}),
        Command("evaluate", "Evaluate a run on images, or on text.", scripts={"eval_image": {}}),
        Command("demo", "Train, evaluate and compare three systems.", settings="train"),
        Command("predict", "Write captions or answers for your images or embeddings."),
        Command("baseline", "Score a baseline that needs no training."),
        Command("score_predictions", "Score the predictions of any system."),
        Command("compare_results", "Compare the results of many evaluations in tables."),
        Command("check_data", "Check that the files of a dataset are there, and count their examples.",
                takes_arguments=True),
        Command("measure_gap", "Measure and plot the modality gap of an encoder."),
        Command("probe_encoder", "Probe an encoder by classifying images from its vectors.", takes_arguments=True),
        Command("eval_composition", "Test a CLIP or a captioner on captions that differ in composition only."),
        Command("compute_statistics", "Compute the statistics that adapters and automatic noise need."),
        Command("export_model", "Save a model with its model card, or publish it."),
        Command("inspect_prefix", "Show the words nearest to each prefix token."),
        Command("list_encoders", "List the encoders that can be chosen by name."),
        Command("report_bug", "Print versions, machine and a run's settings for a bug report."),
        Command("pretrain_lm", "Pretrain a small language model on text alone."),
        Command("train_captioner", "Pretrain an image encoder by captioning."),
        Command("train_text_tower", "Train a text tower by CLIP's loss, with an image tower or against a frozen encoder.",
                takes_arguments=True),
        Command("train_image_encoder", "Train an image encoder without language, for comparison with a captioner's.",
                takes_arguments=True),
        Command("train_picturebook_clip", "Train the CLIP of Picturebook, the built-in dataset."),
        Command("draw_picturebook", "Draw a contact sheet of Picturebook."),
        Command("write_picturebook_text", "Write Picturebook's captions or questions to a file."),
        Command("synthesize_captions", "Generate captions with a grammar or a language model.",
                config_module="textgen.config", pipeline_module="textgen.command", runs_itself=True),
    )
}  # fmt: skip


def _expand_argument(argument: str, config_name: str) -> list[str]:
    """Expand the short forms: `lm=FOLDER` selects a pretrained model, and `data=all` checks all published data."""
    key, _, value = argument.partition("=")
    if key == "lm" and key in groups(config_name) and value not in options(key) and _is_folder(expand_home(value)):
        return ["lm=pretrained", f"lm.name={value}"]
    if argument == "data=all" and config_name == "check_data":
        return ["all=true"]
    return [argument]


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name that no file can have, for example because it is too long
        return False


def _check_task_settings(config: StrictModel) -> None:
    """Check names of tasks and their settings, which the schemas cannot, because the task classes own them.

    Raises:
        UserError: if there is no such task, or it cannot be built with its settings.
    """
    from close_transfer.tasks import build_task, get_task  # imported here, because it loads the metrics

    task = getattr(config, "task", None)
    if isinstance(task, TaskConfig):
        build_task(task)
    elif isinstance(task, str):
        get_task(task)
    for group in ("data", "training"):  # `training` is the data that a baseline takes its answers from
        for setting in ("noise", "epochs"):
            for name in getattr(getattr(config, group, None), setting, {}):
                get_task(name, f"{group}.{setting}")


def _build_extensions(folders: Sequence[Path] = (CONFIGS,)) -> CliExtensions:
    from close_transfer.config.components import ENCODER_KINDS

    return CliExtensions(
        _expand_argument,
        union_tags={*DATASETS, *ENCODER_KINDS, "scratch", "pretrained"},
        labels={"lm=pretrained": "pretrained models"},
        config_folders=tuple(folders),
        check_settings=_check_task_settings,
    )


def compose_config(
    config_name: str, schema: type[C], arguments: Sequence[str] = (), folders: Sequence[Path] = (CONFIGS,)
) -> C:
    """Return the checked settings of a command for these arguments.

    Args:
        config_name: stem of the YAML file.
        schema: class of the settings.
        arguments: arguments as typed, each ``key=value``.
        folders: folders with the YAML files.

    Raises:
        UserError: if arguments are wrong; the message lists all mistakes.
    """
    return command_line.compose_config(config_name, schema, arguments, _build_extensions(folders))


def run_command(command: Command, script: str, folders: Sequence[Path] = (CONFIGS,)) -> None:
    """Run a command with the settings in `sys.argv`, and exit with its status.

    A `UserError` is printed on standard error, and the exit status is 2.

    Args:
        command: command to run.
        script: name of the script that runs it.
        folders: folders with the YAML files.
    """

    def start() -> None:
        with loading_libraries():
            schema, extensions = command.load_schema(), _build_extensions(folders)
        arguments = sys.argv[1:]
        extra_arguments = dict(command.list_scripts()[script])
        if command.takes_arguments:
            extra_arguments |= {"arguments": arguments}

        def execute(config: Any) -> int | None:
            # Imported after the settings are checked: a mistake is reported before the slow ML libraries load.
            with loading_libraries():
                main = command.load_main()
            return main(config, **extra_arguments)

        command_line.run(command.config_name, schema, execute, extensions)

    run_guarded(start)


def run(script: str) -> None:
    """Run the command of a script with the settings in `sys.argv`."""
    command = next(command for command in COMMANDS.values() if script in command.list_scripts())
    if command.runs_itself and command.pipeline_module:
        import_module(command.pipeline_module).run()
    else:
        run_command(command, script)
