"""Rows of anyone's own data, and the scenes that they make together."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from close_transfer.config.data import HuggingFaceData, TableData
from close_transfer.errors import UserError
from close_transfer.examples import Example, ImageRef
from close_transfer.files import fingerprint
from close_transfer.sources.records import key_field, texts_field

OwnData = TableData | HuggingFaceData


@dataclass(frozen=True)
class Row:
    """One usable row: its number counted from 0 over all rows, and what it says."""

    number: int
    texts: tuple[str, ...]
    group: str | None
    id: str | None
    references: tuple[str, ...] | None


def row_of(number: int, record: Any, data: OwnData) -> Row:
    """What the columns that `data` names hold. Raises `Fault`."""
    group, name = (
        key_field(record, column) if column is not None else None for column in (data.group_column, data.id_column)
    )
    texts = texts_field(record, data.text_column)
    references = texts_field(record, data.references_column) if data.references_column else None
    return Row(number, texts, group, name, references)


def scenes(
    rows: Sequence[Row], data: OwnData, unnamed: Callable[[Row], str], image_of: Callable[[Row], ImageRef | None]
) -> tuple[list[Example], list[str]]:
    """Rows of one group become one example; also what to say about captions that repeat.

    Args:
        rows: in the order of the source.
        data: where they came from.
        unnamed: the id of a scene whose row gives none.
        image_of: the picture of a scene, given its first row.

    Raises:
        UserError: if scenes share an id.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group if row.group is not None else unnamed(row), []).append(row)
    examples, num_repeated = [], 0
    for name, members in groups.items():
        told = [text for row in members for text in row.texts]
        texts = tuple(dict.fromkeys(told))
        num_repeated += len(told) - len(texts)
        # Of captions that annotators gave twice both count, as in the official scores; a list that every
        # row of a scene repeats counts once.
        lists = dict.fromkeys(row.references for row in members if row.references is not None)
        references = tuple(text for told in lists for text in told) or texts
        examples.append(Example(members[0].id or name, texts, image_of(members[0]), references=references))
    repeated_ids = [name for name, count in Counter(example.id for example in examples).items() if count > 1]
    if repeated_ids:
        raise UserError(
            f"data.id_column={data.id_column}: {repeated_ids[0]!r} stands for several scenes of {data.path}; "
            "give data.group_column, or ids that differ"
        )
    return examples, [f"{num_repeated} captions repeated within their scene are used once"] if num_repeated else []


def part(examples: list[Example], split: str, val_share: float) -> tuple[list[Example], list[str]]:
    """The part of the scenes for `train` or `val`, where both come from the same rows; also what to say about it."""
    if len(examples) == 1:
        return examples, ["there is one scene only, so validation sees the training text"]
    kept_back = held_out([example.id for example in examples], val_share)
    return [example for example in examples if (example.id in kept_back) == (split == "val")], []


def held_out(ids: Sequence[str], share: float) -> set[str]:
    """The scenes kept for validation, chosen by a hash of the id, so that more rows move few."""
    ordered = sorted(ids, key=lambda one: fingerprint(["validation", one]))
    return set(ordered[: max(1, round(share * len(ordered)))])
