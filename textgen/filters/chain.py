"""Chain of filter stages, with counts of the removed texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from textgen.corpus.candidate import Candidate

KEPT_EXAMPLES = 20  # removed texts of each stage that the report can show


class Stage(Protocol):
    """Filter that removes texts for one kind of reason.

    Attributes:
        name: name of the stage in the report and in removed.jsonl.
    """

    name: str

    def find_reasons(self, candidates: Sequence[Candidate]) -> Sequence[str | None]:
        """Return the reason to remove each candidate, in their order; None keeps it.

        The result depends on the candidates and their order alone.
        """


class Removal(NamedTuple):
    """Removed text."""

    id: str
    reason: str
    text: str


@dataclass(frozen=True)
class StageCount:
    """Counts of one stage.

    Attributes:
        name: name of the stage.
        num_in: number of candidates that reached it.
        num_out: number of candidates that it removed.
        examples: the first KEPT_EXAMPLES removed candidates.
    """

    name: str
    num_in: int
    num_out: int
    examples: tuple[Removal, ...]


@dataclass(frozen=True)
class ChainResult:
    """Kept candidates in their order, and the counts of each stage."""

    kept: list[Candidate]
    stages: list[StageCount]


def run_chain(
    stages: Sequence[Stage],
    candidates: Sequence[Candidate],
    on_removed: Callable[[str, str, Candidate], None] | None = None,
) -> ChainResult:
    """Run all candidates through one stage after the other.

    Args:
        stages: stages in the order they are applied.
        candidates: candidates in order of preference: of texts that are too similar, the first is kept.
        on_removed: function called for every removal, with the stage's name, the reason and the candidate.
    """
    remaining, counts = list(candidates), []
    for stage in stages:
        passed: list[Candidate] = []
        examples: list[Removal] = []
        for candidate, reason in zip(remaining, stage.find_reasons(remaining), strict=True):
            if reason is None:
                passed.append(candidate)
                continue
            if len(examples) < KEPT_EXAMPLES:
                examples.append(Removal(candidate.id, reason, candidate.full_text))
            if on_removed:
                on_removed(stage.name, reason, candidate)
        counts.append(StageCount(stage.name, len(remaining), len(remaining) - len(passed), tuple(examples)))
        remaining = passed
    return ChainResult(remaining, counts)
