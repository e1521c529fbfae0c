"""Result of reading one split: the examples, and a count of the rows that were left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from close_transfer.data.examples import Example


@dataclass
class LoadedSplit:
    """Examples of one split.

    Attributes:
        examples: examples in the order of the source.
        skipped: number of rows left out, by reason.
        notes: further facts for the user, one sentence each.
    """

    examples: Sequence[Example]
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def num_skipped(self) -> int:
        """Return the number of rows left out, for all reasons together."""
        return self.skipped.total()
