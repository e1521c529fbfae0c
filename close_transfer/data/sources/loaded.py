"""What a source hands over: examples, and an account of what it left out."""

from collections import Counter
from dataclasses import dataclass, field

from close_transfer.data.examples import Example


@dataclass
class LoadedSplit:
    """The examples of one split.

    Attributes:
        examples: in the order of the source.
        skipped: rows left out, by reason.
        notes: what else a user should know, one sentence each.
    """

    examples: list[Example]
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def num_skipped(self) -> int:
        """How many rows were left out, for all reasons together."""
        return self.skipped.total()
