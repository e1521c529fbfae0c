"""The commands' ways of their own: `lm=FOLDER`, `clip.help=true`, and what pretrained models are called."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from close_transfer.core import command_line
from close_transfer.core.command_line import CONFIGS, Extras, groups, options
from close_transfer.core.schema import C
from close_transfer.data.sources import SERVED_TASKS
from close_transfer.encoders.catalogue import catalogue

__all__ = ["CONFIGS", "command", "compose_config", "options"]


def _expanded(argument: str, config_name: str) -> list[str]:
    """`lm=FOLDER` as the pretrained model of that folder."""
    key, _, value = argument.partition("=")
    if key == "lm" and key in groups(config_name) and value not in options(key) and _is_folder(value):
        return ["lm=pretrained", f"lm.name={value}"]
    return [argument]


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name that no file can have
        return False


def _lists_encoders(config: Any) -> bool:
    """Prints what `clip.help=true` asks for; False if it was not asked."""
    asked = bool(getattr(getattr(config, "clip", None), "help", False))
    if asked:
        print(catalogue())
    return asked


_EXTRAS = Extras(
    _expanded,
    _lists_encoders,
    members={*SERVED_TASKS, "open_clip", "timm", "precomputed", "scratch", "pretrained"},
    called={"lm=pretrained": "pretrained models"},
)


def compose_config(config_name: str, schema: type[C], arguments: Sequence[str] = ()) -> C:
    """The checked configuration that a command would get for these arguments.

    Raises:
        UserError: for every mistake in them.
    """
    return command_line.compose_config(config_name, schema, arguments, _EXTRAS)


def command(config_name: str, schema: type[C]) -> Callable[[Callable[[C], Any]], Callable[[], None]]:
    """Makes a function of a checked configuration the entry point of a script.

    A `UserError` becomes its message on standard error and exit status 2.
    """
    return command_line.command(config_name, schema, _EXTRAS)
