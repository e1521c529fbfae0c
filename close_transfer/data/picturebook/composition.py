"""Test of composition from the scene graph: swapped attributes, relations and counts, word order, and twin scenes.

A wrong caption describes the scene with one change. A system that never sees the image solves many such choices,
because the changed scene is rarer or impossible. So the twins draw the changed scene too, with the same layout: then
each caption is right once. All scenes, twins included, are of the test split.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from close_transfer.data.composition import ChoiceItem, CompositionTest, TwinItem
from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.captions import add_article, capitalize, captions
from close_transfer.data.picturebook.scenes import (
    Scene,
    Split,
    Thing,
    belongs_to,
    find_possible_relations,
    iterate_scenes,
)
from close_transfer.data.picturebook.word_order import shuffle_caption
from close_transfer.data.sources.picturebook import make_image_ref

_SPLIT: Split = "test"

# Ways to write each relation; a caption and its wrong version use the same one.
_WAYS = {
    "left of": ("{0} to the left of {1}", "{1} to the right of {0}"),
    "above": ("{0} above {1}", "{1} below {0}"),
    "on": ("{0} on {1}", "{1} with {0} on top"),
    "in front of": ("{0} in front of {1}", "{1} behind {0}"),
}


def _write_thing(thing: Thing) -> str:
    singular_or_plural = world.KINDS[thing.kind].nouns[0][thing.count > 1]
    is_person = world.KINDS[thing.kind].hypernym == world.PERSON
    phrase = f"{singular_or_plural} in {thing.colour}" if is_person else f"{thing.colour} {singular_or_plural}"
    return add_article(phrase) if thing.count == 1 else f"{world.NUMBER_WORDS[thing.count]} {phrase}"


def write_full_caption(scene: Scene, way: int, place_way: int | None) -> str:
    """Write a caption with count, colour and relation of both groups.

    Args:
        scene: scene with two groups.
        way: position of the way to write the relation.
        place_way: position of the way to write the place; None to leave the place out.
    """
    assert scene.relation is not None
    core = _WAYS[scene.relation][way].format(*map(_write_thing, scene.things))
    place = "" if place_way is None else " " + world.PLACES[scene.place][1][place_way]
    return capitalize(core + place) + "."


def _is_plain(scene: Scene) -> bool:
    """Return True if a full caption states all that can be swapped: two groups in a clear view, nothing in a box."""
    return scene.view == "clear" and len(scene.things) == 2 and all(thing.content is None for thing in scene.things)


def swap_colours(scene: Scene) -> Scene | None:
    """Return the scene with the colours of its two groups swapped; None if they are equal."""
    first, second = scene.things
    if first.colour == second.colour:
        return None
    return replace(scene, things=(replace(first, colour=second.colour), replace(second, colour=first.colour)))


def swap_counts(scene: Scene) -> Scene | None:
    """Return the scene with the counts of its two groups swapped; None if they are equal, or one is a box."""
    first, second = scene.things
    if first.count == second.count or "box" in (first.kind, second.kind):
        return None
    return replace(scene, things=(replace(first, count=second.count), replace(second, count=first.count)))


def swap_roles(scene: Scene) -> Scene:
    """Return the scene with its two groups in each other's role."""
    first, second = scene.things
    return replace(scene, things=(second, first))


def _change_relation(scene: Scene) -> Scene | None:
    """Return a scene that can be drawn, with swapped roles or another relation of the same groups; None if there is none."""
    first, second = scene.things
    possible = find_possible_relations(first.kind, second.kind, (first.count, second.count), scene.place)
    # A thing that is above another one is also to one side of it, so "left of" would not be wrong.
    others = [
        relation for relation in possible if {relation, scene.relation} not in ({"left of", "above"}, {scene.relation})
    ]
    candidates = [swap_roles(scene), *(replace(scene, relation=relation) for relation in others)]
    # Of several changes the last is rarer, so that not all twins are to the left of each other.
    return next((candidate for candidate in reversed(candidates) if _can_be_drawn(candidate)), None)


