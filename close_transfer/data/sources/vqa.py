"""Questions about images: VQA v2 and VQA-E.

VQA v2 (Goyal et al., arXiv 1612.00837) has a file of questions and one of annotations. The text of a scene is the
COCO captions of its image (CLOSE, arXiv 2211.09778, section 4.3). In VQA-E (Li et al., arXiv 1803.07464)
it is the first explanation.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from close_transfer.config.data import Vqa2Data, VqaEData
from close_transfer.core.errors import UserError
from close_transfer.core.readers.record_errors import RecordError, RecordErrors
from close_transfer.core.readers.records import (
    entries,
    field,
    key_field,
    list_field,
    new_key,
    read_document,
    text_field,
    verbatim,
)
from close_transfer.data.examples import Example
from close_transfer.data.sources.coco import read_official
from close_transfer.data.sources.images import make_file_ref, resolve_inside
from close_transfer.data.sources.loaded import LoadedSplit
from close_transfer.data.sources.official_files import get_image_folder, open_official_file

_PART = re.compile(r"[A-Za-z0-9-]+")  # becomes a part of a file's name


@dataclass(frozen=True)
class Annotation:
    """Answers to one question, one per annotator."""

    answers: tuple[str, ...]
    answer_type: str
    question_type: str


def parse_answers(entry: Any, name: str) -> tuple[str, ...]:
    """Return the texts of a list of answers: texts, or objects with `answer` as VQA and VizWiz have them.

    Raises `RecordError`.
    """
    # An answer may be empty or all spaces. The scorer strips it, and counts an annotator who wrote nothing.
    answers = tuple(
        verbatim(field(answer, "answer"), "answer") if isinstance(answer, dict) else verbatim(answer, name)
        for answer in list_field(entry, name)
    )
    if not answers:
        raise RecordError(f"field {name!r} is an empty list")
    return answers


def parse_annotation(entry: Any) -> Annotation:
    """Parse one entry of an official annotations file. Raises `RecordError`."""
    answers = parse_answers(entry, "answers")
    return Annotation(answers, text_field(entry, "answer_type"), text_field(entry, "question_type"))


def read_annotations(path: Path, setting: str, faults: RecordErrors) -> dict[str, Annotation]:
    """Return the answers of an official annotations file, by question id."""
    annotations = {}
    seen_ids: set[str] = set()
    for number, entry in enumerate(entries(read_document(path, setting), "annotations", path, setting)):
        try:
            annotations[new_key(entry, "question_id", seen_ids)] = parse_annotation(entry)
        except RecordError as fault:
            faults.add(f"annotations[{number}]", fault)
    return annotations


def format_coco_image_name(part: str, image_id: str) -> str:
    """Return the file name of a COCO image of 2014 or 2015, which contains the name of its part, such as val2014."""
    return f"COCO_{part}_{image_id.zfill(12)}.jpg"


def find_image_part(document: Any) -> str | None:
    """Return the part of COCO that a file of questions names as `data_subtype`, None if it names none."""
    part = document.get("data_subtype") if isinstance(document, dict) else None
    if not isinstance(part, str) or not _PART.fullmatch(part):
        return None
    return part.replace("test-dev", "test")  # test-dev is a subset of the images of test


def _read_captions(data: Vqa2Data, split: str, skipped: Counter[str]) -> dict[str, tuple[str, ...]]:
    """Return the captions by image id; add the number of unusable entries to `skipped`."""
    path, setting = open_official_file(data, split, "captions")
    faults = RecordErrors(path, data.on_bad_rows, "caption entries")
    examples, _ = read_official(read_document(path, setting), path, Path(data.captions_root), faults, setting)
    skipped += faults.settle(len(examples))
    return {example.id: example.texts for example in examples}


def _read_answers(data: Vqa2Data, split: str, skipped: Counter[str]) -> dict[str, Annotation] | None:
    """Return the answers by question id, None if they are not public; add unusable entries to `skipped`."""
    if split not in data.annotations:
        return None
    path, setting = open_official_file(data, split, "annotations")
    faults = RecordErrors(path, data.on_bad_rows, "annotations")
    annotations = read_annotations(path, setting, faults)
    skipped += faults.settle(len(annotations))
    return annotations


@dataclass(frozen=True)
class _Question:
    """One usable entry of an official questions file."""

    id: str
    image: str
    text: str


def _read_questions(data: Vqa2Data, split: str, skipped: Counter[str]) -> tuple[list[_Question], set[str], str | None]:
    """Return the usable questions, the ids of all entries and the images' part; add unusable entries to `skipped`."""
    path, setting = open_official_file(data, split)
    faults = RecordErrors(path, data.on_bad_rows, "questions")
    questions: list[_Question] = []
    seen_ids: set[str] = set()
    document = read_document(path, setting)
    for number, entry in enumerate(entries(document, "questions", path, setting)):
        try:
            name, image = new_key(entry, "question_id", seen_ids), key_field(entry, "image_id")
            resolve_inside(Path(), image, "image_id")
            questions.append(_Question(name, image, text_field(entry, "question")))
        except RecordError as fault:
            faults.add(f"questions[{number}]", fault)
    skipped += faults.settle(len(questions))
    return questions, seen_ids, find_image_part(document)


