"""Captions that an evaluation generated, with the references of the same images."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from close_transfer.config.data import DataConfig
from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import field, key_field, read_lines, verbatim
from close_transfer.data.example_kinds import CAPTIONS
from close_transfer.data.sources import load_examples
from close_transfer.evaluation.results import BUILTIN_DATASET, Results, read_results
from close_transfer.tasks import get_task


@dataclass(frozen=True)
class EvaluatedCaptions:
    """Captions of one evaluation.

    Attributes:
        folder: folder of the evaluation.
        data, split: dataset and split of the evaluation.
        captions: one caption per image.
        references: references of each image, in the same order.
    """

    folder: Path
    data: str
    split: str
    captions: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]

    @property
    def is_builtin(self) -> bool:
        """Return True if the images are Picturebook's."""
        return self.data == BUILTIN_DATASET

    @property
    def facts(self) -> dict[str, str]:
        """Return the facts about the evaluation that reports show."""
        return {"folder": str(self.folder), "data": self.data, "split": self.split}


def _read_data_settings(folder: Path, results: Results) -> DataConfig:
    """Return the settings of the evaluated data.

    Raises:
        UserError: if the results do not say them.
    """
    settings = [config["data"] for config in results.config.values() if config and config.get("data")]
    if not settings:
        raise UserError(f"{folder}: does not say which data it is on. Give evaluations of eval_image.py or baseline.py")
    try:
        # The last settings are the test's, if it is on other data than the training.
        data: DataConfig = TypeAdapter(DataConfig).validate_python(settings[-1])
    except ValidationError as error:
        raise UserError(
            f"{folder}: the settings of its data cannot be read ({error.errors()[0]['msg']}). Evaluate again"
        ) from None
    return data


def _read_captions(path: Path) -> dict[str, str]:
    """Return the captions by id.

    Raises:
        UserError: if the file is missing or damaged.
    """
    captions = {}
    for line, record in read_lines(path, "evaluations"):
        try:
            captions[key_field(record, "id")] = verbatim(field(record, "prediction"), "prediction")
        except RecordError as error:
            raise UserError(f"{path}, line {line}: {error}. The file is damaged: evaluate again") from None
    return captions


def read_evaluated_captions(folder: Path, builtin_only: bool = False) -> EvaluatedCaptions:
    """Read the captions of an evaluation folder, and load their references.

    Args:
        folder: folder with results.json and predictions.jsonl.
        builtin_only: whether to refuse captions of other datasets than Picturebook.

    Raises:
        UserError: if the folder has no results, or if they are not captions of the expected data.
    """
    if not (folder / "results.json").is_file():
        raise UserError(
            f"{folder}: has no results.json. Give folders of evaluations, such as runs/captioning/latest/eval-test-image"
        )
    results = read_results(folder / "results.json", "evaluations")
    expected = " of Picturebook" if builtin_only else ""
    if (builtin_only and results.data != BUILTIN_DATASET) or get_task(results.task).reads != CAPTIONS:
        hint = " on it, or analysis=properties" if builtin_only else ""
        raise UserError(f"{folder}: has no captions{expected}. Give evaluations of task=captioning{hint}")
    data = _read_data_settings(folder, results)
    references = {e.id: tuple(e.references) for e in load_examples(data, CAPTIONS, str(results.split)).examples}
    captions = _read_captions(folder / "predictions.jsonl")
    if missing := captions.keys() - references.keys():
        raise UserError(
            f"{folder}: data={data.name} no longer has {len(missing)} of its images, such as {min(missing)}. Evaluate again"
        )
    return EvaluatedCaptions(
        folder, results.data, str(results.split), tuple(captions.values()), tuple(references[name] for name in captions)
    )
