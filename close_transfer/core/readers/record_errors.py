"""What cannot be used in a file, and what becomes of the file because of it."""

from collections import Counter
from pathlib import Path

from close_transfer.core.errors import UserError
from close_transfer.core.schema import OnBadRows

_MAX_SHOWN = 5


class RecordError(Exception):
    """Why an entry cannot be used; the message names the field."""


class RecordErrors:
    """What could not be used in one file."""

    def __init__(
        self, path: Path, on_bad_rows: OnBadRows, unit: str = "lines", skip: str = "data.on_bad_rows=skip"
    ) -> None:
        """`unit`: what its entries are called; `skip`: the setting that skips such entries; both for messages."""
        self._path, self._skip, self._unit = path, on_bad_rows == "skip", unit
        self._mend = skip
        self._shown: list[str] = []
        self.count = 0

    def add(self, where: str, fault: RecordError) -> None:
        """`where`: "line 7", "annotations[3]"."""
        self.count += 1
        if len(self._shown) < _MAX_SHOWN:
            self._shown.append(f"{self._path}, {where}: {fault}")

    def settle(self, num_usable: int) -> Counter[str]:
        """What was skipped, by reason.

        Raises:
            UserError: with the first faults, unless they are to be skipped; and if nothing is left.
        """
        if self.count and not self._skip:
            more = self.count - len(self._shown)
            raise UserError(
                "\n".join([*self._shown, *([f"and {more} more such {self._unit}"] if more else [])])
                + f"\nmend the file, or skip and count such {self._unit} with {self._mend}"
            )
        if not num_usable:
            raise UserError(
                f"{self._path}: there is nothing to use in it ({self.count} unusable {self._unit}); give a file with at least one usable entry"
            )
        return Counter({f"unusable {self._unit}": self.count} if self.count else {})