def _can_be_drawn(scene: Scene) -> bool:
    """Return True if the world has such a scene: things, relation and counts fit, as in `iterate_scenes`."""
    first, second = scene.things
    counts = (first.count, second.count)
    if scene.relation not in find_possible_relations(first.kind, second.kind, counts, scene.place):
        return False
    if scene.relation == "on":
        return not second.opened and first.size == second.size == "medium"
    return scene.relation != "in front of" or scene.place not in world.INDOORS


# Changes of a caption, and changes whose scene is drawn.
_SWAPS: dict[str, Callable[[Scene], Scene | None]] = {
    "attribute": swap_colours,
    "relation": swap_roles,
    "count": swap_counts,
}
_TWIN_SWAPS: dict[str, Callable[[Scene], Scene | None]] = {**_SWAPS, "relation": _change_relation}


def _write_pair(scene: Scene, changed: Scene) -> tuple[str, str]:
    """Write the captions of a scene and of its changed version, in the same words."""
    rng = random.Random(f"composition/{scene!r}")
    way = rng.randrange(2)
    place_way = rng.choice((None, rng.randrange(len(world.PLACES[scene.place][1]))))
    return write_full_caption(scene, way, place_way), write_full_caption(changed, way, place_way)


def _make_twin(scene: Scene, stratum: str) -> tuple[Scene, Scene] | None:
    """Return the scene and its drawable change; None if there is none in the test split."""
    changed = _TWIN_SWAPS[stratum](scene)
    if changed is None or not _can_be_drawn(changed) or not belongs_to(changed, _SPLIT):
        return None
    return scene, changed


def _iterate_order_items(seed: int) -> Iterator[ChoiceItem]:
    for number, scene in enumerate(iterate_scenes(_SPLIT, seed)):
        texts = shuffle_caption(captions(scene)[0].text, random.Random(f"order/{scene!r}"))
        if texts is not None:
            yield ChoiceItem(f"order-{number:05d}", "order", make_image_ref(scene), texts)


def build_composition_test(
    num_order: int, num_per_swap: int, num_twins_per_swap: int, seed: int = 0
) -> CompositionTest:
    """Return a test of composition; the same arguments give the same test.

    Args:
        num_order: items of word order.
        num_per_swap: choices per kind of swap: attribute, relation and count.
        num_twins_per_swap: twins per kind of swap.
        seed: seed of the scenes.
    """
    choices = list(itertools.islice(_iterate_order_items(seed), num_order))
    twins: list[TwinItem] = []
    num_choices: Counter[str] = Counter()
    num_twins: Counter[str] = Counter()
    used: set[Scene] = set()
    for number, scene in enumerate(filter(_is_plain, iterate_scenes(_SPLIT, seed))):
        if (
            min(num_twins[name] for name in _SWAPS) >= num_twins_per_swap
            and min(num_choices[name] for name in _SWAPS) >= num_per_swap
        ):
            break
        for name, swap in _SWAPS.items():
            changed = swap(scene)
            if changed is not None and num_choices[name] < num_per_swap:
                num_choices[name] += 1
                pair = _write_pair(scene, changed)
                choices.append(ChoiceItem(f"{name}-{number:05d}", name, make_image_ref(scene), pair))
            pair_of_scenes = _make_twin(scene, name) if num_twins[name] < num_twins_per_swap else None
            if pair_of_scenes is not None and not used & {one.content for one in pair_of_scenes}:
                used |= {one.content for one in pair_of_scenes}
                num_twins[name] += 1
                first, second = map(make_image_ref, pair_of_scenes)
                twins.append(
                    TwinItem(f"twins-{name}-{number:05d}", name, (first, second), _write_pair(*pair_of_scenes))
                )
    return CompositionTest(choices, twins)
