"""Filters of exact and near duplicates."""

from collections.abc import Sequence

from close_transfer.core.text_normalization import normalize_text
from textgen.corpus.candidate import Candidate
from textgen.filters.near import NearIndex


class ExactDuplicates:
    """Stage that removes later texts with the same words in all fields; case and punctuation are ignored."""

    name = "exact duplicates"

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        first_ids: dict[str, str] = {}
        reasons: list[str | None] = []
        for candidate in candidates:
            key = normalize_text(candidate.full_text)
            reasons.append(f"the words of {first_ids[key]}" if key in first_ids else None)
            first_ids.setdefault(key, candidate.id)
        return reasons


class NearDuplicates:
    """Stage that removes later texts that are similar in all fields together; see textgen/filters/near.py."""

    name = "near duplicates"

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        index = NearIndex(self._threshold)
        indexed: list[Candidate] = []
        reasons: list[str | None] = []
        sketches = index.make_sketches(candidate.full_text for candidate in candidates)
        for candidate, sketch in zip(candidates, sketches, strict=True):
            if match := index.find(sketch):
                first = indexed[match[0]]
                reasons.append(f"{match[1]:.2f} like {first.id}: {first.full_text}")
            else:
                reasons.append(None)
                indexed.append(candidate)
                index.add(sketch)
        return reasons
