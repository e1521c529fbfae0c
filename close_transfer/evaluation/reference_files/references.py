"""References from a dataset's official files, or from lists of entries.

Ids are converted to text, so that 42 and "42" are the same id.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from close_transfer.config.score_predictions import ScorePredictionsConfig
from close_transfer.core.errors import UserError
from close_transfer.core.readers.records import (
    entries,
    key_field,
    read_document,
    text_field,
    texts_field,
)
from close_transfer.core.readers.text_check import split_list
from close_transfer.data.example_kinds import ARTICLES, CAPTIONS, EXPLAINED_QUESTIONS, PAIRS, QUESTIONS
from close_transfer.data.examples import Example, ImageRef
from close_transfer.data.sources import snli, vqa
from close_transfer.data.sources.coco import is_karpathy, read_karpathy, read_official
from close_transfer.data.sources.images import make_file_ref
from close_transfer.evaluation.reference_files.entries import (
    EntryErrors,
    explain_wrong_kind,
    find_field,
    find_numbered,
    format_first,
    index_by_id,
    is_text_by_id,
    parse_entries,
    read_entries,
)
from close_transfer.evaluation.reference_files.ids import choose_ids, list_id_fields, read_ids
from close_transfer.tasks import Task, build_task

# Fields in the order they are looked for: this project's name first, then those of the datasets.
_REFERENCE_FIELDS = ("references", "captions", "caption")
_ANSWER_FIELDS = ("references", "answers", "captions", "caption")

_NO_LABEL = f"pairs without a gold label ({snli.NO_GOLD_LABEL})"
_NO_CAPTION = "images without a caption"


@dataclass
class References:
    """References that predictions are scored against.

    Attributes:
        examples: examples in the order of the file, without duplicate ids.
        notes: facts about the file for the user, one sentence each.
        left_out: ids of the file that are not scored, with the reason.
        skipped: number of entries left out, by reason.
    """

    examples: list[Example]
    left_out: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def read_references(config: ScorePredictionsConfig) -> References:
    """Read the references from any kind of file that suits the task.

    Raises:
        UserError: names file, entry and field of what cannot be used; also for duplicate ids, and if questions
            and annotations are not of the same split.
    """
    task = build_task(config.task)
    if config.questions is not None and task.reads not in (QUESTIONS, EXPLAINED_QUESTIONS):
        raise UserError(f"questions={config.questions}: task={task.name} has no questions. Leave questions= out")
    path = Path(config.references)
    is_json = path.name.removesuffix(".gz").endswith(".json")
    left_out: dict[str, str] = {}
    notes: list[str] = []
    with explain_wrong_kind(path, "references", type(task)):
        if task.reads == PAIRS:
            examples, left_out = _read_entailment_pairs(path)
        elif is_json and task.reads in (QUESTIONS, EXPLAINED_QUESTIONS):
            examples, notes = _read_vqa_answers(path, config, task)
        elif is_json and task.reads in (CAPTIONS, ARTICLES):
            examples, left_out, notes = _read_captions(path, config, task)
        else:
            examples, notes = _read_listed_references(path, config, task)
    if config.questions:
        with explain_wrong_kind(Path(config.questions), "questions", type(task)):
            examples = _add_questions(examples, Path(config.questions), config)
    example_by_id, num_repeated = index_by_id(((e.id, e) for e in examples), path, "references", config.on_duplicate)
    skipped = Counter({"repeated references": num_repeated}) + Counter(left_out.values())
    return References(list(example_by_id.values()), left_out, skipped, notes)


def _build_image_ref(config: ScorePredictionsConfig, record: Any, names: tuple[str, ...]) -> ImageRef | None:
    name = next((name for name in names if isinstance(record, dict) and name in record), None)
    if name is None:
        return None
    file = text_field(record, name).removeprefix("./")
    return make_file_ref(Path(config.images or ".") / file, file)


def _read_captions(
    path: Path, config: ScorePredictionsConfig, task: Task
) -> tuple[list[Example], dict[str, str], list[str]]:
    """Read COCO's or Karpathy's JSON, or a list of entries with an id and captions.

    Returns:
        Examples, the ids of images without captions with that reason, and notes for the user.
    """
    document = read_document(path, "references")
    if isinstance(document, list) or is_text_by_id(document):
        examples, notes = _read_listed_references(path, config, task)
        return examples, {}, notes
    folder, faults = Path(config.images or "."), EntryErrors(path)
    if is_karpathy(document):
        examples = read_karpathy(document, path, {config.split or "test"}, folder, faults, "references")
        faults.settle(len(examples))
        return examples, {}, []
    examples, _ = read_official(document, path, folder, faults, "references")
    faults.settle(len(examples))
    captioned_ids = {example.id for example in examples}
    image_ids = [key_field(image, "id") for image in document["images"]]
    return examples, {image_id: _NO_CAPTION for image_id in image_ids if image_id not in captioned_ids}, []


def _read_listed_references(path: Path, config: ScorePredictionsConfig, task: Task) -> tuple[list[Example], list[str]]:
    """Read entries with an id and references; return them with notes for the user."""
    # Annotators' answers are not normalized, because VQA's scorer does that itself.
    are_answers = task.verbatim_references
    id_fields = list_id_fields(task.reads)
    forms: dict[str, None] = {}

    def parse(record: Any) -> tuple[dict[str, str], Example]:
        record, reference_name, form = _gather_texts(record, _ANSWER_FIELDS if are_answers else _REFERENCE_FIELDS)
        find_field(record, id_fields)
        texts = vqa.parse_answers(record, reference_name) if are_answers else texts_field(record, reference_name)
        if form:
            forms[form] = None
        return read_ids(record, id_fields), Example(
            id="",
            texts=() if are_answers else texts,
            image=_build_image_ref(config, record, ("image", "image_path")),
            references=texts,
            category=text_field(record, "answer_type") if are_answers and "answer_type" in record else "",
            subcategory=text_field(record, "question_type") if are_answers and "question_type" in record else "",
        )

    rows = parse_entries(read_entries(path, "references"), parse, EntryErrors(path))
    ids, notes = choose_ids([ids for ids, _ in rows], id_fields, "references")
    notes += [f"references: {form}" for form in forms]
    examples = [replace(example, id=entry_id) for entry_id, (_, example) in zip(ids, rows, strict=True)]
    if task.writes_captions and config.on_duplicate == "error" and all(len(e.references) == 1 for e in examples):
        return _merge_captions(examples, notes)
    return examples, notes


def _gather_texts(record: Any, names: tuple[str, ...]) -> tuple[Any, str, str]:
    """Return an entry with its references as a list if they are in a cell or in numbered columns.

    Returns:
        The entry, the field of its references, and their form in the file; an empty form for a usual one.

    Raises:
        RecordError: if the entry has none of the fields.
    """
    has_field = isinstance(record, dict) and any(name in record for name in names)
    if not has_field and (numbered := find_numbered(record, names)):
        filled = [name for name in numbered if str(record[name] or "").strip()]
        gathered = {**record, names[0]: [record[name] for name in filled]}
        return gathered, names[0], f"the columns {', '.join(numbered)} are the references of one scene"
    name = find_field(record, names)
    value = record.get(name) if isinstance(record, dict) else None
    listed = split_list(value)
    if listed is value:
        return record, name, ""
    return {**record, name: listed}, name, f"cells of {name!r} hold lists, which are read as several texts each"


def _merge_captions(examples: list[Example], notes: list[str]) -> tuple[list[Example], list[str]]:
    """Merge entries with one caption each and the same id into one scene, as a table with one row per caption has them."""
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.id, []).append(example)
    if len(groups) == len(examples):
        return examples, notes
    captions = [tuple(e.references[0] for e in group) for group in groups.values()]
    merged = [
        replace(group[0], texts=texts, references=texts) for group, texts in zip(groups.values(), captions, strict=True)
    ]
    note = f"references: {len(examples):,} entries have one caption each and {len(merged):,} ids: entries of one id are one scene"
    return merged, [*notes, note]


def _read_entailment_pairs(path: Path) -> tuple[list[Example], dict[str, str]]:
    """Read pairs with a gold label, and the ids of pairs without one with that reason."""

    def parse(record: Any) -> tuple[str, Example | None]:
        pair_id = key_field(record, "pairID")
        # Scoring needs the labels only, so a file may leave the sentences out.
        placeholders = {"sentence1": "(not given)", "sentence2": "(not given)"}
        return pair_id, snli.parse_pair({**placeholders, **record}, path.parent)

    pairs = parse_entries(read_entries(path, "references"), parse, EntryErrors(path))
    examples = [example for _, example in pairs if example is not None]
    if not examples:
        raise UserError(f"references={path}: no pair has a gold label. Give a file with labels")
    return examples, {pair_id: _NO_LABEL for pair_id, example in pairs if example is None}


def _read_vqa_answers(path: Path, config: ScorePredictionsConfig, task: Task) -> tuple[list[Example], list[str]]:
    """Read VQA's annotations, VQA-E's list, or a list of entries with an id and answers."""
    document = read_document(path, "references")
    if (
        task.reads == EXPLAINED_QUESTIONS
        and isinstance(document, list)
        and any("img_id" in e for e in document if isinstance(e, dict))
    ):
        return _read_vqa_e_entries(path, document), []
    if isinstance(document, list) or is_text_by_id(document):
        return _read_listed_references(path, config, task)
    annotations = entries(document, "annotations", path, "references")

    def parse(record: Any) -> Example:
        annotation = vqa.parse_annotation(record)
        question_id = key_field(record, "question_id")
        return Example(
            question_id, (), None, "", (), annotation.answers, annotation.answer_type, annotation.question_type
        )

    rows = ((f"annotations[{number}]", record) for number, record in enumerate(annotations))
    return parse_entries(rows, parse, EntryErrors(path)), []


def _read_vqa_e_entries(path: Path, records: list[Any]) -> list[Example]:
    """Read VQA-E's list, whose entries have no ids: their ids are their positions, counted from 0."""

    def parse(numbered: Any) -> Example:
        number, record = numbered
        answers = vqa.parse_answers(record, "answers")
        question, kind = text_field(record, "question"), text_field(record, "question_type")
        return Example(str(number), (), None, question, references=answers, subcategory=kind)

    return parse_entries(
        ((f"entry [{number}]", (number, record)) for number, record in enumerate(records)), parse, EntryErrors(path)
    )