def load_vqa2(data: Vqa2Data, split: str, texts_needed: bool) -> LoadedSplit:
    """Return the questions of one split, each with its scene's captions and all annotators' answers.

    If there is no annotations file (test-dev), questions have no references: they can be answered but not scored.

    Args:
        data: settings of the dataset.
        split: "train", "val" or "test".
        texts_needed: True to leave out questions without captions; False to read no captions at all.

    Raises:
        UserError: names file, entry and field of unusable entries; with the counts, if images have no caption and
            `on_missing_scene` is "error".
    """
    skipped: Counter[str] = Counter()
    annotations = _read_answers(data, split, skipped)
    captions = _read_captions(data, split, skipped) if texts_needed else {}
    questions, ids, part = _read_questions(data, split, skipped)
    answered = questions if annotations is None else [question for question in questions if question.id in annotations]
    if not answered:
        raise UserError(
            f"none of the {len(questions):,} questions of {split} has an annotation in data.annotations.{split}="
            f"{_get_file(data.annotations, split)}. Give the annotations of the same questions"
        )
    captioned = [question for question in answered if question.image in captions] if texts_needed else answered
    _check_missing(data, split, len(answered) - len(captioned), len(answered))
    folder = get_image_folder(data, split)
    examples = []
    for question in captioned:
        annotation = annotations[question.id] if annotations is not None else Annotation((), "", "")
        # The file of questions knows its images; the folder may have any name, such as `images`.
        file = format_coco_image_name(part or folder.name, question.image)
        image = make_file_ref(folder / file, file)
        examples.append(
            Example(
                question.id,
                captions.get(question.image, ()),
                image,
                question.text,
                (),
                annotation.answers,
                annotation.answer_type,
                annotation.question_type,
            )
        )
    left_out = {
        "questions whose image has no caption": len(answered) - len(captioned),
        "questions without an annotation": len(questions) - len(answered),
        "annotations without a question": len((annotations or {}).keys() - ids),
    }
    return LoadedSplit(examples, skipped + Counter(left_out))


def _get_file(files: Mapping[Any, str], split: str) -> str:
    return files[split]


def _check_missing(data: Vqa2Data, split: str, num_uncaptioned: int, num_questions: int) -> None:
    if num_uncaptioned and data.on_missing_scene == "error":
        raise UserError(
            f"{num_uncaptioned:,} of {num_questions:,} questions of {split} are about images without a caption in data.captions.{split}="
            f"{_get_file(data.captions, split)}. Give the captions of the same images, or leave these questions out "
            "and count them with data.on_missing_scene=skip"
        )
    if num_uncaptioned and num_uncaptioned == num_questions:
        raise UserError(
            f"none of the {num_questions:,} questions of {split} is about an image with a caption in data.captions.{split}="
            f"{_get_file(data.captions, split)}. Give the captions of the same images"
        )


def load_vqa_e(data: VqaEData, split: str) -> LoadedSplit:
    """Return the questions of one split, each with its first explanation as the scene's text.

    The file has no question ids: an example's id is its entry's position in the file, counted from 0. The file has
    no answer types either, so scores are by question type only.

    Raises:
        UserError: names file, entry and field of unusable entries.
    """
    path, setting = open_official_file(data, split)
    faults = RecordErrors(path, data.on_bad_rows, "entries")
    folder = get_image_folder(data, split)
    examples = []
    for number, entry in enumerate(entries(read_document(path, setting), None, path, setting)):
        try:
            image = key_field(entry, "img_id")
            resolve_inside(Path(), image, "img_id")
            explanation = list_field(entry, "explanation")
            if not explanation:
                raise RecordError("field 'explanation' is an empty list")
            answers = parse_answers(entry, "answers")
            file = format_coco_image_name(folder.name, image)
            examples.append(
                Example(
                    id=str(number),  # independent of the split, because the validation set is also the test set
                    texts=(text_field({"explanation": explanation[0]}, "explanation"),),
                    image=make_file_ref(folder / file, file),
                    prompt=text_field(entry, "question"),
                    references=answers,
                    subcategory=text_field(entry, "question_type"),
                )
            )
        except RecordError as fault:
            faults.add(f"entry [{number}]", fault)
    return LoadedSplit(examples, faults.settle(len(examples)))
