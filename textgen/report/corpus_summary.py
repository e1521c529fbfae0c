"""All that the report and the data card tell of a corpus."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.folder import CorpusFolder
from textgen.corpus.ledger import Ledger
from textgen.prompts.recipe import Recipe


@dataclass(frozen=True)
class CorpusSummary:
    """A corpus with how it came to be.

    Attributes:
        folder: where it lies.
        config: the settings, without any key.
        recipe: with its template and examples.
        model: what wrote it; "grammar" or "existing text" where no model did.
        prices: date of the prices, "free" or "unknown".
        ledger: what was asked, answered and paid.
        num_planned: requests.
        filters: as filters.json has them.
        records: lines of corpus.jsonl.
        references: texts to compare with; none without references=.
        origin: of a grammar's words and frames; empty elsewhere.
    """

    folder: CorpusFolder
    config: SynthesizeCaptionsConfig
    recipe: Recipe
    model: str
    prices: str
    ledger: Ledger
    num_planned: int
    filters: dict[str, Any]
    records: Sequence[dict[str, Any]]
    references: Sequence[str]
    origin: str

    @property
    def by_model(self) -> bool:
        """Whether a language model wrote the texts."""
        return self.model not in ("grammar", "existing text")

    @property
    def writer(self) -> str:
        """Who wrote the texts, for people who must not take one kind for another."""
        return {
            "grammar": "written by a grammar, not by a language model",
            "existing text": "texts that existed, filtered; nothing was written",
        }.get(self.model, f"written by the language model {self.model}")


def format_training_settings(config: SynthesizeCaptionsConfig) -> str:
    """What to give scripts/train_text_only.py for this corpus."""
    path = shlex.quote(f"data.path={CorpusFolder(Path(config.output)).corpus}")
    return f"{config.recipe.train} {path}".strip()
