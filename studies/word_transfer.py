"""What of an image reaches the caption, by kind of word, for any captioning results on Picturebook."""

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
    """Of sums of things said, of them right, things to say, of them said."""
    num_said, num_right, num_wanted, num_told = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = num_right / num_said, num_told / num_wanted
        # Nothing right is 0, also where nothing was said.
        return {"F1": np.nan_to_num(100 * 2 * precision * recall / (precision + recall))}


def build_word_table(folders: Sequence[Path], num_bootstrap: int) -> str:
    """A Markdown table: an evaluation folder a row, a kind of word a column, F1 with its 95% interval over scenes.

    Precision is the share of what was said that some reference says; recall the share of what two references or more
    say that was said.

    Raises:
        UserError: if a folder holds no results, or none of captions of Picturebook.
    """
    rows = []
    for folder in folders:
        if not (folder / "results.json").is_file():
            raise UserError(
                f"{folder}: there is no results.json; give folders of evaluations, such as "
                "runs/captioning/latest/eval-test-image"
            )
        results = read_results(folder / "results.json", "evaluations")
        if results.data != "picturebook" or get_task(results.task).reads != CAPTIONS:
            raise UserError(f"{folder}: holds no captions of Picturebook; give evaluations of task=captioning on it")
        data_settings = [config["data"] for config in results.config.values() if config and config.get("data")]
        data = PicturebookData.model_validate(
            data_settings[-1]
        )  # of the test, where that is on other data than the training
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
