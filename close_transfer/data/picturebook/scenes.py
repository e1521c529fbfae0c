"""Scenes: the content of an image, sampled from a seed, and the split that each scene belongs to."""

import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeVar, get_args

from close_transfer.data.picturebook import world

Split = Literal["clip", "train", "val", "test", "test-novel"]
SPLITS: tuple[Split, ...] = get_args(Split)

K = TypeVar("K")

# Shares of the splits among 100 possible scenes. A hash of its content decides a scene's split, so no
# scene can be in two splits, for any seed.
_SHARES: dict[Split, int] = {"clip": 50, "train": 30, "val": 8, "test": 12}

# Sizes of the groups in a scene, with weights; four things in total at most.
_GROUPINGS: dict[tuple[int, ...], int] = {
    (1,): 15, (2,): 8, (3,): 8, (4,): 9,
    (1, 1): 30, (2, 1): 8, (1, 2): 6, (3, 1): 5, (1, 3): 4, (2, 2): 3,
    (1, 1, 1): 7,
}  # fmt: skip
_RELATION_WEIGHTS = {"left of": 36, "above": 22, "on": 26, "in front of": 16}
_VIEW_WEIGHTS = {"clear": 62, "fog": 20, "black-and-white": 18}


@dataclass(frozen=True)
class Thing:
    """One or several equal things: kind, colour, size, count, and the content of a box."""

    kind: str
    colour: str
    size: str = "medium"
    count: int = 1
    opened: bool | None = None  # None for all but boxes
    content: "Thing | None" = None

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """Return the visible (kind, colour) pairs, including the content of a box."""
        inside = self.content.pairs if self.content else frozenset()
        return inside | {(self.kind, self.colour)}


@dataclass(frozen=True)
class Scene:
    """Content of one image.

    Attributes:
        place: a key of `world.PLACES`.
        time: a key of `world.TIMES`, or None indoors.
        view: one of `world.VIEWS`.
        things: one to three groups of things, at most four things in total.
        relation: relation of ``things[0]`` to ``things[1]``; None for a single group.
        layout_seed: decides positions and directions within what the rest allows.
    """

    place: str
    time: str | None
    view: str
    things: tuple[Thing, ...]
    relation: str | None
    layout_seed: int

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """Return all (kind, colour) pairs of the scene."""
        return frozenset().union(*(thing.pairs for thing in self.things))

    @property
    def content(self) -> "Scene":
        """Return the scene without its layout: equal for two images with the same content."""
        return replace(self, layout_seed=0)


@cache  # asked for every pair of every scene
def is_novel(kind: str, colour: str) -> bool:
    """Return True if this pair of kind and colour is reserved for `test-novel` and `clip`.

    Two of the ten colours of every kind are, spread so that every colour is novel for some kinds.
    """
    kind_number = list(world.KINDS).index(kind)
    colour_number = list(world.COLOURS).index(colour)
    return (colour_number - 3 * kind_number) % 10 in (0, 5)


def belongs_to(scene: Scene, split: Split) -> bool:
    """Return True if this scene is of that split, for any seed; its layout does not matter."""
    novel = [is_novel(*pair) for pair in scene.pairs]
    if split == "test-novel":
        # The `clip` split leaves a share of the novel scenes to `test-novel`, so the two share none.
        return all(novel) and _compute_bucket(scene) >= _SHARES["clip"]
    if split != "clip" and any(novel):
        return False
    edges = itertools.accumulate(_SHARES.values(), initial=0)
    starts = dict(zip(_SHARES, edges, strict=False))
    return starts[split] <= _compute_bucket(scene) < starts[split] + _SHARES[split]


