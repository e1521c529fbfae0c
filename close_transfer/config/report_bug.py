"""Settings of the command that prints the facts for a bug report."""

from typing import Annotated

from close_transfer.core.roles import Role
from close_transfer.core.schema import StrictModel


class ReportBugConfig(StrictModel):
    """Settings of `report_bug.py`."""

    run: Annotated[str | None, Role.LOCATION]
