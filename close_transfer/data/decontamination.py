"""Loads the texts that are looked at for leakage, and says how training could leave out what leaks."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from close_transfer.config.data import (
    DataConfig,
)
from close_transfer.config.train import LEAK_SPLITS, TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.core.readers.open_file import is_file
from close_transfer.core.readers.texts import TextReader
from close_transfer.data.example_kinds import ExampleKind
from close_transfer.data.examples import Example
from close_transfer.data.leakage import collect_evaluation_texts, collect_training_texts, drop_leaked, find_leaks
from close_transfer.data.sources import load_examples
from close_transfer.data.sources.official_files import find_file


def exclude_overlap(
    config: TrainConfig, kind: ExampleKind, examples: Sequence[Example]
) -> tuple[list[Example], Counter[str]]:
    """Return training examples without what `exclude_overlap_with` names, and how much was left out.

    Args:
        config: settings of the training.
        kind: of the examples that the task reads.
        examples: the training split's.

    Raises:
        UserError: if what it names cannot be read.
    """
    if not config.exclude_overlap_with:
        return list(examples), Counter()
    reader = TextReader(config.data.bad_rows, Counter(), "data.on_bad_rows=skip")
    unwanted: list[str] = []
    for name in config.exclude_overlap_with:
        if name in LEAK_SPLITS:
            evaluation_examples = load_examples(config.data, kind, name).examples
            unwanted += collect_evaluation_texts(evaluation_examples, kind)
            continue
        if not is_file(Path(name)):
            raise UserError(
                f"exclude_overlap_with={name}: there is no such file; allowed are {', '.join(LEAK_SPLITS)}, and files of texts "
                "(.txt, .jsonl, .csv, .tsv, COCO's .json)"
            )
        unwanted += reader.read(Path(name), config.exclude_overlap_column, "exclude_overlap_with")
    remaining, num_removed = drop_leaked(examples, unwanted, kind)
    if not remaining:
        raise UserError(
            f"exclude_overlap_with={_format_list(config.exclude_overlap_with)}: leaves no training example; give text that is not the training text"
        )
    skipped = Counter({f"texts that are also in {', '.join(config.exclude_overlap_with)}": num_removed})
    if reader.skipped["unusable"]:
        skipped["unusable lines of exclude_overlap_with"] = reader.skipped["unusable"]
    return remaining, skipped


def check_leakage(
    trained: TrainConfig, kind: ExampleKind, data: DataConfig, split: str, examples: Sequence[Example]
) -> dict[str, Any]:
    """How much of the training text is evaluation text, or why that is not known.

    Args:
        trained: settings of the run.
        kind: of the examples that its task reads.
        data: what it is evaluated on.
        split: of these data.
        examples: what it is asked; their scenes' texts are read if they came without.
    """

    def load_training() -> list[Example]:
        return exclude_overlap(trained, kind, load_examples(trained.data, kind, "train").examples)[0]

    return measure_leakage(load_training, kind, data, split, examples)


def measure_leakage(
    load_training: Callable[[], Sequence[Example]],
    kind: ExampleKind,
    data: DataConfig,
    split: str,
    examples: Sequence[Example],
) -> dict[str, Any]:
    """The same for training examples that are read only if there is text to hold them against."""
    try:
        references = list(collect_evaluation_texts(examples, kind)) or _load_scene_texts(data, kind, split, examples)
    except UserError as error:
        return _report_unchecked(f"the evaluation scenes have no text: {error}")
    if not references:
        return _report_unchecked("the evaluation scenes have no text")
    try:
        training_examples = load_training()
    except UserError as error:  # the training data may be elsewhere by now
        return _report_unchecked(f"the training text cannot be read: {error}")
    return {"checked": True} | find_leaks(collect_training_texts(training_examples, kind), references).as_dict()


def _report_unchecked(reason: str) -> dict[str, Any]:
    return {"checked": False, "reason": reason}


def _load_scene_texts(data: DataConfig, kind: ExampleKind, split: str, examples: Sequence[Example]) -> list[str]:
    """The texts of the scenes that are asked about, where the images alone were loaded."""
    readable = data.prepare_for_texts(split)
    if readable is None:
        return []
    asked_ids = {example.id for example in examples}
    split_examples = load_examples(readable, kind, split).examples
    return list(collect_evaluation_texts((example for example in split_examples if example.id in asked_ids), kind))


def suggest_overlap_setting(trained: TrainConfig, data: DataConfig, split: str) -> str:
    """The setting of a training that leaves out the text of an evaluation split; empty if there is none."""
    before = trained.exclude_overlap_with or ()
    if trained.data.is_same_split(data, split):
        return (
            f"exclude_overlap_with={_format_list((*before, split))}"
            if split in LEAK_SPLITS and split not in before
            else ""
        )
    if data.is_generated:
        return ""
    file, column = _find_text_file(data, split)
    setting = f"exclude_overlap_with={_format_list((*before, file))}"
    return f"{setting} exclude_overlap_column={column}" if column else setting


def _format_list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"[{','.join(names)}]"


def _find_text_file(data: DataConfig, split: str) -> tuple[str, str]:
    """Return the file that holds the texts of a split, and their field; FILE if they must be written to one first."""
    for root, name in data.list_text_files(split):
        path = find_file(Path(root), name) if root else name
        if path is not None:
            return str(path), data.text_field
    return "FILE", ""