def _add_questions(examples: list[Example], path: Path, config: ScorePredictionsConfig) -> list[Example]:
    """Return the examples with their questions and images, in the order of the file of questions."""
    document = read_document(path, "questions")
    records = entries(document, "questions", path, "questions")
    part = vqa.find_image_part(document)

    def parse(record: Any) -> tuple[str, tuple[str, ImageRef | None]]:
        image_id = key_field(record, "image_id")
        image_name = vqa.format_coco_image_name(part, image_id) if part else ""
        image_ref = make_file_ref(Path(config.images or ".") / image_name, image_name) if image_name else None
        return key_field(record, "question_id"), (text_field(record, "question"), image_ref)

    rows = ((f"questions[{number}]", record) for number, record in enumerate(records))
    question_by_id, _ = index_by_id(
        parse_entries(rows, parse, EntryErrors(path)), path, "questions", config.on_duplicate
    )
    annotated_ids = {example.id for example in examples}
    for problem, ids in (
        (
            "questions have no annotation",
            [question_id for question_id in question_by_id if question_id not in annotated_ids],
        ),
        ("annotations have no question", [example.id for example in examples if example.id not in question_by_id]),
    ):
        if ids:
            raise UserError(
                f"questions={path}: {len(ids):,} {problem} in references={config.references} ({format_first(ids)}). "
                "Give the questions and annotations of the same split, or leave questions= out"
            )
    position = {question_id: number for number, question_id in enumerate(question_by_id)}
    completed_examples = [replace(e, prompt=question_by_id[e.id][0], image=question_by_id[e.id][1]) for e in examples]
    return sorted(completed_examples, key=lambda example: position[example.id])
