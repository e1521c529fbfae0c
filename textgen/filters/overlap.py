"""Filter of texts that copy an in-context example or an evaluation text."""

from collections.abc import Sequence

from close_transfer.core.text_normalization import normalize_text
from textgen.corpus.candidate import Candidate
from textgen.filters.near import NearIndex

_EXAMPLE, _EVALUATION = "an example of the prompt", "an evaluation text"


class Overlap:
    """Stage that removes texts whose `text`, or all fields together, match an example or an evaluation text."""

    name = "examples and evaluation texts"

    def __init__(self, examples: Sequence[str], evaluation: Sequence[str], threshold: float | None) -> None:
        """Index the texts.

        Args:
            examples: texts of the in-context examples.
            evaluation: evaluation texts.
            threshold: Jaccard similarity from which texts match (textgen/filters/near.py); None for equal words only.
        """
        labelled_texts = [(text, _EVALUATION) for text in evaluation] + [(text, _EXAMPLE) for text in examples]
        self._exact = {key: (text, kind) for text, kind in labelled_texts if (key := normalize_text(text))}
        self._texts = list(self._exact.values())
        self._near = None if threshold is None else NearIndex(threshold)
        if self._near:
            for sketch in self._near.make_sketches(text for text, _ in self._texts):
                self._near.add(sketch)

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        # The cheap comparisons come first: equal words before similarity, and `text` before all fields together.
        reasons = [self._find_same_words(candidate.text) for candidate in candidates]
        self._look_up(reasons, candidates, [number for number, reason in enumerate(reasons) if not reason], "text")
        with_fields = [number for number, reason in enumerate(reasons) if not reason and candidates[number].fields]
        for number in with_fields:
            reasons[number] = self._find_same_words(candidates[number].full_text)
        self._look_up(reasons, candidates, [number for number in with_fields if not reasons[number]], "full_text")
        return reasons

    def _find_same_words(self, text: str) -> str | None:
        match = self._exact.get(normalize_text(text))
        return f"the words of {match[1]}: {match[0]}" if match else None

    def _look_up(
        self, reasons: list[str | None], candidates: Sequence[Candidate], numbers: Sequence[int], part: str
    ) -> None:
        """Fill in reasons for candidates whose attribute `part` is near an indexed text."""
        if not self._near:
            return
        sketches = self._near.make_sketches(getattr(candidates[number], part) for number in numbers)
        for number, sketch in zip(numbers, sketches, strict=True):
            if match := self._near.find(sketch):
                text, kind = self._texts[match[0]]
                reasons[number] = f"{match[1]:.2f} like {kind}: {text}"
