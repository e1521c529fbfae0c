"""Examples built from the rows of a user's own table."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from close_transfer.core.digests import compute_digest, find_first_equal, pack_digests
from close_transfer.core.errors import UserError
from close_transfer.core.packed_records import PackedRecords
from close_transfer.data.example_kinds import CAPTIONS, ExampleKind
from close_transfer.data.example_sequences import PackedExamples
from close_transfer.data.examples import Example, ImageRef
from close_transfer.data.sources.held_out import choose_side
from close_transfer.data.sources.own_rows import OwnData, Row


class _Scenes:
    """Rows grouped into scenes: by group, else by image; a row with neither is a scene."""

    def __init__(self, rows: PackedRecords[Row], make_id: Callable[[int], str]) -> None:
        self._rows, self._make_id = rows, make_id
        self.num_by_image = 0
        numbers = array("q")  # the scene of each row
        number_of_key: dict[tuple[str, str], int] = {}
        num_scenes = 0
        for row in rows:
            number = num_scenes
            if row.image is not None:
                self.num_by_image += 1
                number = number_of_key.setdefault(("image", row.image), num_scenes)
            elif row.group is not None:
                number = number_of_key.setdefault(("group", row.group), num_scenes)
            numbers.append(number)
            num_scenes = max(num_scenes, number + 1)
        scene_of_row = np.asarray(numbers, dtype=np.int64)
        self._order = np.argsort(scene_of_row, kind="stable")
        self._starts = np.concatenate([[0], np.bincount(scene_of_row, minlength=num_scenes).cumsum()])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def get_members(self, scene: int) -> list[Row]:
        return [self._rows[row] for row in self._order[self._starts[scene] : self._starts[scene + 1]]]

    def get_id(self, first: Row) -> str:
        """Return the id of a scene, given its first row."""
        return first.id or (first.group if first.group is not None else self._make_id(first.number))

    def iterate_ids(self) -> Iterator[str]:
        return (self.get_id(self._rows[row]) for row in self._order[self._starts[:-1]])


def _build_scene_examples(
    rows: PackedRecords[Row],
    data: OwnData,
    make_id: Callable[[int], str],
    get_image: Callable[[int], ImageRef | None],
    split: str | None,
) -> tuple[PackedExamples, list[str], list[str]]:
    """Return one example per group of rows; arguments, notes and errors as of `build_examples`."""
    scenes = _Scenes(rows, make_id)
    _check_ids(scenes.iterate_ids, data)
    is_selected, side_notes = choose_side(scenes.iterate_ids, len(scenes), split, data.val_share)
    examples, num_repeated = PackedExamples(get_image), 0
    for number in range(len(scenes)):
        members = scenes.get_members(number)
        all_texts = [text for row in members for text in row.texts]
        texts = tuple(dict.fromkeys(all_texts))
        num_repeated += len(all_texts) - len(texts)
        if is_selected[number]:
            # A caption that two annotators wrote counts twice, as in the official scores. A list of references that
            # every row of a scene repeats counts once.
            reference_lists = dict.fromkeys(row.references for row in members if row.references is not None)
            references = tuple(text for listed in reference_lists for text in listed) or texts
            examples.append(Example(scenes.get_id(members[0]), texts, references=references), members[0].number)
    notes = [f"{num_repeated} captions repeated within their scene are used once"] if num_repeated else []
    if scenes.num_by_image > len(scenes):
        notes.append(
            f"{scenes.num_by_image:,} rows name {len(scenes):,} images: the rows of an image are one scene, and its captions are its "
            "references (data.group_column=NAME groups rows by another column)"
        )
    return examples, notes, side_notes


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


def _build_row_examples(
    rows: PackedRecords[Row],
    data: OwnData,
    make_id: Callable[[int], str],
    get_image: Callable[[int], ImageRef | None],
    split: str | None,
    joins_rows: bool,
) -> tuple[PackedExamples, list[str], list[str]]:
    """Return one example per row, with its prompt and targets; arguments, notes and errors as of `build_examples`."""
    is_selected, side_notes = choose_side(
        lambda: (row.group or "\x1f".join(row.texts) for row in rows), len(rows), split, data.val_share
    )
    kept = rows.select(np.flatnonzero(is_selected))
    # Of all rows, so that training and validation refuse the same table.
    all_rows, joined = (_join_rows(rows), _join_rows(kept)) if joins_rows else (rows, kept)
    _check_ids(lambda: (row.id or make_id(row.number) for row in all_rows), data)
    if joins_rows:  # rows of one side may join under other first rows, and so under other ids
        _check_ids(lambda: (row.id or make_id(row.number) for row in joined), data)
    examples = PackedExamples(get_image)
    for row in joined:
        identifier = row.id or make_id(row.number)
        example = Example(identifier, row.texts, None, row.prompt, row.targets, _get_answers(row))
        examples.append(example, row.number)
    notes = []
    if len(joined) < len(kept):
        notes.append(
            f"{len(kept):,} rows name {len(joined):,} images with their prompts: the rows of an image and a prompt are one "
            "example, and the answer of each is right (data.group_column=NAME keeps rows apart)"
        )
    return examples, notes, side_notes


def _check_ids(iterate_ids: Callable[[], Iterable[str]], data: OwnData) -> None:
    if data.id_column is None:  # groups and numbers of rows differ
        return
    first_of_id = find_first_equal(pack_digests(map(compute_digest, iterate_ids())))
    repeated = first_of_id[first_of_id != np.arange(len(first_of_id))]
    if len(repeated):
        name = next(islice(iterate_ids(), int(repeated.min()), None))
        raise UserError(
            f"data.id_column={data.id_column}: {name!r} is the id of several scenes of {data.path}. "
            "Give data.group_column, or ids that differ"
        )


def build_examples(
    rows: PackedRecords[Row],
    data: OwnData,
    kind: ExampleKind,
    make_id: Callable[[int], str],
    get_image: Callable[[int], ImageRef | None],
    split: str | None,
    joins_rows: bool,
) -> tuple[PackedExamples, list[str]]:
    """Return the examples of a kind that the rows hold, and notes for the user.

    Args:
        rows: rows in the order of the source.
        data: settings of the source.
        kind: kind of the examples; captions have one example per scene, the others have one per row.
        make_id: returns the id of a scene whose rows give none, from the number of its first row.
        get_image: returns the image of a scene, from the number of its first row.
        split: "train" or "val" to select one side of rows that both share; None for all rows. All rows of a scene (by
            its group; captions else by their image, other rows by their texts) are on the same side.
        joins_rows: True to join rows of one image and prompt; captions of one image are joined anyway.

    Raises:
        UserError: if scenes share an id.
    """
    if kind == CAPTIONS:
        examples, notes, side_notes = _build_scene_examples(rows, data, make_id, get_image, split)
    else:
        examples, notes, side_notes = _build_row_examples(rows, data, make_id, get_image, split, joins_rows)
    if num_lists := sum(row.was_list for row in rows):
        notes.append(
            f"data.text_column={data.text_column} holds lists of texts in {num_lists:,} cells, which were read as several "
            "texts each. Give data.check_text=false to read each cell as one text"
        )
    return examples, [*notes, *side_notes]
