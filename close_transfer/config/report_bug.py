"""Settings of the command that prints what a bug report needs."""

from close_transfer.core.schema import StrictModel


class ReportBugConfig(StrictModel):
    """Settings of `report_bug.py`."""

    run: str | None
