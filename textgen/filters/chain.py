"""Runs candidates through stages, and counts what each took out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from textgen.corpus.candidate import Candidate

KEPT_EXAMPLES = 20


class Stage(Protocol):
    """One reason to take texts out.

    Attributes:
        name: what the report calls it.
    """

    name: str

    def reasons(self, candidates: Sequence[Candidate]) -> Sequence[str | None]:
        """Why each candidate is taken out, in their order; None keeps it.

        The answer depends on the candidates and their order alone.
        """


class Removal(NamedTuple):
    """A text that was taken out."""

    id: str
    reason: str
    text: str


@dataclass(frozen=True)
class StageCount:
    """What one stage did.

    Attributes:
        name: of the stage.
        num_in: candidates that reached it.
        num_out: candidates that it took out.
        examples: the first KEPT_EXAMPLES of them.
    """

    name: str
    num_in: int
    num_out: int
    examples: tuple[Removal, ...]


@dataclass(frozen=True)
class ChainResult:
    """What is left, in the order it came, and what each stage did."""

    kept: list[Candidate]
    stages: list[StageCount]


def run_chain(
    stages: Sequence[Stage],
    candidates: Sequence[Candidate],
    on_removed: Callable[[str, str, Candidate], None] | None = None,
) -> ChainResult:
    """Runs all candidates through one stage after the other.

    Args:
        stages: in the order they are applied.
        candidates: in the order they are to be preferred: of texts that are too much alike the first stays.
        on_removed: is told of every removal: the stage's name, the reason, the candidate.
    """
    remaining, counts = list(candidates), []
    for stage in stages:
        passed: list[Candidate] = []
        examples: list[Removal] = []
        for candidate, reason in zip(remaining, stage.reasons(remaining), strict=True):
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
