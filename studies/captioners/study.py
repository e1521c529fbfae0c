"""study_captioners.py: train captioners and their controls, test and probe each, and compare them (docs/captioners.md)."""

from pathlib import Path

from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from studies.captioners.jobs import list_jobs, run_jobs
from studies.captioners.report import write_report
from studies.config import StudyCaptionersConfig


def run_study(config: StudyCaptionersConfig) -> str:
    """Run the missing steps, report after each system, and return the tables as Markdown.

    Raises:
        UserError: after all the other work, if a step failed; the report is about what is finished.
    """
    jobs = list_jobs(config)
    errors: list[str] = []
    if not config.report_only:
        asked = [job for job in jobs if config.only is None or job.system in config.only]
        if config.train_only:
            asked = [job.select_training() for job in asked]
        for error in run_jobs(asked, config.num_workers):
            if error is None:
                write_report(config, jobs)
            else:
                errors.append(error)
    text = write_report(config, jobs)
    if errors:
        show(text)
        raise UserError(
            "\n".join(
                [f"{len(errors)} of the trainings or their tests failed. Correct the cause, and run again:", *errors]
            )
        )
    return f"{text}\n\npage: {Path(config.output) / 'captioners.html'}"


def main(config: StudyCaptionersConfig) -> None:
    """Run the study, and print its tables."""
    show(run_study(config))
