"""Classes of Picturebook's images, from the scene graph, for probes and for zero-shot classification.

Each target uses only the scenes in which an image has exactly one class: kinds, colours and counts need a single group
of things, relations need two groups, and colours need an image with colours.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

from close_transfer.config.data import PicturebookData
from close_transfer.data.classification import Classification
from close_transfer.data.examples import Example
from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.captions import add_article, capitalize
from close_transfer.data.picturebook.scenes import Scene, Split, find_possible_relations, scenes
from close_transfer.data.sources.picturebook import make_image_ref

_MAX_COUNT = 4  # things in a scene


def _find_kind(scene: Scene) -> str | None:
    kinds = {kind for kind, _ in scene.pairs}
    return next(iter(kinds)) if len(kinds) == 1 else None


def _find_colour(scene: Scene) -> str | None:
    # A box and its content may have the same colour; only the pair of both decides.
    if scene.view == "black-and-white" or len(scene.pairs) != 1:
        return None
    return next(iter(scene.pairs))[1]


def _find_count(scene: Scene) -> str | None:
    (first, *others) = scene.things
    return None if others or first.content is not None else world.NUMBER_WORDS[first.count]


def _find_relation(scene: Scene) -> str | None:
    return scene.relation if len(scene.things) == 2 else None


def _find_place(scene: Scene) -> str | None:
    return scene.place


def _finish(core: str) -> str:
    return capitalize(core) + "."


def _write_kind_texts(kind: str) -> tuple[str, ...]:
    nouns = [singular for singular, _ in world.KINDS[kind].nouns]
    return tuple(_finish(opening + add_article(noun)) for noun in nouns for opening in ("", "a picture of "))


def _write_colour_texts(colour: str) -> tuple[str, ...]:
    return tuple(
        _finish(f"{add_article(kind.name)} in {colour}" if kind.hypernym == world.PERSON else
                add_article(f"{colour} {kind.name}"))
        for kind in world.KINDS.values()
    )  # fmt: skip


def _write_count_texts(number: str) -> tuple[str, ...]:
    kinds = [kind.nouns[0] for kind in world.KINDS.values() if kind.name != "box"]  # a scene has at most one box
    return tuple(_finish(add_article(one) if number == "one" else f"{number} {several}") for one, several in kinds)


def _write_relation_texts(relation: str) -> tuple[str, ...]:
    words = "to the left of" if relation == "left of" else relation
    return tuple(
        _finish(f"{add_article(first)} {words} {add_article(second)}")
        for first, second in itertools.permutations(world.KINDS, 2)
        if relation in find_possible_relations(first, second, (1, 1), "park")
    )


def _write_place_texts(place: str) -> tuple[str, ...]:
    return tuple(
        _finish(f"{add_article(name)} {way}")
        for name, kind in world.KINDS.items()
        if kind.indoors or place not in world.INDOORS
        for way in world.PLACES[place][1]
    )


# Target: its classes, the class of a scene (None if it has none), and sentences about a class.
_TARGETS: Mapping[
    str, tuple[Sequence[str], Callable[[Scene], str | None], Callable[[str], tuple[str, ...]]]
] = {
    "kinds": (tuple(world.KINDS), _find_kind, _write_kind_texts),
    "colours": (tuple(world.COLOURS), _find_colour, _write_colour_texts),
    "counts": (world.NUMBER_WORDS[1 : _MAX_COUNT + 1], _find_count, _write_count_texts),
    "relations": (world.RELATIONS, _find_relation, _write_relation_texts),
    "places": (tuple(world.PLACES), _find_place, _write_place_texts),
}  # fmt: skip


def _label(labelled: Sequence[Scene], split: str, find_class: Callable[[Scene], str | None]) -> list[Example]:
    return [
        Example(f"{split}-{number:05d}", (), make_image_ref(scene), category=name)
        for number, scene in enumerate(labelled)
        if (name := find_class(scene)) is not None
    ]


def list_kinds(data: PicturebookData, split: Split) -> dict[str, frozenset[str]]:
    """Return the kinds of things in each image of a split, by the image's key."""
    sizes = _get_sizes(data)
    return {
        make_image_ref(scene).key: frozenset(kind for kind, _ in scene.pairs)
        for scene in scenes(split, sizes[split], data.seed)
    }


def classify_scenes(target: str, training: Sequence[Scene], testing: Sequence[Scene], split: str) -> Classification:
    """Return the classification of scenes by a target: kinds, colours, counts, relations or places.

    Args:
        target: name of the target.
        training, testing: scenes; those without a class are left out.
        split: name of the split of `testing`, for the ids.
    """
    classes, find_class, write_texts = _TARGETS[target]
    return Classification(
        target,
        tuple(classes),
        _label(training, "train", find_class),
        _label(testing, split, find_class),
        {name: write_texts(name) for name in classes},
    )


def load_scene_classes(data: PicturebookData, targets: Sequence[str], split: Split) -> list[Classification]:
    """Return the classification by each target: training scenes of `train`, test scenes of `split`."""
    sizes = _get_sizes(data)
    training, testing = (scenes(name, sizes[name], data.seed) for name in ("train", split))
    return [classify_scenes(target, training, testing, split) for target in targets]


def _get_sizes(data: PicturebookData) -> dict[Split, int]:
    return {
        "train": data.num_train,
        "val": data.num_val,
        "test": data.num_test,
        "test-novel": data.num_test_novel,
    }
