"""Takes out what a model could not finish."""

from collections.abc import Sequence

from textgen.candidates import Candidate


class CutShort:
    """Texts at the end of an answer that max_output_tokens ended."""

    name = "cut short"

    def reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        """As `Stage` says."""
        return ["max_output_tokens ended it" if candidate.cut else None for candidate in candidates]
