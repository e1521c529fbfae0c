"""Command line to checked settings, with Hydra.

Hydra composes the settings. The overrides are checked before it runs, so that one message reports all misspelt keys and
groups, each with the nearest name that exists.
"""

import difflib
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from close_transfer.core.composition import (
    REFUSALS,
    SWEEP_FLAGS,
    build_refusal_error,
    compose_or_explain,
    format_search_path,
    order_folders,
    reserve_sweep_folder,
)
from close_transfer.core.errors import UserError
from close_transfer.core.guarded_run import run_guarded
from close_transfer.core.output_paths import check_outputs
from close_transfer.core.plain_files import check_plain_file
from close_transfer.core.schema import C, StrictModel, find_text_error, shorten, validate
from close_transfer.core.signals import exiting_at_once
from close_transfer.core.typed_text import quote_text

CONFIGS = Path(__file__).parents[2] / "configs"

_PLAIN_KEY = re.compile(r"(\+{1,2}|~)?[A-Za-z_][\w.@/-]*", re.ASCII)
_MAX_BRACKETS = 50  # a value with more is text; Hydra's parser would take minutes or overflow the stack
_UNCHECKED = ("-", "+", "~", "hydra")  # arguments that begin so are checked by Hydra alone


@dataclass(frozen=True)
class CliExtensions:
    """Command-line syntax of a package beyond config groups and keys.

    Attributes:
        expand_argument: function of an argument and the command's config name; returns the arguments to use instead.
        union_tags: `members` of `validate`.
        labels: "group=option" -> plural name of the option for messages.
        config_folders: folders with the YAML files of commands and of groups.
        check_settings: function that raises a `UserError` if settings that are valid by their schema cannot be used.
    """

    expand_argument: Callable[[str, str], list[str]] = lambda argument, config_name: [argument]
    union_tags: Collection[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    config_folders: tuple[Path, ...] = (CONFIGS,)
    check_settings: Callable[[StrictModel], None] = lambda config: None


_NO_EXTENSIONS = CliExtensions()


def _quote_value(argument: str, sweeps: bool, schema: type[StrictModel]) -> str:
    """Return the override unchanged if Hydra's grammar accepts it, else with its value quoted.

    Users can therefore type prompts and paths with commas, quotes and brackets, and numbers where text is wanted.
    """
    key, equals, value = argument.partition("=")
    if not equals or not _PLAIN_KEY.fullmatch(key):
        return argument
    if sum(map(value.count, "[{(")) <= _MAX_BRACKETS:
        try:
            parsed = OverridesParser.create().parse_override(argument)
            if parsed.is_sweep_override():
                if sweeps:
                    return argument
            else:
                return f"{key}={quote_text(schema, key, value)}"
        except (HydraException, ValueError):  # Python refuses to parse integers of thousands of digits
            pass
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escaped}"'


def options(group: str, config_folders: Sequence[Path] = (CONFIGS,)) -> list[str]:
    """Return the options of a config group, sorted by name."""
    folders = [folder / group.partition("@")[0] for folder in config_folders]
    return sorted(path.relative_to(f).with_suffix("").as_posix() for f in folders for path in f.rglob("*.yaml"))


def _suggest_nearest(word: str, words: Sequence[str]) -> str:
    matches = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f". Did you mean {matches[0]}?" if matches else ""


def _iterate_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{prefix}{key}"
        if OmegaConf.is_dict(config) and not OmegaConf.is_missing(config, key):
            value = config._get_node(key)
            if isinstance(value, DictConfig):
                yield from _iterate_keys(value, f"{prefix}{key}.")


def _read_defaults_list(name: str, config_folders: Sequence[Path]) -> Sequence[object]:
    loaded = OmegaConf.load(order_folders(name, config_folders)[0] / f"{name}.yaml")
    assert isinstance(loaded, DictConfig)
    return loaded.get("defaults", [])


def groups(config_name: str, config_folders: Sequence[Path] = (CONFIGS,)) -> set[str]:
    """Return the config groups that this command composes, those of its fragments included."""
    found: set[str] = set()
    for entry in _read_defaults_list(config_name, config_folders):
        if isinstance(entry, DictConfig):
            found |= {str(key).removeprefix("override ").removeprefix("/") for key in entry}
        elif entry != "_self_":
            found |= groups(str(entry).partition("@")[0], config_folders)
    return found


def check_overrides(
    config_name: str, schema: type[StrictModel], arguments: Sequence[str], extensions: CliExtensions = _NO_EXTENSIONS
) -> None:
    """Check that all groups, options and keys of the arguments exist.

    Raises:
        UserError: names each one that does not, with the nearest that exists; or names a file of others that holds more
            than plain values.
    """
    folders = extensions.config_folders
    known_groups, chosen, problems = groups(config_name, folders), [], []
    plain: list[tuple[str, str]] = []
    chosen_options: dict[str, Sequence[str]] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if fault := find_text_error(argument):
            problems.append(f"{shorten(argument)}: {fault}")
        elif argument.startswith(_UNCHECKED):
            if not key.strip("+~"):
                problems.append(f"{shorten(argument)}: names no setting. Give settings as key=value")
        elif not equals:
            problems.append(f"{shorten(argument)}: has no value. Give settings as key=value")
        elif key in known_groups:
            allowed = options(key, folders)
            names = value.strip("[]").split(",")  # a list of options, or a sweep over them
            unknown = [name for name in names if name not in allowed]
            if unknown:
                problems.append(
                    f"{key}={shorten(unknown[0])}: allowed are {', '.join(allowed)}{_suggest_nearest(unknown[0], allowed)}"
                )
            else:
                chosen.append(f"{key}={value if value.startswith('[') else names[0]}")
                chosen_options[key] = names
        else:
            plain.append((key, value))
    if not problems:
        _check_plain_groups(config_name, schema, chosen_options, folders)
    if not problems:  # the keys that exist depend on the chosen options, so the options are checked first
        hidden = tuple(f"{group}." for group in schema.choices_only)
        known_names = sorted(
            known_groups
            | {k for k in _iterate_keys(compose_or_explain(config_name, chosen, folders)) if not k.startswith(hidden)}
        )
        for key, value in plain:
            if key not in known_names:
                owners = _find_other_options(config_name, key, hidden, extensions)
                hint = f"; it only applies with {owners}" if owners else _suggest_nearest(key, known_names)
                problems.append(
                    f"{shorten(f'{key}={value}')}: there is no such setting{' here' if owners else ''}{hint}"
                )
    if problems:
        raise UserError("\n".join(problems))


