"""Settings of the command that prints what a bug report needs."""

from typing import Annotated

from close_transfer.core.roles import Role
from close_transfer.core.schema import StrictModel


class ReportBugConfig(StrictModel):
    """Settings of `report_bug.py`."""

    run: Annotated[str | None, Role.LOCATION]
