"""Summary of a corpus for the report and the data card."""

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
    """Corpus with its settings, requests, spend and filters.

    Attributes:
        folder: folder of the corpus.
        config: the settings, without any key.
        recipe: recipe with its template and examples.
        model: name of the language model; "grammar" or "existing text" without one.
        prices: date of the prices; "free" or "unknown" without one.
        ledger: requests, answers and spend.
        num_planned: number of planned requests.
        filters: content of filters.json.
        records: records of corpus.jsonl.
        references: reference texts; empty without references=.
        origin: source of a grammar's words and frames; empty for other sources.
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
        """Return True if a language model wrote the texts."""
        return self.model not in ("grammar", "existing text")

    @property
    def writer(self) -> str:
        """Writer of the texts, so that readers do not take a grammar's texts for a model's."""
        return {
            "grammar": "written by a grammar, not by a language model",
            "existing text": "existing texts, filtered; nothing was generated",
        }.get(self.model, f"written by the language model {self.model}")


def format_training_settings(config: SynthesizeCaptionsConfig) -> str:
    """Return the settings of scripts/train_text_only.py for this corpus."""
    path = shlex.quote(f"data.path={CorpusFolder(Path(config.output)).corpus}")
    return f"{config.recipe.train} {path}".strip()