def _check_plain_groups(
    config_name: str, schema: type[StrictModel], chosen: Mapping[str, Sequence[str]], folders: Sequence[Path]
) -> None:
    """Check the files of the options that are chosen, or are the default, in groups whose files come from others."""
    for group, file_keys in schema.plain_groups.items():
        for name in chosen.get(group) or _find_default_options(config_name, group, folders):
            path = next(path for folder in folders if (path := folder / group / f"{name}.yaml").is_file())
            check_plain_file(path, f"{group}={name}", file_keys)


def _find_default_options(config_name: str, group: str, folders: Sequence[Path]) -> list[str]:
    entries = _read_defaults_list(config_name, folders)
    return [str(entry[group]) for entry in entries if isinstance(entry, DictConfig) and group in entry]


def _find_other_options(config_name: str, key: str, hidden: tuple[str, ...], extensions: CliExtensions) -> str:
    """Return the other options of the key's group that accept the key, for a message; empty if there are none."""
    folders = extensions.config_folders
    group = key.partition(".")[0]
    if group not in groups(config_name, folders) or key.startswith(hidden):
        return ""
    matching = []
    for option in options(group, folders):
        with suppress(UserError):
            if key in _iterate_keys(compose_or_explain(config_name, [f"{group}={option}"], folders)):
                matching.append(option)
    labels = extensions.labels
    kinds = "".join(f"{labels[choice]}, " for option in matching if (choice := f"{group}={option}") in labels)
    return f"{kinds}{group}={', '.join(matching)}" if matching else ""


def compose_config(
    config_name: str, schema: type[C], arguments: Sequence[str] = (), extensions: CliExtensions = _NO_EXTENSIONS
) -> C:
    """Compose and check the settings that a command gets for these arguments.

    Args:
        config_name: stem of the command's YAML file.
        schema: class of the settings.
        arguments: overrides as `key=value`.
        extensions: command-line syntax of the package.

    Raises:
        UserError: lists every mistake in the arguments.
    """
    arguments = [
        _quote_value(expanded, sweeps=False, schema=schema)
        for argument in arguments
        for expanded in extensions.expand_argument(argument, config_name)
    ]
    check_overrides(config_name, schema, arguments, extensions)
    return _resolve_and_validate(
        schema, compose_or_explain(config_name, arguments, extensions.config_folders), extensions
    )


def _resolve_and_validate(schema: type[C], config: DictConfig, extensions: CliExtensions) -> C:
    """Resolve and validate composed settings.

    Raises:
        UserError: if an interpolation cannot be resolved, a value is not allowed, or an output cannot be written.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}. Check its value in configs/") from error
    except RecursionError as error:
        raise build_refusal_error(error, getattr(error, "full_key", "") or "a setting") from error
    assert isinstance(values, dict)
    settings = validate(schema, values, extensions.union_tags)  # type: ignore[arg-type]
    extensions.check_settings(settings)
    check_outputs(settings)
    return settings


def run(
    config_name: str,
    schema: type[C],
    execute: Callable[[C], int | None],
    extensions: CliExtensions = _NO_EXTENSIONS,
) -> None:
    """Check the settings in `sys.argv` and execute a function of them, or show help.

    Args:
        config_name: stem of the command's YAML file.
        schema: class of the settings.
        execute: function of the settings; returns the exit status, None for 0.
        extensions: command-line syntax of the package.

    Raises:
        UserError: lists every mistake in the settings; `execute` may raise others.
    """
    begun = False

    def run_job(config: DictConfig) -> None:
        nonlocal begun
        begun = True
        run_guarded(lambda: execute(_resolve_and_validate(schema, config, extensions)))

    sweeps = bool(SWEEP_FLAGS & set(sys.argv[1:]))
    with exiting_at_once():  # Hydra imports its plugins, and would swallow an exception as a plugin's fault
        typed = [part for argument in sys.argv[1:] for part in extensions.expand_argument(argument, config_name)]
        arguments = [_quote_value(argument, sweeps, schema) for argument in typed]
        if any(argument.startswith("-") for argument in arguments):
            check_overrides(config_name, schema, arguments, extensions)
        else:  # compose first, because Hydra itself reports mistakes with another exit status
            compose_config(config_name, schema, sys.argv[1:], extensions)
        Plugins.instance()  # loads them
    first, *others = order_folders(config_name, extensions.config_folders)
    sys.argv[1:] = [*arguments, *reserve_sweep_folder(arguments), *format_search_path(others)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra exits with its own message and status
    try:
        hydra.main(version_base=None, config_path=str(first), config_name=config_name)(run_job)()
    except REFUSALS as error:
        if begun:
            raise
        unchecked = [shorten(argument) for argument in arguments if argument.startswith(_UNCHECKED)]
        raise build_refusal_error(error, " ".join(unchecked)) from error
