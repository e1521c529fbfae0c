"""Rows of a user's own table, and the examples built from them."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from string import Formatter
from typing import Any

from close_transfer.config.data import FileData, HuggingFaceData
from close_transfer.core.atomic_files import fingerprint
from close_transfer.core.errors import UserError
from close_transfer.core.readers.columns import find_filled
from close_transfer.core.readers.records import choice_field, field, key_field, text_field, texts_field
from close_transfer.core.readers.text_check import split_list
from close_transfer.data.example_kinds import CAPTIONS, ExampleKind
from close_transfer.data.examples import Example, ImageRef

OwnData = FileData | HuggingFaceData


@dataclass(frozen=True)
class Row:
    """One usable row.

    Attributes:
        number: counts all rows of the source from 0.
        image: rows of one image are one scene, if it is given.
        was_list: True if its texts are a list that was written into one cell.
    """

    number: int
    texts: tuple[str, ...]
    group: str | None
    id: str | None
    references: tuple[str, ...] | None
    prompt: str = ""
    targets: tuple[str, ...] = ()
    was_list: bool = False
    image: str | None = None


def find_columns(prompt: str | None) -> list[str]:
    """Return the columns that a prompt names in braces.

    Raises:
        UserError: if a brace is not closed, names no column, or contains a format.
    """
    if prompt is None:
        return []
    try:
        parts = list(Formatter().parse(prompt))
    except ValueError as error:
        raise UserError(f"data.prompt={prompt}: {error}. Write {{column}}, and {{{{ for a brace") from None
    columns = [name for _, name, *_ in parts if name is not None]
    if not all(columns):
        raise UserError(f"data.prompt={prompt}: {{}} names no column. Write {{column}}, and {{{{ for a brace")
    for _, name, form, conversion in parts:
        if form or conversion:
            suffix = (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise UserError(
                f"data.prompt={prompt}: {{{name}{suffix}}} contains a format, but columns are inserted unchanged. "
                f"Write {{{name}}}, and {{{{ for a brace"
            )
    return columns


def _fill_prompt(prompt: str, record: Any) -> str:
    """Return the prompt with the values of its columns, inserted unchanged. Raises `RecordError`."""
    return "".join(
        text + (text_field(record, name) if name is not None else "") for text, name, *_ in Formatter().parse(prompt)
    )


def check_columns(data: OwnData, kind: ExampleKind) -> None:
    """Check that the settings name the columns that a kind of examples needs.

    Raises:
        UserError: if a column is missing, or belongs to another kind.
    """
    for setting in ("prompt", "target_column"):
        value = getattr(data, setting)
        if kind == CAPTIONS and value is not None:
            hint = ", or give task.prompt for words that start every caption" if setting == "prompt" else ""
            raise UserError(
                f"data.{setting}={value}: captions are learned from data.text_column alone. Leave data.{setting} out{hint}"
            )
    if kind != CAPTIONS and data.target_column is None:
        raise UserError(f"data={data.name}: no column is named for the text to write. Give data.target_column=COLUMN")
    if kind.prompt == "required" and data.prompt is None:
        raise UserError(
            f"data={data.name}: the task needs a prompt. Give data.prompt='{{COLUMN}}', such as "
            f"data.prompt='{{{kind.prompt_name}}}'"
        )
    find_columns(data.prompt)


def _read_texts(record: Any, column: str, data: OwnData) -> tuple[str, ...]:
    """Return the texts of a column that holds a text, a list of texts, or a VQA dataset's answers.

    A list that was written into one cell counts as several. Answers are a list of objects with the field `answer`, or
    one object whose `answer` is a list. Raises `RecordError`.
    """
    value = field(record, column)
    if isinstance(value, dict) and isinstance(value.get("answer"), list):
        value = value["answer"]
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        value = [field(item, "answer") for item in value]
    elif data.check_text:
        value = split_list(value)
    return texts_field({column: value}, column)


def _read_scene_texts(record: Any, data: OwnData) -> tuple[str, ...]:
    """Return the texts of all columns that `data.text_column` names; only one of them must hold one."""
    return tuple(text for column in find_filled(data.text_column, record) for text in _read_texts(record, column, data))


def parse_row(number: int, record: Any, data: OwnData, labels: Sequence[str] = ()) -> Row:
    """Return the values of the columns that `data` names; if there are labels, the target must be one of them.

    Raises `RecordError`.
    """
    group, name = (
        key_field(record, column) if column is not None else None for column in (data.group_column, data.id_column)
    )
    texts = _read_scene_texts(record, data)
    references = _read_texts(record, data.references_column, data) if data.references_column else None
    prompt = _fill_prompt(data.prompt, record) if data.prompt is not None else ""
    targets = _read_texts(record, data.target_column, data) if data.target_column is not None else ()
    if labels:
        targets = (choice_field(record, str(data.target_column), labels),)
    was_list = len(texts) > 1 and isinstance(record.get(data.text_column), str)
    return Row(number, texts, group, name, references, prompt, targets, was_list)


def build_scene_examples(
    rows: Sequence[Row], data: OwnData, make_id: Callable[[Row], str], get_image: Callable[[Row], ImageRef | None]
) -> tuple[list[Example], list[str]]:
    """Return one example per group of rows, and notes for the user about repeated captions.

    Args:
        rows: rows in the order of the source.
        data: settings of the source.
        make_id: returns the id of a scene whose row gives none.
        get_image: returns the image of a scene, given its first row.

    Raises:
        UserError: if scenes share an id.
    """
    groups: dict[tuple[str, str | None], list[Row]] = {}
    for row in rows:
        name = row.group if row.group is not None else make_id(row)
        groups.setdefault(("image", row.image) if row.image is not None else ("row", name), []).append(row)
    examples, num_repeated = [], 0
    for members in groups.values():
        name = members[0].group if members[0].group is not None else make_id(members[0])
        all_texts = [text for row in members for text in row.texts]
        texts = tuple(dict.fromkeys(all_texts))
        num_repeated += len(all_texts) - len(texts)
        # A caption that two annotators wrote counts twice, as in the official scores. A list of references that
        # every row of a scene repeats counts once.
        reference_lists = dict.fromkeys(row.references for row in members if row.references is not None)
        references = tuple(text for listed in reference_lists for text in listed) or texts
        examples.append(Example(members[0].id or name, texts, get_image(members[0]), references=references))
    _check_ids((example.id for example in examples), data)
    notes = [f"{num_repeated} captions repeated within their scene are used once"] if num_repeated else []
    num_by_image = sum(row.image is not None for row in rows)
    if num_by_image > len(examples):
        notes.append(
            f"{num_by_image:,} rows name {len(examples):,} images: the rows of an image are one scene, and its captions are its "
            "references (data.group_column=NAME groups rows by another column)"
        )
    return examples, notes


def _get_answers(row: Row) -> tuple[str, ...]:
    return row.references or row.targets


def _join_rows(rows: Sequence[Row]) -> list[Row]:
    """Join rows of one image and prompt that hold one answer each, as a table with one row per answer has them."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        is_single = row.image is not None and len(_get_answers(row)) == 1
        groups.setdefault((row.image, row.prompt) if is_single else (row.number,), []).append(row)
    joined = []
    for members in groups.values():
        if len(members) > 1:
            texts = tuple(dict.fromkeys(text for row in members for text in row.texts))
            # An answer that two annotators gave counts twice, as in the official scores.
            answers = tuple(text for row in members for text in _get_answers(row))
            targets = tuple(dict.fromkeys(text for row in members for text in row.targets))
            members = [replace(members[0], texts=texts, targets=targets, references=answers)]
        joined += members
    return joined


