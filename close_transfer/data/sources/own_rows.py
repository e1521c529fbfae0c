"""Rows of a user's own table."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from string import Formatter
from typing import Any

from close_transfer.config.data import FileData, HuggingFaceData
from close_transfer.core.errors import UserError
from close_transfer.core.packed_records import PackedRecords
from close_transfer.core.readers.columns import find_filled
from close_transfer.core.readers.records import choice_field, field, key_field, text_field, texts_field
from close_transfer.core.readers.text_check import split_list
from close_transfer.data.example_kinds import CAPTIONS, ExampleKind

OwnData = FileData | HuggingFaceData


@dataclass(frozen=True, slots=True)
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


_get_fields = attrgetter(*(field.name for field in fields(Row)))


def append_row(rows: PackedRecords[Row], row: Row) -> None:
    """Append a row to rows that are kept as bytes."""
    rows.append_fields(*_get_fields(row))


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
