"""Every command but the studies': its name, settings and pipeline; and how a script runs it.

A command has one name, unless its row says otherwise: its settings are in ``configs/<name>.yaml``, their types in
``config/<name>.py``, what it does in ``pipelines/<name>.py``, and its script is ``scripts/<name>.py``. Training and
evaluation are started by scripts of other names, which the method's users know. The studies have a table of their
own, ``studies/commands.py``.
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
from close_transfer.core.schema import C, StrictModel

__all__ = ["COMMANDS", "CONFIGS", "Command", "compose_config", "options", "run"]


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: stem of its YAML file, its schema's module and its pipeline's module, unless the fields below say otherwise.
        summary: one line for the list of commands.
        scripts: its scripts, each with the arguments that its pipeline gets besides the settings; empty: one
            script of the command's own name.
        settings: the command whose settings it takes; None: its own.
        takes_arguments: its pipeline is also given the arguments as they were typed.
        config_module, pipeline_module: where its schema and its `main` are, if not in this package.
        runs_itself: its pipeline's module has a `run`, which reads the arguments.
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
        """Stem of the YAML file with its settings."""
        return self.settings or self.name

    def load_schema(self) -> type[StrictModel]:
        """Import the class of its settings, such as `PretrainLmConfig` for `pretrain_lm`."""
        class_name = "".join(part.title() for part in self.config_name.split("_")) + "Config"
        return getattr(import_module(self.config_module or f"close_transfer.config.{self.config_name}"), class_name)

    def load_main(self) -> Callable[..., int | None]:
        """Import its `main`, which takes the settings and returns the exit status, None for 0."""
        return import_module(self.pipeline_module or f"close_transfer.pipelines.{self.name}").main

    def all_scripts(self) -> Mapping[str, Mapping[str, Any]]:
        """Return every script of the command, with the arguments that its pipeline gets."""
        return self.scripts or {self.name: {}}


COMMANDS = {
    command.name: command
    for command in (
        Command("train", "Train on text alone.", scripts={"train_text_only": {"input_modality": "text"}}),
        Command("train_on_images", "Train the same model on images, for comparison.", settings="train",
                pipeline_module="close_transfer.pipelines.train", scripts={"train_on_images": {"input_modality": "image"}}),
        Command("evaluate", "Evaluate a run on images, or on text.", scripts={"eval_image": {}}),
        Command("demo", "Train and evaluate three systems, side by side.", settings="train"),
        Command("predict", "Write captions or answers for images or embeddings of your own."),
        Command("baseline", "Score a baseline that needs no training."),
        Command("score_predictions", "Score the predictions of any system."),
        Command("compare_results", "Set the results of many evaluations side by side."),
        Command("check_data", "Check which files of a data set are there, and how many examples they hold.",
                takes_arguments=True),
        Command("measure_gap", "Measure and plot the modality gap of an encoder."),
        Command("compute_statistics", "Compute the statistics that adapters and automatic noise need."),
        Command("export_model", "Save a model with its card, or publish it."),
        Command("inspect_prefix", "Show the words nearest to each prefix token."),
        Command("list_encoders", "List the encoders that can be chosen by name."),
        Command("report_bug", "Print versions, machine and a run's settings for a bug report."),
        Command("pretrain_lm", "Pretrain a small language model on text alone."),
        Command("train_picturebook_clip", "Train the CLIP of Picturebook, the built-in data set."),
        Command("draw_picturebook", "Draw a contact sheet of Picturebook."),
        Command("write_picturebook_text", "Write Picturebook's captions or questions to a file."),
        Command("synthesize_captions", "Write synthetic captions with a grammar or a language model.",
                config_module="textgen.config", pipeline_module="textgen.pipeline", runs_itself=True),
    )
}  # fmt: skip


def _expand_argument(argument: str, config_name: str) -> list[str]:
    """Return what an argument stands for: `lm=FOLDER` is a pretrained model, `data=all` checks all published data."""
    key, _, value = argument.partition("=")
    if key == "lm" and key in groups(config_name) and value not in options(key) and _is_folder(value):
        return ["lm=pretrained", f"lm.name={value}"]
    if argument == "data=all" and config_name == "check_data":
        return ["all=true"]
    return [argument]


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name that no file can have
        return False


def _check_task_settings(config: StrictModel) -> None:
    """Check what the schemas cannot know, because each task's class owns it: names of tasks, and their settings.

    Raises:
        UserError: if there is no such task, or it cannot be built with its settings.
    """
    from close_transfer.tasks import build_task, get_task  # here, because it imports the metrics

    task = getattr(config, "task", None)
    if isinstance(task, TaskConfig):
        build_task(task)
    elif isinstance(task, str):
        get_task(task)
    for group in ("data", "training"):  # the second are the data that a baseline knows
        for setting in ("noise", "epochs"):
            for name in getattr(getattr(config, group, None), setting, {}):
                get_task(name, f"{group}.{setting}")


def _extensions(folders: Sequence[Path] = (CONFIGS,)) -> CliExtensions:
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
    """Return the checked settings that a command would get for these arguments.

    Args:
        config_name: stem of the YAML file.
        schema: class of the settings.
        arguments: as typed, ``key=value`` each.
        folders: where YAML files are looked for.

    Raises:
        UserError: for every mistake in them.
    """
    return command_line.compose_config(config_name, schema, arguments, _extensions(folders))


def run_command(command: Command, script: str, folders: Sequence[Path] = (CONFIGS,)) -> None:
    """Run a command with the settings in `sys.argv`, and exit with its status.

    A `UserError` becomes its message on standard error and exit status 2.
    """

    def start() -> None:
        schema, arguments = command.load_schema(), sys.argv[1:]
        more = dict(command.all_scripts()[script]) | ({"arguments": arguments} if command.takes_arguments else {})

        def execute(config: Any) -> int | None:
            return command.load_main()(config, **more)

        command_line.run(command.config_name, schema, execute, _extensions(folders))

    run_guarded(start)


def run(script: str) -> None:
    """Run the command of a script with the settings in `sys.argv`."""
    command = next(one for one in COMMANDS.values() if script in one.all_scripts())
    if command.runs_itself and command.pipeline_module:
        import_module(command.pipeline_module).run()
    else:
        run_command(command, script)
