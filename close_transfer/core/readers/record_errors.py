"""Errors of single records in a file: reported, or skipped and counted."""

from collections import Counter
from pathlib import Path

from close_transfer.core.errors import UserError
from close_transfer.core.schema import OnBadRows

_MAX_SHOWN = 5


class RecordError(Exception):
    """Record that cannot be used; the message names the field and the reason."""


class RecordErrors:
    """Unusable records of one file.

    Attributes:
        count: number of them so far.
    """

    def __init__(
        self, path: Path, on_bad_rows: OnBadRows, unit: str = "lines", skip: str = "data.on_bad_rows=skip"
    ) -> None:
        """Begin a list without errors.

        Args:
            path: the file, for messages.
            on_bad_rows: "error" to report unusable records, "skip" to count them.
            unit: plural name of the file's records, for messages.
            skip: setting that skips unusable records, for messages.
        """
        self._path, self._is_skipping, self._unit = path, on_bad_rows == "skip", unit
        self._skip_setting = skip
        self._shown: list[str] = []
        self.count = 0

    def add(self, place: str, error: RecordError) -> None:
        """Add the error of one record; `place` locates it in the file: "line 7", "annotations[3]"."""
        self.count += 1
        if len(self._shown) < _MAX_SHOWN:
            self._shown.append(f"{self._path}, {place}: {error}")

    def settle(self, num_usable: int) -> Counter[str]:
        """Return the number of skipped records by reason.

        Args:
            num_usable: number of records of the file that can be used.

        Raises:
            UserError: lists the first errors, unless they are skipped; also if no usable record is left.
        """
        if self.count and not self._is_skipping:
            more = self.count - len(self._shown)
            raise UserError(
                "\n".join([*self._shown, *([f"and {more} more such {self._unit}"] if more else [])])
                + f"\nCorrect the file, or skip and count such {self._unit} with {self._skip_setting}"
            )
        if not num_usable:
            raise UserError(
                f"{self._path}: there is nothing to use in it ({self.count} unusable {self._unit}). Give a file with at least one usable entry"
            )
        return Counter({f"unusable {self._unit}": self.count} if self.count else {})
