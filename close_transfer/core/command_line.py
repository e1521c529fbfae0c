"""From the command line to a checked configuration, by Hydra; and from mistakes to plain sentences.

Hydra composes and overrides. Before it runs, the overrides are looked at, so that a misspelt key or
group is answered with the nearest that exists, and all of them at once.
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
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from close_transfer.core.errors import UserError
from close_transfer.core.guarded_run import run_guarded
from close_transfer.core.schema import C, StrictModel, find_text_error, shorten, validate

CONFIGS = Path(__file__).parents[2] / "configs"

_PLAIN_KEY = re.compile(r"(\+{1,2}|~)?[A-Za-z_][\w.@/-]*", re.ASCII)
_MAX_BRACKETS = 50  # more are text, and would take Hydra's parser minutes, or all of the stack
_UNCHECKED = ("-", "+", "~", "hydra")  # beginnings of what only Hydra knows

# What Hydra raises for settings it cannot use; not all of that is its own.
_REFUSALS = (HydraException, ValueError, RecursionError, YAMLError)


@dataclass(frozen=True)
class CliExtensions:
    """Command-line syntax of a package beyond config groups and keys.

    Attributes:
        expand_argument: returns the arguments that one argument of a command, given by its config name, stands for.
        union_tags: as `validate` takes them.
        labels: plural names of some options ("group=option") for messages.
        config_folders: folders with YAML files of commands and of groups.
    """

    expand_argument: Callable[[str, str], list[str]] = lambda argument, config_name: [argument]
    union_tags: Collection[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    config_folders: tuple[Path, ...] = (CONFIGS,)


_NO_EXTENSIONS = CliExtensions()


def _quote_value(argument: str, sweeps: bool) -> str:
    """The override as it is where Hydra's grammar takes it, else with its value quoted.

    So that prompts and paths can be typed without a thought for commas, quotes and brackets.
    """
    key, equals, value = argument.partition("=")
    if not equals or not _PLAIN_KEY.fullmatch(key):
        return argument
    if sum(map(value.count, "[{(")) <= _MAX_BRACKETS:
        try:
            parsed = OverridesParser.create().parse_override(argument)
            if sweeps or not parsed.is_sweep_override():
                return argument
        except (HydraException, ValueError):  # the latter for numbers of thousands of digits
            pass
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escaped}"'


def options(group: str, config_folders: Sequence[Path] = (CONFIGS,)) -> list[str]:
    """Return the options of a config group, by the names that are given for them."""
    folders = [folder / group.partition("@")[0] for folder in config_folders]
    return sorted(path.relative_to(f).with_suffix("").as_posix() for f in folders for path in f.rglob("*.yaml"))


def _suggest_nearest(word: str, words: Sequence[str]) -> str:
    matches = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


def _iterate_keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{prefix}{key}"
        if OmegaConf.is_dict(config) and not OmegaConf.is_missing(config, key):
            value = config._get_node(key)
            if isinstance(value, DictConfig):
                yield from _iterate_keys(value, f"{prefix}{key}.")


def _order_folders(config_name: str, config_folders: Sequence[Path]) -> list[Path]:
    """The same folders, the one with the command's own file first."""
    return sorted(config_folders, key=lambda folder: not (folder / f"{config_name}.yaml").is_file())


def _read_defaults_list(name: str, config_folders: Sequence[Path]) -> Sequence[object]:
    loaded = OmegaConf.load(_order_folders(name, config_folders)[0] / f"{name}.yaml")
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
    """Looks for groups, options and keys that do not exist.

    Raises:
        UserError: naming every one of them with the nearest that exists.
    """
    folders = extensions.config_folders
    known_groups, chosen, problems = groups(config_name, folders), [], []
    plain: list[tuple[str, str]] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if fault := find_text_error(argument):
            problems.append(f"{shorten(argument)}: {fault}")
        elif argument.startswith(_UNCHECKED):
            if not key.strip("+~"):
                problems.append(f"{shorten(argument)}: names no setting; settings are given as key=value")
        elif not equals:
            problems.append(f"{shorten(argument)}: settings are given as key=value")
        elif key in known_groups:
            allowed = options(key, folders)
            names = value.strip("[]").split(",")  # several of one group, or a sweep
            unknown = [name for name in names if name not in allowed]
            if unknown:
                problems.append(
                    f"{key}={shorten(unknown[0])}: allowed are {', '.join(allowed)}{_suggest_nearest(unknown[0], allowed)}"
                )
            else:
                chosen.append(f"{key}={value if value.startswith('[') else names[0]}")
        else:
            plain.append((key, value))
    if not problems:
        hidden = tuple(f"{group}." for group in schema.choices_only)
        known_names = sorted(
            {
                key
                for key in _iterate_keys(_compose_or_explain(config_name, chosen, folders))
                if not key.startswith(hidden)
            }
            | known_groups
        )
        for key, value in plain:
            if key not in known_names:
                owners = _find_other_options(config_name, key, hidden, extensions)
                hint = f", which is of {owners}" if owners else _suggest_nearest(key, known_names)
                problems.append(
                    f"{shorten(f'{key}={value}')}: there is no such setting{' here' if owners else ''}{hint}"
                )
    if problems:
        raise UserError("\n".join(problems))


