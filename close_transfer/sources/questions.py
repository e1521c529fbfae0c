"""Questions about pictures: VQA v2 and VQA-E.

VQA v2 (Goyal et al., arXiv 1612.00837) comes as questions and annotations; the words of a scene are the
COCO captions of its picture (CLOSE, arXiv 2211.09778, section 4.3). In VQA-E (Li et al., arXiv 1803.07464)
the first explanation is the scene's text.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from close_transfer.config.data import Vqa2Data, VqaEData
from close_transfer.errors import UserError
from close_transfer.examples import Example
from close_transfer.sources.coco import official_examples
from close_transfer.sources.faults import Fault, Faults
from close_transfer.sources.images import image_file
from close_transfer.sources.loaded import Loaded
from close_transfer.sources.official import image_folder, official_file
from close_transfer.sources.records import (
    entries,
    field,
    key_field,
    list_field,
    new_key,
    read_document,
    text_field,
    verbatim,
)


@dataclass(frozen=True)
class Annotation:
    """What people answered to one question, one answer an annotator."""

    answers: tuple[str, ...]
    answer_type: str
    question_type: str


def annotation_of(entry: Any) -> Annotation:
    """One entry of an official annotations file. Raises `Fault`."""
    # An answer may be empty or all spaces; the scorer strips it, and an annotator who said nothing counts.
    answers = [verbatim(field(one, "answer"), "answer") for one in list_field(entry, "answers")]
    if not answers:
        raise Fault("field 'answers' is an empty list")
    return Annotation(tuple(answers), text_field(entry, "answer_type"), text_field(entry, "question_type"))


def read_annotations(path: Path, setting: str, faults: Faults) -> dict[str, Annotation]:
    """Answers by question id, of an official annotations file."""
    annotations = {}
    seen: set[str] = set()
    for number, entry in enumerate(entries(read_document(path, setting), "annotations", path, setting)):
        try:
            annotations[new_key(entry, "question_id", seen)] = annotation_of(entry)
        except Fault as fault:
            faults.add(f"annotations[{number}]", fault)
    return annotations


def coco_image_name(folder: Path, image_id: str) -> str:
    """File name of a COCO picture of 2014 or 2015, whose folder is part of the name."""
    return f"COCO_{folder.name}_{image_id.zfill(12)}.jpg"


def _captions(data: Vqa2Data, split: str) -> tuple[dict[str, tuple[str, ...]], Counter[str]]:
    path, setting = official_file(data, split, "captions")
    faults = Faults(path, data.on_bad_rows, "caption entries")
    examples, _ = official_examples(read_document(path, setting), path, Path(data.captions_root), faults, setting)
    return {example.id: example.texts for example in examples}, faults.settle(len(examples))


def load_vqa2(data: Vqa2Data, split: str, texts_needed: bool) -> Loaded:
    """The questions of one split, each with its scene's captions and all annotators' answers.

    Where there is no annotations file (test-dev), questions come without references and can be
    answered but not scored.

    Args:
        data: where the files are.
        split: "train", "val" or "test".
        texts_needed: whether a question without scene text is of no use; without it, captions are
            not even read.

    Raises:
        UserError: naming file, entry and field of what cannot be used; and with the counts, if
            pictures have no caption and `on_missing_scene` is "error".
    """
    path, setting = official_file(data, split)
    faults = Faults(path, data.on_bad_rows, "questions")
    annotations: dict[str, Annotation] | None = None
    skipped: Counter[str] = Counter()
    if split in data.annotations:
        answers_path, answers_setting = official_file(data, split, "annotations")
        answer_faults = Faults(answers_path, data.on_bad_rows, "annotations")
        annotations = read_annotations(answers_path, answers_setting, answer_faults)
        skipped += answer_faults.settle(len(annotations))
    captions: dict[str, tuple[str, ...]] = {}
    if texts_needed:
        captions, unusable = _captions(data, split)
        skipped += unusable
    folder = image_folder(data, split)
    examples, num_untold, num_unanswered = [], 0, 0
    seen: set[str] = set()
    for number, entry in enumerate(entries(read_document(path, setting), "questions", path, setting)):
        try:
            name, image = new_key(entry, "question_id", seen), key_field(entry, "image_id")
            question = text_field(entry, "question")
        except Fault as fault:
            faults.add(f"questions[{number}]", fault)
            continue
        if annotations is not None and name not in annotations:
            num_unanswered += 1
            continue
        if texts_needed and image not in captions:
            num_untold += 1
            continue
        found = annotations[name] if annotations is not None else Annotation((), "", "")
        file = coco_image_name(folder, image)
        picture = image_file(folder / file, file)
        examples.append(
            Example(name, captions.get(image, ()), picture, question, (), found.answers, found.answer_type, found.question_type)
        )  # fmt: skip
    _check_missing(data, split, num_untold, num_untold + len(examples))
    if num_unanswered and not examples and not faults.count:
        raise UserError(
            f"none of the {num_unanswered:,} questions of {split} has an annotation in data.annotations.{split}={answers_path}; "
            "give the annotations of the same questions"
        )
    left_out = {
        "questions whose picture has no caption": num_untold,
        "questions without an annotation": num_unanswered,
        "annotations without a question": len((annotations or {}).keys() - seen),
    }
    return Loaded(examples, skipped + faults.settle(len(examples)) + Counter(left_out))


def _captions_file(data: Vqa2Data, split: str) -> str:
    captions: dict[Any, str] = {**data.captions}
    return captions[split]


def _check_missing(data: Vqa2Data, split: str, num_untold: int, num_questions: int) -> None:
    if num_untold and data.on_missing_scene == "error":
        raise UserError(
            f"{num_untold:,} of {num_questions:,} questions of {split} are about pictures without a caption in data.captions.{split}="
            f"{_captions_file(data, split)}; give the captions of the same pictures, or leave these questions out "
            "and count them with data.on_missing_scene=skip"
        )
    if num_untold and num_untold == num_questions:
        raise UserError(
            f"none of the {num_questions:,} questions of {split} is about a picture with a caption in data.captions.{split}="
            f"{_captions_file(data, split)}; give the captions of the same pictures"
        )


def load_vqa_e(data: VqaEData, split: str) -> Loaded:
    """The questions of one split, each with its first explanation as the scene's text.

    The file has no answer types, so scores are by question type only.

    Raises:
        UserError: naming file, entry and field of what cannot be used.
    """
    path, setting = official_file(data, split)
    faults = Faults(path, data.on_bad_rows, "entries")
    folder = image_folder(data, split)
    examples = []
    for number, entry in enumerate(entries(read_document(path, setting), None, path, setting)):
        try:
            image = key_field(entry, "img_id")
            explanation = list_field(entry, "explanation")
            if not explanation:
                raise Fault("field 'explanation' is an empty list")
            answers = tuple(verbatim(answer, "answers") for answer in list_field(entry, "answers"))
            if not answers:
                raise Fault("field 'answers' is an empty list")
            file = coco_image_name(folder, image)
            examples.append(
                Example(
                    id=f"{split}-{number}",
                    texts=(text_field({"explanation": explanation[0]}, "explanation"),),
                    image=image_file(folder / file, file),
                    prompt=text_field(entry, "question"),
                    references=answers,
                    subcategory=text_field(entry, "question_type"),
                )
            )
        except Fault as fault:
            faults.add(f"entry [{number}]", fault)
    return Loaded(examples, faults.settle(len(examples)))
