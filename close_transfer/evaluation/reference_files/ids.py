"""Ids of entries: the fields that may hold them, and the choice among several."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from close_transfer.core.readers.record_errors import RecordError
from close_transfer.core.readers.records import key_field
from close_transfer.data.example_kinds import (
    ARTICLES,
    CAPTIONS,
    EXPLAINED_QUESTIONS,
    PAIRS,
    QUESTIONS,
    ExampleKind,
)

_DEFAULT = ("id", "image_id", "question_id", "pairID", "image")
# Datasets' names come before `id`, which is often a running number of the file. A question's image is not its id, so
# `image_id` comes last for questions; VizWiz has no other id than `image`.
_FIELDS_BY_KIND: Mapping[ExampleKind, tuple[str, ...]] = {
    CAPTIONS: ("image_id", "id", "image", "question_id", "pairID"),
    ARTICLES: ("id", "image_id", "image", "question_id", "pairID"),
    QUESTIONS: ("question_id", "id", "image", "image_id", "pairID"),
    EXPLAINED_QUESTIONS: ("question_id", "id", "image", "image_id", "pairID"),
    PAIRS: ("pairID", "id", "image_id", "image", "question_id"),
}


def list_id_fields(kind: ExampleKind) -> tuple[str, ...]:
    """Return the fields that may hold an entry's id, in the order in which they are looked for."""
    return _FIELDS_BY_KIND.get(kind, _DEFAULT)


def read_ids(record: Any, fields: Sequence[str]) -> dict[str, str]:
    """Return the ids that an entry holds, by field.

    Raises:
        RecordError: if none of the fields holds an id.
    """
    present = [name for name in fields if isinstance(record, dict) and record.get(name) is not None]
    if len(present) < 2:
        name = present[0] if present else fields[0]
        return {name: key_field(record, name)}
    ids = {}
    for name in present:
        try:
            ids[name] = key_field(record, name)
        except RecordError:  # `image` may hold an image's content, for example
            continue
    return ids or {present[0]: key_field(record, present[0])}


def choose_ids(
    ids: Sequence[Mapping[str, str]], fields: Sequence[str], setting: str, known: Collection[str] = ()
) -> tuple[list[str], list[str]]:
    """Choose the field of the ids: the first in the order of `fields` that matches about as many known ids as any.

    Args:
        ids: ids of each entry by field, in the order of `fields`.
        fields: fields in the order in which they are looked for.
        setting: setting that names the file, for the note.
        known: ids of the references; empty if there is nothing to compare with.

    Returns:
        The id of each entry, and a note if fields that all entries have disagree. An entry without the chosen field
        gets its first id.
    """
    shared = [name for name in fields if ids and all(name in entry for entry in ids)]
    counts = {name: len({entry[name] for entry in ids} & set(known)) for name in shared}
    # A running number also matches where known ids are small numbers, so the order counts first. A field with less than
    # half of the best's matches holds something else.
    chosen = next((name for name in shared if 2 * counts[name] >= max(counts.values())), None)
    if chosen is None:
        return [next(iter(entry.values())) for entry in ids], []
    others = [name for name in shared if any(entry[name] != entry[chosen] for entry in ids)]
    notes = []
    if others:
        matches = f" ({_format_counts([chosen, *others], counts)} match the references)" if known else ""
        hint = ". Give id_field=NAME for another" if setting == "predictions" else ""
        notes.append(
            f"{setting}: the ids are those of {chosen!r}, which differ from {_format_names(others)}{matches}{hint}"
        )
    return [entry[chosen] for entry in ids], notes


def _format_names(names: Iterable[str]) -> str:
    return " and ".join(map(repr, names))


def _format_counts(names: Iterable[str], counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[name]:,} of {name!r}" for name in names)
