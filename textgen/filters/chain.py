"""Chain of filter stages, with counts of the removed texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from close_transfer.core.errors import UserError
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
        try:
            reasons = stage.find_reasons(remaining)
        except UserError:
            raise
        except Exception:
            # A mistake of the filter costs the texts that it cannot read, never the corpus.
            errors = [_find_error(stage, candidate) for candidate in remaining]
            if not any(errors):
                raise
            remaining, count = _remove(f"errors of the filter {stage.name}", remaining, errors, on_removed)
            counts.append(count)
            reasons = stage.find_reasons(remaining)
        remaining, count = _remove(stage.name, remaining, reasons, on_removed)
        counts.append(count)
    return ChainResult(remaining, counts)


def _find_error(stage: Stage, candidate: Candidate) -> str | None:
    """Return the error that a stage meets in one candidate alone; None if there is none."""
    try:
        stage.find_reasons([candidate])
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _remove(
    name: str,
    candidates: Sequence[Candidate],
    reasons: Sequence[str | None],
    on_removed: Callable[[str, str, Candidate], None] | None,
) -> tuple[list[Candidate], StageCount]:
    """Return the candidates without a reason, and the counts of a stage."""
    passed: list[Candidate] = []
    examples: list[Removal] = []
    for candidate, reason in zip(candidates, reasons, strict=True):
        if reason is None:
            passed.append(candidate)
            continue
        if len(examples) < KEPT_EXAMPLES:
            examples.append(Removal(candidate.id, reason, candidate.full_text))
        if on_removed:
            on_removed(name, reason, candidate)
    return passed, StageCount(name, len(candidates), len(candidates) - len(passed), tuple(examples))
