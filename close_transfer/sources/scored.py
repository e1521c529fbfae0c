"""Files to score: any system's predictions, and the references of the dataset's own files.

Ids are text here, so that 42 and "42" are one. Predictions are kept to the letter, as the official
scorers have their own ways with spaces and case.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from close_transfer.config.scoring import OnDuplicate, ScoreConfig
from close_transfer.errors import UserError
from close_transfer.examples import Example, ImageRef
from close_transfer.sources import questions, snli
from close_transfer.sources.coco import is_karpathy, karpathy_examples, official_examples
from close_transfer.sources.faults import Fault, Faults
from close_transfer.sources.images import image_file
from close_transfer.sources.records import (
    entries,
    key_field,
    line_format,
    list_field,
    read_document,
    read_lines,
    text_field,
    texts_field,
    verbatim,
)
from close_transfer.sources.records import field as record_field

_ID_FIELDS = ("id", "image_id", "question_id", "pairID", "image")
_PREDICTION_FIELDS = ("prediction", "caption", "answer")
_REFERENCE_FIELDS = ("references", "captions", "caption")
_NUM_SHOWN = 5

T = TypeVar("T")


@dataclass
class References:
    """What predictions are scored against.

    Attributes:
        examples: in the order of the file, each id once.
        left_out: ids that the file holds and nobody is scored on.
        skipped: how many were left out, by reason.
    """

    examples: list[Example]
    left_out: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)


class _Entries(Faults):
    """Faults of a file that is scored: none of them is skipped."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "error", "entries")

    def settle(self, num_usable: int) -> Counter[str]:
        if self.count:
            more = self.count - len(self._shown)
            told = [*self._shown, *([f"and {more} more such entries"] if more else [])]
            raise UserError("\n".join(told) + "\nmend the file, or take those entries out of it")
        if not num_usable:
            raise UserError(f"{self._path}: there is no entry to score in it; give another file")
        return Counter()


def first_few(ids: Iterable[str]) -> str:
    """The first ids, for a message."""
    shown = list(ids)
    return ", ".join(shown[:_NUM_SHOWN]) + (", ..." if len(shown) > _NUM_SHOWN else "")


def _records(path: Path, setting: str) -> Iterator[tuple[str, Any]]:
    """(place, record) of a JSON list or of JSON lines."""
    if path.name.removesuffix(".gz").endswith(".json"):
        for number, record in enumerate(entries(read_document(path, setting), None, path, setting)):
            yield f"entry [{number}]", record
    elif line_format(path, setting) != ".jsonl":
        raise UserError(f"{setting}={path}: allowed are .json and .jsonl, each also with .gz")
    else:
        for line, record in read_lines(path, setting):
            yield f"line {line}", record


def _parsed(rows: Iterable[tuple[str, Any]], parse: Callable[[Any], T], faults: Faults) -> list[T]:
    """What `parse` makes of every record; those it refuses are faults."""
    parsed = []
    for where, record in rows:
        try:
            parsed.append(parse(record))
        except Fault as fault:
            faults.add(where, fault)
    faults.settle(len(parsed))
    return parsed


def _distinct(
    rows: Iterable[tuple[str, T]], path: Path, setting: str, on_duplicate: OnDuplicate
) -> tuple[dict[str, T], int]:
    """What each id stands for, in the order of the file, and how many entries were left out.

    Raises:
        UserError: if an id comes more than once, unless told which of its entries counts.
    """
    kept: dict[str, T] = {}
    repeated: Counter[str] = Counter()
    for name, value in rows:
        if name in kept:
            repeated[name] += 1
            if on_duplicate == "first":
                continue
        kept[name] = value
    if repeated and on_duplicate == "error":
        raise UserError(
            f"{setting}={path}: {len(repeated):,} ids come more than once ({first_few(repeated)}); mend the file, "
            "or say which entry of an id counts with on_duplicate=first or on_duplicate=last"
        )
    return kept, repeated.total()


def _named(record: Any, names: tuple[str, ...], mend: str = "") -> str:
    """The first of the names that the record has. Raises `Fault` if it has none."""
    if isinstance(record, dict) and not any(name in record for name in names):
        have = ", ".join(repr(str(key)[:60]) for key in list(record)[:12]) or "none"
        raise Fault(f"none of the fields {', '.join(names)} is here, only {have}{mend}")
    return next((name for name in names if isinstance(record, dict) and name in record), names[0])


def read_predictions(config: ScoreConfig) -> tuple[dict[str, str], int]:
    """Predicted text by id, and how many repeated entries were left out.

    Raises:
        UserError: naming file, entry and field of what cannot be used; and for repeated ids.
    """
    path = Path(config.predictions)
    id_fields = (config.id_field,) if config.id_field else _ID_FIELDS
    text_fields = (config.prediction_field,) if config.prediction_field else _PREDICTION_FIELDS

    def parse(record: Any) -> tuple[str, str]:
        name = _named(record, id_fields, "; name it with id_field=")
        answer = _named(record, text_fields, "; name it with prediction_field=")
        return key_field(record, name), verbatim(record_field(record, answer), answer)

    rows = _parsed(_records(path, "predictions"), parse, _Entries(path))
    return _distinct(rows, path, "predictions", config.on_duplicate)


