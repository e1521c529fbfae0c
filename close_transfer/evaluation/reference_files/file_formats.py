"""Detection of a file's kind, for the message about a file that was given to the wrong setting."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from close_transfer.core.readers.records import read_document, read_lines
from close_transfer.data.example_kinds import (
    ARTICLES,
    CAPTIONS,
    EXPLAINED_QUESTIONS,
    PAIRS,
    QUESTIONS,
    ROWS,
    ExampleKind,
)
from close_transfer.tasks import Task

_COCO, _KARPATHY, _CAPTIONS = "COCO's captions", "Karpathy's captions", "captions"
_ANNOTATIONS, _QUESTIONS, _VQA_E = "VQA's annotations", "VQA's questions", "VQA-E's questions with their answers"
_ANSWERS, _PAIRS = "answers to VQA's questions", "labelled pairs of SNLI or SNLI-VE"
_PREDICTIONS, _REFERENCES, _GROUPS = "predictions", "references", "several captions per image"

# By kind: the key of the list in the document (None: the document is the list), and fields of its entries.
_FIELDS_BY_KIND: Mapping[str, tuple[str | None, set[str]]] = {
    _COCO: ("annotations", {"image_id", "caption"}),
    _KARPATHY: ("images", {"sentences"}),
    _ANNOTATIONS: ("annotations", {"question_id", "answers"}),
    _QUESTIONS: ("questions", {"question_id", "question"}),
    _VQA_E: (None, {"img_id", "answers"}),
    _ANSWERS: (None, {"question_id", "answer"}),
    _PAIRS: (None, {"gold_label"}),
    _PREDICTIONS: (None, {"prediction"}),
    _REFERENCES: (None, {"references"}),
    _CAPTIONS: (None, {"caption"}),
    _GROUPS: (None, {"captions"}),
}

_CAPTION_KINDS = {_COCO, _KARPATHY, _CAPTIONS, _REFERENCES, _GROUPS}
# By the kind of examples that a task reads: kinds of file that hold its references, and their name in messages.
_REFERENCE_KINDS: Mapping[ExampleKind, tuple[set[str], str]] = {
    CAPTIONS: (_CAPTION_KINDS, "COCO's, Karpathy's or Flickr30k's captions"),
    ARTICLES: (_CAPTION_KINDS, "Visual News' list of entries with id and caption"),
    QUESTIONS: ({_ANNOTATIONS, _REFERENCES}, _ANNOTATIONS),
    EXPLAINED_QUESTIONS: ({_ANNOTATIONS, _VQA_E, _REFERENCES}, f"VQA-E's own file or {_ANNOTATIONS}"),
    ROWS: ({_CAPTIONS, _REFERENCES, _GROUPS}, "a list or JSON Lines with id and references"),
    PAIRS: ({_PAIRS}, "JSON Lines with pairID and gold_label"),
}
_PREDICTION_KINDS = {_PREDICTIONS, _ANSWERS, _CAPTIONS, _GROUPS}
_NUM_READ = 5  # entries that decide the kind; a first one may be damaged


def detect_kinds(path: Path, setting: str) -> list[str]:
    """Return the kinds of file that match the first entries; empty if none does or the file cannot be read.

    Args:
        path: path of the file.
        setting: setting that holds the path.
    """
    try:
        if path.name.removesuffix(".gz").endswith(".json"):
            document: Any = read_document(path, setting)
        else:
            document = [record for _, record in islice(read_lines(path, setting), _NUM_READ)]
    except UserError:
        return []
    return [kind for kind, (key, fields) in _FIELDS_BY_KIND.items() if _has_fields(document, key, fields)]


def _has_fields(document: Any, key: str | None, fields: set[str]) -> bool:
    entries = document.get(key) if isinstance(document, dict) and key is not None else document if key is None else None
    first_entries = entries[:_NUM_READ] if isinstance(entries, list) else []
    return any(isinstance(entry, dict) and fields <= entry.keys() for entry in first_entries)


def build_wrong_kind_error(path: Path, setting: str, task: type[Task]) -> UserError | None:
    """Return the error for a file of a known kind that the setting does not take; None if its kind may be right."""
    kinds = detect_kinds(path, setting)
    if setting == "predictions":
        allowed, advice = _PREDICTION_KINDS, "Give predictions: a list or JSON Lines, with an id and a text per entry"
    elif setting == "questions":
        allowed, advice = {_QUESTIONS}, f"Give {_QUESTIONS}"
    else:
        allowed, expected = _REFERENCE_KINDS.get(task.reads, _REFERENCE_KINDS[ROWS])
        advice = f"For task={task.name} give {expected}"
    if not kinds or allowed & set(kinds):
        return None
    return UserError(f"{setting}={path}: the file holds {kinds[0]}. {advice} (docs/evaluation.md)")