def build_row_examples(
    rows: Sequence[Row], data: OwnData, make_id: Callable[[Row], str], get_image: Callable[[Row], ImageRef | None]
) -> list[Example]:
    """Return one example per row, with its prompt and targets; arguments and errors as of `build_scene_examples`."""
    examples = [
        Example(row.id or make_id(row), row.texts, get_image(row), row.prompt, row.targets, _get_answers(row))
        for row in rows
    ]
    _check_ids((example.id for example in examples), data)
    return examples


def _check_ids(ids: Iterable[str], data: OwnData) -> None:
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise UserError(
            f"data.id_column={data.id_column}: {repeated[0]!r} is the id of several scenes of {data.path}. "
            "Give data.group_column, or ids that differ"
        )


def build_examples(
    rows: Sequence[Row],
    data: OwnData,
    kind: ExampleKind,
    make_id: Callable[[Row], str],
    get_image: Callable[[Row], ImageRef | None],
    split: str | None,
    joins_rows: bool,
) -> tuple[list[Example], list[str]]:
    """Return the examples of a kind that the rows hold, and notes for the user.

    Args:
        rows: rows in the order of the source.
        data: settings of the source.
        kind: kind of the examples; captions have one example per scene, the others have one per row.
        make_id: returns the id of a scene whose row gives none.
        get_image: returns the image of a scene, given its first row.
        split: "train" or "val" to select one side of rows that both share; None for all rows. All rows of a scene (by
            its group; captions else by their image, other rows by their texts) are on the same side.
        joins_rows: True to join rows of one image and prompt; captions of one image are joined anyway.
    """
    if kind == CAPTIONS:
        examples, notes = build_scene_examples(rows, data, make_id, get_image)
        sides, side_notes = _choose_side([example.id for example in examples], split, data.val_share)
        examples = list(compress(examples, sides))
    else:
        sides, side_notes = _choose_side([row.group or "\x1f".join(row.texts) for row in rows], split, data.val_share)
        join: Callable[[Sequence[Row]], list[Row]] = _join_rows if joins_rows else list
        # Of all rows, so that training and validation refuse the same table.
        _check_ids((row.id or make_id(row) for row in join(rows)), data)
        kept = list(compress(rows, sides))
        joined = join(kept)
        examples, notes = build_row_examples(joined, data, make_id, get_image), []
        if len(joined) < len(kept):
            notes.append(
                f"{len(kept):,} rows name {len(joined):,} images with their prompts: the rows of an image and a prompt are one "
                "example, and the answer of each is right (data.group_column=NAME keeps rows apart)"
            )
    if num_lists := sum(row.was_list for row in rows):
        notes.append(
            f"data.text_column={data.text_column} holds lists of texts in {num_lists:,} cells, which were read as several "
            "texts each. Give data.check_text=false to read each cell as one text"
        )
    return examples, [*notes, *side_notes]


def _choose_side(keys: Sequence[str], split: str | None, val_share: float) -> tuple[list[bool], list[str]]:
    """Return True for each key that is on the side of the split, and a note if there is one scene for both."""
    if split is None:
        return [True] * len(keys), []
    if len(set(keys)) == 1:
        return [True] * len(keys), ["there is one scene only, so validation sees the training text"]
    held_out = hold_out(list(dict.fromkeys(keys)), val_share)
    return [(key in held_out) == (split == "val") for key in keys], []


def hold_out(ids: Sequence[str], share: float) -> set[str]:
    """Return the scenes held out for validation, chosen by a hash of the id, so that added rows move few scenes."""
    ordered = sorted(ids, key=lambda identifier: fingerprint(["validation", identifier]))
    return set(ordered[: max(1, round(share * len(ordered)))])
