"""Claims to judge: sampled from the content of scenes, then balanced so that words alone decide nothing.

A claim is taken either from the scene itself or from another one, so true and false claims use the same words.
Within groups of claims that share a form, only as many are kept per verdict as the rarest verdict has. The words
that are left say nothing about the verdict without the scene.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.claims import (
    AtTime,
    Claim,
    Count,
    Exists,
    HasColour,
    InBox,
    Related,
    list_visible_things,
)
from close_transfer.data.picturebook.scenes import Scene, find_possible_relations

T = TypeVar("T")


def _sample_exists(rng: random.Random, about: Scene, judged: Scene) -> Claim:
    thing = rng.choice(list_visible_things(about))
    kinds: tuple[str, ...] = (thing.kind,)
    if rng.random() < 0.35:
        kinds = world.list_kinds(world.KINDS[thing.kind].hypernym[0])
    colour = thing.colour if rng.random() < 0.35 else None
    place = about.place if rng.random() < 0.25 else None
    return Exists(kinds, colour, place)


def _sample_has_colour(rng: random.Random, about: Scene, judged: Scene) -> Claim:
    thing = rng.choice(list_visible_things(judged))
    colour = thing.colour if about is judged else rng.choice(tuple(world.COLOURS))
    return HasColour(thing.kind, colour)


def _sample_count(rng: random.Random, about: Scene, judged: Scene) -> Claim | None:
    # A scene has at most one box, so "two boxes" would never be true.
    countable = [thing for thing in judged.things if thing.kind != "box"]
    if not countable:
        return None
    thing = rng.choice(countable)
    return Count(thing.kind, rng.randint(2, 4), at_least=rng.random() < 0.35)


def _sample_at_time(rng: random.Random, about: Scene, judged: Scene) -> Claim:
    return AtTime(about.time or rng.choice(tuple(world.TIMES)))


def _sample_related(rng: random.Random, about: Scene, judged: Scene) -> Claim | None:
    if len(about.things) < 2 or about.relation is None:
        return None
    first, second = about.things[:2]
    relation = about.relation
    if about is judged and rng.random() < 0.6:
        # The same two things in another possible relation, or with their roles exchanged.
        if relation == "left of" and rng.random() < 0.6:
            first, second = second, first
        counts = (first.count, second.count)
        relation = rng.choice(find_possible_relations(first.kind, second.kind, counts, about.place))
    return Related(first.kind, relation, second.kind)


def _sample_in_box(rng: random.Random, about: Scene, judged: Scene) -> Claim | None:
    if not any(thing.kind == "box" for thing in judged.things):
        return None
    roll = rng.random()
    if roll < 0.25:
        return InBox(())
    content = rng.choice(world.BOX_CONTENTS)
    if about is judged:
        contents = [t.content.kind for t in judged.things if t.content is not None]
        content = rng.choice(contents or world.BOX_CONTENTS)
    if roll < 0.45:
        hypernym = world.KINDS[content].hypernym[0]
        return InBox(tuple(k for k in world.list_kinds(hypernym) if k in world.BOX_CONTENTS))
    return InBox((content,))


Family = Callable[[random.Random, Scene, Scene], Claim | None]

FAMILIES: dict[str, Family] = {
    "exists": _sample_exists,
    "colour": _sample_has_colour,
    "count": _sample_count,
    "time": _sample_at_time,
    "relation": _sample_related,
    "box": _sample_in_box,
}


def sample_claims(
    rng: random.Random, judged: Scene, others: Sequence[Scene], family: str, tries: int
) -> Iterable[Claim]:
    """Sample distinct claims of one family: half of the attempts about the scene, half about another."""
    seen_claims: set[Claim] = set()
    for number in range(tries):
        about = judged if number % 2 == 0 else rng.choice(others)
        claim = FAMILIES[family](rng, about, judged)
        if claim is not None and claim not in seen_claims and claim.truth(judged) != "unclear":
            seen_claims.add(claim)
            yield claim


def balance(
    candidates: Sequence[T],
    form: Callable[[T], Hashable],
    verdict: Callable[[T], Hashable],
    verdicts: Sequence[Hashable],
    max_per_form: int,
    rng: random.Random,
) -> list[T]:
    """Keep equally many candidates of every verdict within each form, in their order, and drop the rest.

    A form that lacks some verdict is dropped entirely, because it would give the verdict away.
    """
    groups: dict[Hashable, dict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, candidate in enumerate(candidates):
        groups[form(candidate)][verdict(candidate)].append(index)
    indices: list[int] = []
    for by_verdict in groups.values():
        number = min(max_per_form, *(len(by_verdict.get(v, ())) for v in verdicts))
        for outcome in verdicts:
            indices += rng.sample(by_verdict.get(outcome, []), number)
    return [candidates[index] for index in sorted(indices)]
