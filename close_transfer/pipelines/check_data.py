"""check_data.py: check which files of published data sets exist, and how many examples they hold."""

from collections.abc import Sequence

from close_transfer.config.check_data import CheckDataConfig
from close_transfer.core.command_line import compose_config
from close_transfer.core.console import show
from close_transfer.data.dataset_check import check_data
from close_transfer.data.sources.published import ORIGINS
from close_transfer.reports.dataset_report import describe

INCOMPLETE_STATUS = 1


def main(config: CheckDataConfig, arguments: Sequence[str] = ()) -> int:
    """Print the check of one data set, or of all; return 1 if something is missing.

    Args:
        config: settings of the command.
        arguments: the settings as typed; printed commands repeat them, and ``data=all`` passes them on to each data
            set.
    """
    if not config.all:
        choice = next(
            (text[len("data=") :] for text in reversed(arguments) if text.startswith("data=")), config.data.name
        )
        return 0 if _check(config, choice, arguments) else INCOMPLETE_STATUS
    others = [argument for argument in arguments if argument not in ("data=all", "all=true")]
    incomplete = []
    for number, choice in enumerate(ORIGINS):
        if number:
            show()
        if not _check(compose_config("check_data", CheckDataConfig, [f"data={choice}", *others]), choice, others):
            incomplete.append(choice)
    names = ", ".join(incomplete) or "none"
    show(f"\n{len(ORIGINS) - len(incomplete)} of {len(ORIGINS)} are complete; not complete: {names}")
    return INCOMPLETE_STATUS if incomplete else 0


def _check(config: CheckDataConfig, choice: str, arguments: Sequence[str]) -> bool:
    """Print the check of one data set; return True if nothing is missing."""
    overrides = [argument for argument in arguments if argument.startswith("data.")]
    check = check_data(config.data, choice, overrides, config.leakage)
    show(describe(check, config.leakage), flush=True)
    return check.is_complete
