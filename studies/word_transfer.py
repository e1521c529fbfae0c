"""F1 of generated captions by type of word (kind, colour, count, ...), for captioning results on Picturebook."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from close_transfer.config.data import PicturebookData
from close_transfer.core.arrays import Float64Array
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.markdown import format_table
from close_transfer.data.example_kinds import CAPTIONS
from close_transfer.data.sources import load_examples
from close_transfer.evaluation.results import find_results, read_results
from close_transfer.metrics.bootstrap import score_sums
from close_transfer.tasks import get_task
from studies.config import ScoreByWordTypeConfig
from studies.word_kinds import KINDS_OF_WORDS, score_words


def _compute_f1(sums: Float64Array) -> dict[str, Float64Array]:
    """Compute F1 in percent from the sums of the four counts of `score_words`, shape (resamples, 4)."""
    num_words, num_correct, num_agreed, num_recalled = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = num_correct / num_words, num_recalled / num_agreed
        # Without a correct word F1 is 0, also if the captions have no words of the type.
        return {"F1": np.nan_to_num(100 * 2 * precision * recall / (precision + recall))}


def build_word_table(folders: Sequence[Path], num_bootstrap: int) -> str:
    """Build a Markdown table of F1 with its 95% interval over scenes; one row per evaluation, one column per type of word.

    Precision is the share of the caption's words that any reference has. Recall is the share of words in at least two
    references that the caption has.

    Raises:
        UserError: if a folder has no results, or if they are not captions of Picturebook.
    """
    rows = []
    for folder in folders:
        if not (folder / "results.json").is_file():
            raise UserError(
                f"{folder}: has no results.json. Give folders of evaluations, such as "
                "runs/captioning/latest/eval-test-image"
            )
        results = read_results(folder / "results.json", "evaluations")
        if results.data != "picturebook" or get_task(results.task).reads != CAPTIONS:
            raise UserError(f"{folder}: has no captions of Picturebook. Give evaluations of task=captioning on it")
        data_settings = [config["data"] for config in results.config.values() if config and config.get("data")]
        # The last settings are the test's, if it is on other data than the training.
        data = PicturebookData.model_validate(data_settings[-1])
        references = {e.id: e.references for e in load_examples(data, CAPTIONS, str(results.split)).examples}
        predictions = [
            json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        captions = [prediction["prediction"] for prediction in predictions]
        cells = []
        for kind in KINDS_OF_WORDS:
            counts = np.array(
                score_words(captions, [references[prediction["id"]] for prediction in predictions], kind), dtype=float
            ).T
            values, intervals = score_sums(counts, _compute_f1, num_bootstrap)
            low, high = intervals["F1"]
            cells.append(f"{values['F1']:.1f} ({low:.1f} to {high:.1f})")
        rows.append([str(folder), *cells])
    return format_table(["results", *KINDS_OF_WORDS], rows)


def main(config: ScoreByWordTypeConfig) -> None:
    """Print the table."""
    show(
        build_word_table(
            [path.parent for path in find_results(config.evaluations, "evaluations")], config.num_bootstrap
        )
    )
