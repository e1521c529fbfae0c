"""Composition of settings from YAML files with Hydra."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from yaml import YAMLError

from close_transfer.core.errors import UserError
from close_transfer.core.new_folders import create_new_folder, name_by_time
from close_transfer.core.resolvers import register_resolvers
from close_transfer.core.schema import shorten

SWEEP_FLAGS = {"-m", "--multirun"}
_SWEEP_FOLDER = "hydra.sweep.dir"
# Exceptions that Hydra raises for settings it cannot use. Some come from Python and YAML.
REFUSALS = (HydraException, ValueError, RecursionError, YAMLError)

register_resolvers()


def order_folders(config_name: str, config_folders: Sequence[Path]) -> list[Path]:
    """Return the folders with the one that holds the command's own file first."""
    return sorted(config_folders, key=lambda folder: not (folder / f"{config_name}.yaml").is_file())


def _compose(config_name: str, overrides: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    GlobalHydra.instance().clear()  # Hydra refuses a second initialization in one process
    first, *others = order_folders(config_name, folders)
    with initialize_config_dir(version_base=None, config_dir=str(first)):
        return compose(config_name, [*overrides, *format_search_path(others)])


def compose_or_explain(config_name: str, overrides: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    """Compose the settings with Hydra.

    Raises:
        UserError: names the overrides that Hydra cannot use.
    """
    try:
        return _compose(config_name, overrides, folders)
    except REFUSALS as error:
        culprits = []  # overrides without which Hydra can compose the rest
        for number, override in enumerate(overrides):
            with suppress(*REFUSALS):
                _compose(config_name, [*overrides[:number], *overrides[number + 1 :]], folders)
                culprits.append(shorten(override))
        raise build_refusal_error(error, "; ".join(culprits or map(shorten, overrides))) from error


def format_search_path(folders: Sequence[Path]) -> list[str]:
    """Return the override that makes Hydra look for groups in further folders, as a list of at most one."""
    return [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in folders)}]"] if folders else []


def build_refusal_error(error: Exception, subject: str) -> UserError:
    """Return the error for `subject` with the first two lines of Hydra's message; the rest describes its parser."""
    reason = "is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split("\n")[:2])
    return UserError(f"{subject}: {shorten(reason)}")


def reserve_sweep_folder(arguments: Sequence[str]) -> list[str]:
    """Create the folder of a sweep, and return the override that names it; none for another command or a given folder.

    Hydra's own name is the second, so two sweeps that begin in the same one would replace each other's settings there.
    """
    flags = {argument for argument in arguments if argument.startswith("-")}
    is_given = any(argument.lstrip("+").startswith(_SWEEP_FOLDER) for argument in arguments)
    if not flags or not flags <= SWEEP_FLAGS or is_given:
        return []
    return [f"{_SWEEP_FOLDER}={create_new_folder(name_by_time(Path('multirun'))).as_posix()}"]
