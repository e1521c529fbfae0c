"""Words of generated captions: F1 by type of word on Picturebook, or recall of frequent words as LiMBeR measures it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from close_transfer.core.arrays import Float64Array
from close_transfer.core.console import show
from close_transfer.evaluation.results import find_results
from close_transfer.metrics.bootstrap import score_sums
from studies.config import ScoreByWordTypeConfig
from studies.evaluated_captions import EvaluatedCaptions, read_evaluated_captions
from studies.word_kinds import KINDS_OF_WORDS, score_words
from studies.word_properties import measure_properties
from studies.word_report import build_properties_tables, build_types_table, format_tables, write_word_report
from studies.wordnet import SOURCES, WordNet


def _compute_f1(sums: Float64Array) -> dict[str, Float64Array]:
    """Compute F1 in percent from the sums of the four counts of `score_words`, shape (resamples, 4)."""
    num_words, num_correct, num_agreed, num_recalled = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = num_correct / num_words, num_recalled / num_agreed
        # Without a correct word F1 is 0, also if the captions have no words of the type.
        return {"F1": np.nan_to_num(100 * 2 * precision * recall / (precision + recall))}


def measure_types(evaluated: EvaluatedCaptions, num_bootstrap: int) -> dict[str, Any]:
    """Measure F1 by type of word, with its 95% interval over scenes: "types" by name, and the facts.

    Precision is the share of the caption's words that any reference has. Recall is the share of words in at least two
    references that the caption has.
    """
    types = {}
    for kind in KINDS_OF_WORDS:
        counts = np.array(score_words(evaluated.captions, evaluated.references, kind), dtype=float).T
        values, intervals = score_sums(counts, _compute_f1, num_bootstrap)
        types[kind] = {"value": values["F1"], "interval": list(intervals["F1"])}
    return {**evaluated.facts, "types": types}


def build_word_table(folders: Sequence[Path], num_bootstrap: int) -> str:
    """Build a Markdown table of F1; one row per evaluation, one column per type of word.

    Raises:
        UserError: if a folder has no results, or if they are not captions of Picturebook.
    """
    measured = [measure_types(read_evaluated_captions(folder, builtin_only=True), num_bootstrap) for folder in folders]
    return format_tables([build_types_table(measured)])


def score_by_word_type(config: ScoreByWordTypeConfig) -> str:
    """Analyse the words of every evaluation, write a JSON file and a page, and return the tables as Markdown.

    Raises:
        UserError: if the words of an evaluation cannot be analysed.
    """
    folders = [path.parent for path in find_results(config.evaluations, "evaluations")]
    is_types = config.analysis == "types"
    wordnet = WordNet(Path(config.wordnet)) if config.wordnet else None
    measured = []
    for folder in folders:
        evaluated = read_evaluated_captions(folder, builtin_only=is_types)
        measured.append(
            measure_types(evaluated, config.num_bootstrap)
            if is_types
            else measure_properties(evaluated, config.num_words, config.num_bootstrap, wordnet)
        )
    tables = [build_types_table(measured)] if is_types else build_properties_tables(measured, config.num_words)
    notes = [] if is_types else list(dict.fromkeys(facts["note"] for facts in measured))
    if not is_types and wordnet is None:
        notes.append(f"Nouns have no categories and similarities, because wordnet= is not given. {SOURCES}.")
    return write_word_report(config, measured, tables, notes)


def main(config: ScoreByWordTypeConfig) -> None:
    """Run the analysis, and print its tables."""
    show(score_by_word_type(config))