def _find_other_options(config_name: str, key: str, hidden: tuple[str, ...], extensions: CliExtensions) -> str:
    """The options of the key's group that have such a setting, where the chosen one has not; empty if none has."""
    folders = extensions.config_folders
    group = key.partition(".")[0]
    if group not in groups(config_name, folders) or key.startswith(hidden):
        return ""
    matching = []
    for option in options(group, folders):
        with suppress(UserError):
            matching += (
                [option]
                if key in _iterate_keys(_compose_or_explain(config_name, [f"{group}={option}"], folders))
                else []
            )
    labels = extensions.labels
    kinds = "".join(f"{labels[choice]}, " for option in matching if (choice := f"{group}={option}") in labels)
    return f"{kinds}{group}={', '.join(matching)}" if matching else ""


def _compose(config_name: str, overrides: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    GlobalHydra.instance().clear()
    first, *others = _order_folders(config_name, folders)
    with initialize_config_dir(version_base=None, config_dir=str(first)):
        return compose(config_name, [*overrides, *_format_search_path(others)])


def _compose_or_explain(config_name: str, overrides: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    """The settings as Hydra composes them.

    Raises:
        UserError: naming the overrides that Hydra cannot use.
    """
    try:
        return _compose(config_name, overrides, folders)
    except _REFUSALS as error:
        culprits = []
        for number, override in enumerate(overrides):
            with suppress(*_REFUSALS):
                _compose(config_name, [*overrides[:number], *overrides[number + 1 :]], folders)
                culprits.append(shorten(override))
        raise _build_refusal_error(error, "; ".join(culprits or map(shorten, overrides))) from error


def _format_search_path(folders: Sequence[Path]) -> list[str]:
    """The override by which Hydra looks for groups in further folders; none if there are none."""
    return [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in folders)}]"] if folders else []


def _build_refusal_error(error: Exception, what: str) -> UserError:
    """Hydra's first two lines about `what`."""
    reason = "is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split("\n")[:2])
    return UserError(f"{what}: {shorten(reason)}")


def compose_config(
    config_name: str, schema: type[C], arguments: Sequence[str] = (), extensions: CliExtensions = _NO_EXTENSIONS
) -> C:
    """The checked configuration that a command would get for these arguments.

    Raises:
        UserError: for every mistake in them.
    """
    arguments = [
        _quote_value(expanded, sweeps=False)
        for argument in arguments
        for expanded in extensions.expand_argument(argument, config_name)
    ]
    check_overrides(config_name, schema, arguments, extensions)
    return _resolve_and_validate(
        schema, _compose_or_explain(config_name, arguments, extensions.config_folders), extensions
    )


def _resolve_and_validate(schema: type[C], config: DictConfig, extensions: CliExtensions) -> C:
    """The composed settings, resolved and validated; whatever is wrong with them is a `UserError`."""
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}; look at its value in configs/") from error
    except RecursionError as error:
        raise _build_refusal_error(error, getattr(error, "full_key", "") or "a setting") from error
    assert isinstance(values, dict)
    return validate(schema, values, extensions.union_tags)  # type: ignore[arg-type]


def run(
    config_name: str,
    schema: type[C],
    execute: Callable[[C], int | None],
    extensions: CliExtensions = _NO_EXTENSIONS,
) -> None:
    """Execute a function of the checked settings that `sys.argv` gives, or show help; exit with its status.

    Raises:
        UserError: for every mistake in the settings, and as `execute` does.
    """
    begun = False

    def run_job(config: DictConfig) -> None:
        nonlocal begun
        begun = True
        run_guarded(lambda: finish(execute(_resolve_and_validate(schema, config, extensions))))

    def finish(status: int | None) -> None:
        if status:  # 0 ends nothing: a sweep (-m) has further jobs
            sys.exit(status)

    sweeps = bool({"-m", "--multirun"} & set(sys.argv[1:]))
    typed = [part for argument in sys.argv[1:] for part in extensions.expand_argument(argument, config_name)]
    arguments = [_quote_value(argument, sweeps) for argument in typed]
    if any(argument.startswith("-") for argument in arguments):
        check_overrides(config_name, schema, arguments, extensions)
    else:  # Hydra's own reports of mistakes have another exit status
        compose_config(config_name, schema, sys.argv[1:], extensions)
    first, *others = _order_folders(config_name, extensions.config_folders)
    sys.argv[1:] = [*arguments, *_format_search_path(others)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else it ends with its own message and exit status
    try:
        hydra.main(version_base=None, config_path=str(first), config_name=config_name)(run_job)()
    except _REFUSALS as error:
        if begun:
            raise
        unchecked = [shorten(argument) for argument in arguments if argument.startswith(_UNCHECKED)]
        raise _build_refusal_error(error, " ".join(unchecked)) from error
