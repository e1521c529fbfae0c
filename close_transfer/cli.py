"""From the command line to a checked configuration, by Hydra; and from mistakes to plain sentences.

Hydra composes and overrides. Before it runs, the overrides are looked at, so that a misspelt key or
group is answered with the nearest that exists, and all of them at once.
"""

import difflib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from close_transfer.config import C, Strict
from close_transfer.errors import UserError

CONFIGS = Path(__file__).parent.parent / "configs"
USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130

_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.@/-]*")


def _quoted(argument: str, sweeps: bool) -> str:
    """The override as it is where Hydra's grammar takes it, else with its value quoted.

    So that prompts and paths can be typed without a thought for commas, quotes and brackets.
    """
    key, equals, value = argument.partition("=")
    if not equals or not _PLAIN_KEY.fullmatch(key):
        return argument
    try:
        parsed = OverridesParser.create().parse_override(argument)
        if sweeps or not parsed.is_sweep_override():
            return argument
    except HydraException:
        pass
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escaped}"'


def _expanded(argument: str) -> list[str]:
    """`lm=FOLDER` as the pretrained model of that folder."""
    key, _, value = argument.partition("=")
    if key == "lm" and not (CONFIGS / "lm" / f"{value}.yaml").is_file() and Path(value).is_dir():
        return ["lm=pretrained", f"lm.name={value}"]
    return [argument]


def _nearest(word: str, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{prefix}{key}"
        if OmegaConf.is_dict(config) and not OmegaConf.is_missing(config, key):
            value = config._get_node(key)
            if isinstance(value, DictConfig):
                yield from _keys(value, f"{prefix}{key}.")


def _groups(config_name: str) -> set[str]:
    """Config groups that this command composes."""
    loaded = OmegaConf.load(CONFIGS / f"{config_name}.yaml")
    assert isinstance(loaded, DictConfig)
    defaults = loaded.get("defaults", [])
    return {str(key).removeprefix("override ") for entry in defaults if OmegaConf.is_dict(entry) for key in entry}


def check_overrides(config_name: str, schema: type[Strict], arguments: Sequence[str]) -> None:
    """Looks for groups, options and keys that do not exist.

    Raises:
        UserError: naming every one of them with the nearest that exists.
    """
    groups, chosen, problems = _groups(config_name), [], []
    plain: list[tuple[str, str]] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if argument.startswith("-") or key.startswith(("+", "~", "hydra")):
            continue
        if not equals:
            problems.append(f"{argument}: settings are given as key=value")
        elif key in groups:
            options = sorted(path.stem for path in (CONFIGS / key).glob("*.yaml"))
            unknown = [one for one in value.split(",") if one not in options]
            if unknown:
                problems.append(f"{key}={unknown[0]}: allowed are {', '.join(options)}{_nearest(unknown[0], options)}")
            else:
                chosen.append(f"{key}={value.split(',')[0]}")
        else:
            plain.append((key, value))
    if not problems:
        hidden = tuple(f"{group}." for group in schema.choices_only)
        known = sorted({key for key in _keys(_compose(config_name, chosen)) if not key.startswith(hidden)} | groups)
        for key, value in plain:
            if key not in known:
                problems.append(f"{key}={value}: there is no such setting{_nearest(key, known)}")
    if problems:
        raise UserError("\n".join(problems))


def _explain(error: Mapping[str, Any]) -> str:
    # Pydantic names the chosen member of a union in the path; the user never typed that.
    members = {"picturebook", "table", "open_clip", "precomputed", "scratch", "pretrained"}
    path = ".".join(str(part) for part in error["loc"] if part not in members)
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if not path:
        return message
    if error["type"] == "extra_forbidden":
        return f"{path}: there is no such key"
    if error["type"] == "missing":
        return f"{path}: missing; give {path}=VALUE"
    return f"{path}={error['input']}: {message[0].lower()}{message[1:]}"


def validate(schema: type[C], values: Mapping[str, Any]) -> C:
    """Checks composed values against a schema.

    Raises:
        UserError: listing every mistake, one a line.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        lines = [_explain(e) for e in error.errors()]
        raise UserError(
            "; ".join(lines) if len(lines) == 1 else "\n".join(["several settings cannot be used:", *lines])
        ) from None


def _compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base=None, config_dir=str(CONFIGS)):
        return compose(config_name, list(overrides))


def compose_config(config_name: str, schema: type[C], arguments: Sequence[str] = ()) -> C:
    """The checked configuration that a command would get for these arguments.

    Raises:
        UserError: for every mistake in them.
    """
    arguments = [_quoted(one, sweeps=False) for argument in arguments for one in _expanded(argument)]
    check_overrides(config_name, schema, arguments)
    try:
        return _checked(schema, _compose(config_name, arguments))
    except HydraException as error:
        raise UserError(str(error).splitlines()[0]) from error


def _checked(schema: type[C], config: DictConfig) -> C:
    """The composed settings, resolved and validated; whatever is wrong with them is a `UserError`."""
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}; look at its value in configs/") from error
    assert isinstance(values, dict)
    return validate(schema, values)  # type: ignore[arg-type]


def command(config_name: str, schema: type[C]) -> Callable[[Callable[[C], Any]], Callable[[], None]]:
    """Makes a function of a checked configuration the entry point of a script.

    A `UserError` becomes its message on standard error and exit status 2.
    """

    def decorate(run: Callable[[C], Any]) -> Callable[[], None]:
        def job(config: DictConfig) -> None:
            _guarded(lambda: run(_checked(schema, config)))

        def main() -> None:
            sweeps = bool({"-m", "--multirun"} & set(sys.argv[1:]))
            arguments = [_quoted(one, sweeps) for argument in sys.argv[1:] for one in _expanded(argument)]
            _guarded(lambda: check_overrides(config_name, schema, arguments))
            sys.argv[1:] = arguments
            hydra.main(version_base=None, config_path=str(CONFIGS), config_name=config_name)(job)()

        return main

    return decorate


def _guarded(run: Callable[[], Any]) -> None:
    try:
        run()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR_STATUS)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED_STATUS)