def _compute_bucket(scene: Scene) -> int:
    digest = hashlib.sha256(repr(scene.content).encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


def _sample_weighted(rng: random.Random, weights: Mapping[K, int]) -> K:
    return rng.choices(list(weights), list(weights.values()))[0]


def _sample_colour(rng: random.Random, kind: str, novel: bool) -> str:
    colours = [c for c in world.COLOURS if is_novel(kind, c) == novel] if novel else list(world.COLOURS)
    return rng.choice(colours)


def _sample_thing(rng: random.Random, kind: str, count: int, size: str, novel: bool) -> Thing:
    colour = _sample_colour(rng, kind, novel)
    if kind != "box":
        return Thing(kind, colour, size, count)
    opened = rng.random() < 0.6
    content = None
    if opened and rng.random() < 0.8:
        inside = rng.choice(world.BOX_CONTENTS)
        content = Thing(inside, _sample_colour(rng, inside, novel))
    return Thing("box", colour, "medium", 1, opened, content)


def _get_kind_weight(name: str) -> int:
    # Boxes get the questions about their content, so they are more frequent than other things.
    return 4 if name == "box" else 1


@cache  # there are few arguments, and a scene of validation takes a dozen draws
def _list_fitting(is_indoors: bool, position: int, is_single: bool, relation: str | None) -> dict[str, int]:
    """Return the kinds that fit a place in a scene, in the order of `world.KINDS`, with their weights."""

    def fits(kind: world.Kind) -> bool:
        if (is_indoors and not kind.indoors) or (kind.name == "box" and not is_single):
            return False
        if position == 0:
            return {
                "above": kind.sky,
                "on": kind.perches,
                "in front of": not kind.sky and not kind.backdrop,
            }.get(relation or "", True)
        if position == 1:
            return {
                "above": not kind.sky,
                "on": kind.surface is not None,
                "in front of": kind.backdrop,
            }.get(relation or "", True)
        return not kind.sky

    return {name: _get_kind_weight(name) for name, kind in world.KINDS.items() if fits(kind)}


def _pick_kinds(rng: random.Random, is_indoors: bool, counts: tuple[int, ...], relation: str | None) -> list[str]:
    """Draw distinct kinds, the first two fit for the relation; boxes only alone."""
    chosen: list[str] = []
    for position, count in enumerate(counts):
        fitting = _list_fitting(is_indoors, position, count == 1, relation)
        chosen.append(_sample_weighted(rng, {name: fitting[name] for name in fitting if name not in chosen}))
    return chosen


def find_possible_relations(first: str, second: str, counts: tuple[int, int], place: str) -> tuple[str, ...]:
    """Return the relations in which `first` may be to `second` in some scene of that place."""
    a, b = world.KINDS[first], world.KINDS[second]
    fits = {
        "left of": True,
        "above": a.sky and not b.sky,
        "on": a.perches and b.surface is not None and counts == (1, 1),
        "in front of": not a.sky and not a.backdrop and b.backdrop and counts[1] == 1 and counts[0] <= 2,
    }
    return tuple(relation for relation in world.RELATIONS if fits[relation])


def _sample_scene(rng: random.Random, novel: bool) -> Scene:
    view = _sample_weighted(rng, _VIEW_WEIGHTS)
    place = rng.choice(world.OUTDOORS if view == "fog" else tuple(world.PLACES))
    time = None if place in world.INDOORS else rng.choice(tuple(world.TIMES))
    counts = _sample_weighted(rng, _GROUPINGS)
    relation = None
    if len(counts) > 1:
        allowed = dict(_RELATION_WEIGHTS)
        if counts[:2] != (1, 1):
            del allowed["on"]
        if counts[1] != 1 or counts[0] > 2 or place in world.INDOORS:
            del allowed["in front of"]
        relation = _sample_weighted(rng, allowed)
    kinds = _pick_kinds(rng, place in world.INDOORS, counts, relation)
    things = []
    for kind, count in zip(kinds, counts, strict=True):
        # Sizes are drawn and mentioned only if there is room to see the difference.
        size = rng.choice(tuple(world.SIZES)) if sum(counts) <= 2 else "medium"
        things.append(_sample_thing(rng, kind, count, size, novel))
    if relation == "on" and things[1].kind == "box":
        things[1] = replace(things[1], opened=False, content=None)
    if relation == "on":
        things[:2] = [replace(thing, size="medium") for thing in things[:2]]
    return Scene(place, time, view, tuple(things), relation, rng.randrange(1 << 30))


def iterate_scenes(split: Split, seed: int = 0) -> Iterator[Scene]:
    """Yield distinct scenes of one split without end; the first n are the same for any n.

    Raises:
        ValueError: for an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"no Picturebook split {split!r}; choose one of {', '.join(SPLITS)}")
    rng = random.Random(f"picturebook/{split}/{seed}")
    seen_contents: set[Scene] = set()
    while True:
        scene = _sample_scene(rng, novel=split == "test-novel")
        if belongs_to(scene, split) and scene.content not in seen_contents:
            seen_contents.add(scene.content)
            yield scene


def scenes(split: Split, num_scenes: int, seed: int = 0) -> list[Scene]:
    """Return the first `num_scenes` scenes of a split. The same seed gives the same scenes in any process."""
    return list(itertools.islice(iterate_scenes(split, seed), num_scenes))
