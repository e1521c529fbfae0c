"""report_bug.py: print the facts that a bug report needs."""

from pathlib import Path

from close_transfer.config.report_bug import ReportBugConfig
from close_transfer.core.console import show
from close_transfer.reports.bug_report import format_bug_report
from close_transfer.training.runs import read_run


def main(config: ReportBugConfig) -> None:
    """Print versions and facts about the machine, and the settings of a run if one is given.

    Raises:
        UserError: if there is no run in that folder.
    """
    settings = None if config.run is None else read_run(Path(config.run))[0].model_dump(mode="json")
    show(format_bug_report(settings))
