"""Train/test overlap of a run: removing it before training, measuring it, and the setting that removes it."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from close_transfer.config.captioned_images import CaptionedImagesConfig
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
    config: TrainConfig | CaptionedImagesConfig, kind: ExampleKind, examples: Sequence[Example]
) -> tuple[Sequence[Example], Counter[str]]:
    """Return training examples without the texts that `exclude_overlap_with` names.

    Args:
        config: settings of the training.
        kind: kind of examples that the task reads.
        examples: examples of the training split.

    Returns:
        The remaining examples, and the number of removed texts by reason.

    Raises:
        UserError: if a named file or split cannot be read, or no example remains.
    """
    if not config.exclude_overlap_with:
        return examples, Counter()
    switch = "data.check_text=false" if getattr(config.data, "check_text", True) else None
    reader = TextReader(config.data.bad_rows, Counter(), "data.on_bad_rows=skip", switch)
    unwanted: list[str] = []
    for name in config.exclude_overlap_with:
        if name in LEAK_SPLITS:
            evaluation_examples = load_examples(config.data, kind, name).examples
            unwanted += collect_evaluation_texts(evaluation_examples, kind)
            continue
        if not is_file(Path(name)):
            raise UserError(
                f"exclude_overlap_with={name}: there is no such file. Give {', '.join(LEAK_SPLITS)}, or a file of texts "
                "(.txt, .jsonl, .csv, .tsv, COCO's .json)"
            )
        unwanted += reader.read(Path(name), config.exclude_overlap_column, "exclude_overlap_with")
    remaining, num_removed = drop_leaked(examples, unwanted, kind)
    if not remaining:
        raise UserError(
            f"exclude_overlap_with={_format_list(config.exclude_overlap_with)}: no training example would remain. "
            "Give text other than the training text"
        )
    skipped = Counter({f"texts that are also in {', '.join(config.exclude_overlap_with)}": num_removed})
    if reader.skipped["unusable"]:
        skipped["unusable lines of exclude_overlap_with"] = reader.skipped["unusable"]
    return remaining, skipped


def check_leakage(
    trained: TrainConfig, kind: ExampleKind, data: DataConfig, split: str, examples: Sequence[Example]
) -> dict[str, Any]:
    """Measure how much of a run's training text is evaluation text.

    Args:
        trained: settings of the run.
        kind: kind of examples that its task reads.
        data: the evaluation data.
        split: split of the evaluation data.
        examples: evaluation examples; their scenes' texts are read from the data if they lack them.

    Returns:
        The fields of `Leaks` with "checked": True, or "checked": False and the "reason".
    """

    def load_training() -> Sequence[Example]:
        return exclude_overlap(trained, kind, load_examples(trained.data, kind, "train").examples)[0]

    return measure_leakage(load_training, kind, data, split, examples)


def measure_leakage(
    load_training: Callable[[], Sequence[Example]],
    kind: ExampleKind,
    data: DataConfig,
    split: str,
    examples: Sequence[Example],
) -> dict[str, Any]:
    """Measure leakage as `check_leakage` does; `load_training` is called only if there is text to compare with."""
    try:
        references = list(collect_evaluation_texts(examples, kind)) or _load_scene_texts(data, kind, split, examples)
    except UserError as error:
        return _report_unchecked(f"the evaluation scenes have no text: {error}")
    if not references:
        return _report_unchecked("the evaluation scenes have no text")
    try:
        training_examples = load_training()
    except UserError as error:  # the training data may have been moved since training
        return _report_unchecked(f"the training text cannot be read: {error}")
    return {"checked": True} | find_leaks(collect_training_texts(training_examples, kind), references).as_dict()


def _report_unchecked(reason: str) -> dict[str, Any]:
    return {"checked": False, "reason": reason}


def _load_scene_texts(data: DataConfig, kind: ExampleKind, split: str, examples: Sequence[Example]) -> list[str]:
    """Return the texts of the examples' scenes, for examples that were loaded with their images only."""
    readable = data.prepare_for_texts(split)
    if readable is None:
        return []
    evaluated_ids = {example.id for example in examples}
    split_examples = load_examples(readable, kind, split).examples
    return list(collect_evaluation_texts((example for example in split_examples if example.id in evaluated_ids), kind))


def suggest_overlap_setting(trained: TrainConfig, data: DataConfig, split: str) -> str:
    """Return the setting that removes an evaluation split's text from training; empty if there is none."""
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
    """Return the file with the texts of a split, and their field; "FILE" if no existing file holds them."""
    for root, name in data.list_text_files(split):
        path = find_file(Path(root), name) if root else name
        if path is not None:
            return str(path), data.text_field
    return "FILE", ""