def read_references(config: ScoreConfig) -> References:
    """What the predictions are scored against, from whichever kind of file is given.

    Raises:
        UserError: naming file, entry and field of what cannot be used; for repeated ids; and if questions
            and annotations do not belong together.
    """
    path = Path(config.references)
    left_out: set[str] = set()
    if config.task == "snli-ve":
        examples, left_out = _entailment(path)
    elif path.name.removesuffix(".gz").endswith(".json"):
        examples = (_answers if config.task in ("vqa", "vqa-e") else _captions)(path, config)
    else:
        examples = _lines(path, config)
    distinct, num_repeated = _distinct(((e.id, e) for e in examples), path, "references", config.on_duplicate)
    skipped = {
        "repeated references": num_repeated,
        f"pairs without a gold label ({snli.NO_GOLD_LABEL})": len(left_out),
    }
    return References(list(distinct.values()), left_out, Counter({k: n for k, n in skipped.items() if n}))


def _picture(config: ScoreConfig, record: Any, names: tuple[str, ...]) -> ImageRef | None:
    name = next((name for name in names if isinstance(record, dict) and name in record), None)
    if name is None:
        return None
    file = text_field(record, name).removeprefix("./")
    return image_file(Path(config.images or ".") / file, file)


def _captions(path: Path, config: ScoreConfig) -> list[Example]:
    """COCO's JSON, Karpathy's, or a list of entries with an id and captions."""
    document = read_document(path, "references")
    if isinstance(document, list):
        return _lines(path, config)
    folder, faults = Path(config.images or "."), _Entries(path)
    if is_karpathy(document):
        examples = karpathy_examples(document, path, {config.split or "test"}, folder, faults, "references")
        if not examples and not faults.count:
            have = Counter(str(one.get("split")) for one in document["images"] if isinstance(one, dict))
            raise UserError(f"references={path}: no image of split={config.split or 'test'}; there are {dict(have)}")
    else:
        examples, _ = official_examples(document, path, folder, faults, "references")
    faults.settle(len(examples))
    return examples


def _lines(path: Path, config: ScoreConfig) -> list[Example]:
    answers = config.task in ("vqa", "vqa-e")

    def parse(record: Any) -> Example:
        name = _named(record, _REFERENCE_FIELDS)
        if answers:
            texts = tuple(verbatim(one, name) for one in list_field(record, name))
            if not texts:
                raise Fault(f"field {name!r} is an empty list")
        else:
            texts = texts_field(record, name)
        return Example(
            id=key_field(record, _named(record, _ID_FIELDS)),
            texts=() if answers else texts,
            image=_picture(config, record, ("image", "image_path")),
            references=texts,
            category=text_field(record, "answer_type") if answers and "answer_type" in record else "",
            subcategory=text_field(record, "question_type") if answers and "question_type" in record else "",
        )

    return _parsed(_records(path, "references"), parse, _Entries(path))


def _entailment(path: Path) -> tuple[list[Example], set[str]]:
    """Pairs with a gold label, and the ids of those without."""

    def parse(record: Any) -> tuple[str, Example | None]:
        name = key_field(record, "pairID")
        unsaid = {"sentence1": "(not given)", "sentence2": "(not given)"}
        return name, snli.example_of({**unsaid, **record}, path.parent)

    pairs = _parsed(_records(path, "references"), parse, _Entries(path))
    examples = [example for _, example in pairs if example is not None]
    if not examples:
        raise UserError(f"references={path}: no pair has a gold label; give a file with labels")
    return examples, {name for name, example in pairs if example is None}


def _answers(path: Path, config: ScoreConfig) -> list[Example]:
    """VQA's annotations; with the questions file also what was asked, in its order."""
    document = read_document(path, "references")
    if isinstance(document, list):
        return _lines(path, config)
    listed = entries(document, "annotations", path, "references")

    def parse(record: Any) -> Example:
        found = questions.annotation_of(record)
        name = key_field(record, "question_id")
        return Example(name, (), None, "", (), found.answers, found.answer_type, found.question_type)

    rows = ((f"annotations[{number}]", record) for number, record in enumerate(listed))
    examples = _parsed(rows, parse, _Entries(path))
    return _with_questions(examples, Path(config.questions), config) if config.questions else examples


def _with_questions(examples: list[Example], path: Path, config: ScoreConfig) -> list[Example]:
    document = read_document(path, "questions")
    listed = entries(document, "questions", path, "questions")
    pictures = document.get("data_subtype")

    def parse(record: Any) -> tuple[str, tuple[str, ImageRef | None]]:
        image = key_field(record, "image_id")
        name = questions.coco_image_name(Path(pictures), image) if isinstance(pictures, str) else ""
        picture = image_file(Path(config.images or ".") / name, name) if name else None
        return key_field(record, "question_id"), (text_field(record, "question"), picture)

    rows = ((f"questions[{number}]", record) for number, record in enumerate(listed))
    asked, _ = _distinct(_parsed(rows, parse, _Entries(path)), path, "questions", config.on_duplicate)
    annotated = {example.id for example in examples}
    for what, ids in (
        ("questions have no annotation", [name for name in asked if name not in annotated]),
        ("annotations have no question", [example.id for example in examples if example.id not in asked]),
    ):
        if ids:
            raise UserError(
                f"questions={path}: {len(ids):,} {what} in references={config.references} ({first_few(ids)}); "
                "give the questions and annotations of the same split, or leave questions= out"
            )
    place = {name: number for number, name in enumerate(asked)}
    told = [replace(e, prompt=asked[e.id][0], image=asked[e.id][1]) for e in examples]
    return sorted(told, key=lambda example: place[example.id])
