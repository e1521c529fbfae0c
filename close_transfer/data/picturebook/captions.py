"""Captions: five per scene, as five people would write them.

The first writer is careful and mentions nearly everything in the scene. The others leave more and more out, use
other words and other orders, and the last one prefers general words. Each caption knows what it mentions, so
that hypotheses can be judged from it alone.
"""

import random
from dataclasses import dataclass
from typing import Literal

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.scenes import Scene, Thing

Aspect = Literal["things", "colours", "counts", "relation", "place", "time", "view", "box"]


@dataclass(frozen=True)
class Caption:
    """A caption, and the aspects of the scene that it states in full."""

    text: str
    mentions: frozenset[Aspect]


@dataclass(frozen=True)
class _Habits:
    """Probabilities that one writer mentions each aspect."""

    colours: float = 1.0
    sizes: float = 1.0
    counts: float = 1.0
    relation: float = 1.0
    place: float = 1.0
    time: float = 1.0
    view: float = 1.0
    box: float = 1.0
    all_things: float = 1.0
    synonyms: float = 0.25
    hypernyms: float = 0.0


WRITERS: tuple[_Habits, ...] = (
    _Habits(colours=0.95, sizes=0.8, relation=0.95, place=0.8, time=0.5, view=0.9, box=0.95, synonyms=0.15),
    _Habits(colours=0.8, sizes=0.4, relation=0.8, place=0.45, time=0.15, view=0.6, box=0.7, all_things=0.9),
    _Habits(
        colours=0.55, sizes=0.2, relation=0.5, place=0.55, time=0.3, view=0.5, box=0.5,
        all_things=0.85, synonyms=0.35,
    ),
    _Habits(
        colours=0.5, sizes=0.2, counts=0.9, relation=0.5, place=0.1, time=0.03, view=0.25, box=0.5, all_things=0.75,
    ),
    _Habits(
        colours=0.3, sizes=0.15, counts=0.5, relation=0.4, place=0.35, time=0.15, view=0.35, box=0.3,
        all_things=0.65, synonyms=0.4, hypernyms=0.5,
    ),
)  # fmt: skip


def add_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase, by its first letter."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def capitalize(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[0].upper() + text[1:]


def _choose_noun(rng: random.Random, kind: str, plural: bool, habits: _Habits) -> str:
    entry = world.KINDS[kind]
    if rng.random() < habits.hypernyms:
        return entry.hypernym[plural]
    synonym = len(entry.nouns) > 1 and rng.random() < habits.synonyms
    return entry.nouns[1 if synonym else 0][plural]


def _add_count(rng: random.Random, phrase: str, count: int, exactly: bool) -> str:
    if count == 1:
        return add_article(phrase)
    if not exactly:
        return f"{rng.choice(('some', 'several', 'a few'))} {phrase}"
    word = world.NUMBER_WORDS[count]
    phrasings = [word, word, f"a group of {word}"]
    if count == 2:
        phrasings = [word, word, "a pair of", "a couple of"]
    return f"{rng.choice(phrasings)} {phrase}"


@dataclass
class _Coverage:
    """Aspects that the caption states so far; an aspect that stays False was left out."""

    colours: bool
    counts: bool
    box: bool
    things: bool = True
    relation: bool = True


def _write_noun_phrase(rng: random.Random, thing: Thing, scene: Scene, habits: _Habits, coverage: _Coverage) -> str:
    """Write the words for one group of things; record in `coverage` what they leave out."""
    plural = thing.count > 1
    noun = _choose_noun(rng, thing.kind, plural, habits)
    if noun == world.KINDS[thing.kind].hypernym[plural]:
        coverage.things = False
    exactly = thing.count == 1 or rng.random() < habits.counts
    coverage.counts &= exactly
    size = ""
    if world.SIZE_WORDS[thing.size] and rng.random() < habits.sizes:
        size = rng.choice(world.SIZE_WORDS[thing.size]) + " "
    colour = ""
    if scene.view != "black-and-white":
        if rng.random() < habits.colours:
            colour = thing.colour
        else:
            coverage.colours = False
    if thing.kind == "box":
        return _write_box_phrase(rng, thing, scene, size, colour, noun, habits, coverage)
    if world.KINDS[thing.kind].hypernym == world.PERSON and colour:
        phrasings = [f"in {colour}", f"wearing {colour}", f"dressed in {colour}"]
        return f"{_add_count(rng, size + noun, thing.count, exactly)} {rng.choice(phrasings)}"
    return _add_count(rng, f"{size}{colour} {noun}".replace("  ", " ").strip(), thing.count, exactly)


def _write_box_phrase(
    rng: random.Random,
    thing: Thing,
    scene: Scene,
    size: str,
    colour: str,
    noun: str,
    habits: _Habits,
    coverage: _Coverage,
) -> str:
    plain = f"{size}{colour} {noun}".strip()
    if rng.random() >= habits.box:
        coverage.box = False
        return add_article(plain)
    if not thing.opened:
        phrasings = [f"closed {plain}", f"{plain} with its lid on", f"closed {plain} with a ribbon"]
        return add_article(rng.choice(phrasings))
    if thing.content is None:
        phrasings = [f"empty {plain}", f"open {plain} with nothing in it", f"open and empty {plain}"]
        return add_article(rng.choice(phrasings))
    content = _write_noun_phrase(rng, thing.content, scene, habits, coverage)
    plain = add_article(f"open {plain}")
    return rng.choice([f"{plain} with {content} in it", f"{plain} with {content} inside", f"{content} in {plain}"])


_SITTERS = (world.ANIMAL, world.PERSON)


def _join_related(rng: random.Random, scene: Scene, first: str, second: str) -> str:
    """Join the first two groups by a phrase for their relation."""
    first_thing, second_thing = scene.things[:2]
    if scene.relation == "left of":
        phrasings = [
            f"{first} to the left of {second}",
            f"{first} on the left of {second}",
            f"{second} to the right of {first}",
            f"{second} on the right of {first}",
            f"{first} on the left and {second} on the right",
        ]
    elif scene.relation == "above":
        phrasings = [
            f"{first} above {second}",
            f"{first} over {second}",
            f"{second} below {first}",
            f"{second} under {first}",
        ]
        if scene.place in world.OUTDOORS:
            phrasings.append(f"{first} in the sky above {second}")
    elif scene.relation == "on":
        phrasings = [f"{first} on {second}", f"{first} on top of {second}", f"{second} with {first} on top"]
        if world.KINDS[first_thing.kind].hypernym in _SITTERS:
            phrasings.append(f"{first} sitting on {second}")
    else:
        phrasings = [f"{first} in front of {second}", f"{second} behind {first}"]
        if second_thing.count == 1:
            phrasings.append(f"{second} with {first} in front of it")
    return rng.choice(phrasings)


def _write_core(rng: random.Random, scene: Scene, habits: _Habits, coverage: _Coverage) -> str:
    """Write the things and their relation."""
    groups = list(scene.things)
    if len(groups) > 1 and rng.random() >= habits.all_things:
        groups = groups[: rng.randint(1, len(groups) - 1)]
        coverage.things = coverage.relation = False
    phrases = [_write_noun_phrase(rng, thing, scene, habits, coverage) for thing in groups]
    if len(phrases) == 1:
        return phrases[0]
    if rng.random() < habits.relation:
        text = _join_related(rng, scene, *phrases[:2])
    else:
        coverage.relation = False
        phrasings = [
            f"{phrases[0]} and {phrases[1]}",
            f"{phrases[1]} and {phrases[0]}",
            f"{phrases[0]} with {phrases[1]}",
        ]
        if scene.relation == "left of":
            phrasings += [f"{phrases[0]} next to {phrases[1]}", f"{phrases[1]} beside {phrases[0]}"]
        text = rng.choice(phrasings)
    if len(phrases) == 3:
        text += rng.choice([f", and also {phrases[2]}", f", with {phrases[2]} nearby", f", along with {phrases[2]}"])
    return text


def _frame_core(rng: random.Random, scene: Scene, core: str, place: str, time: str, view: str) -> str:
    """Put core, place, time and view into one of the orders that people use."""
    where = [part for part in (place, time) if part]
    if view and scene.view == "black-and-white":
        opening = rng.choice(
            ("a black and white photo of", "a black and white picture of", "an old black and white photo of")
        )
        return " ".join([opening, core, *where])
    if view:
        where.append(rng.choice(("in thick fog", "in the fog", "in dense fog")))
    if where and rng.random() < 0.2:
        return f"{where[-1]}, {' '.join([core, *where[:-1]])}"
    one_thing_first = core.startswith(("a ", "an ")) and not core.startswith(
        ("a few ", "a group ", "a pair ", "a couple ")
    )
    opening = rng.choice(["", "", "", "a picture of ", "a drawing of ", "there is " if one_thing_first else ""])
    return opening + " ".join([core, *where])


def _write(rng: random.Random, scene: Scene, habits: _Habits) -> Caption:
    has_colours = scene.view != "black-and-white"
    coverage = _Coverage(colours=has_colours, counts=True, box=True)
    core = _write_core(rng, scene, habits, coverage)
    tells_place = rng.random() < habits.place
    tells_time = scene.time is not None and rng.random() < habits.time
    tells_view = scene.view != "clear" and rng.random() < habits.view
    place = rng.choice(world.PLACES[scene.place][1]) if tells_place else ""
    time = rng.choice(world.TIMES[scene.time]) if tells_time and scene.time else ""
    text = _frame_core(rng, scene, core, place, time, "view" if tells_view else "")
    tells: dict[Aspect, bool] = {
        "things": coverage.things,
        "colours": coverage.colours,
        "counts": coverage.counts,
        "relation": coverage.relation,
        "place": tells_place,
        "time": tells_time,
        "view": tells_view or scene.view == "clear",
        "box": coverage.box and coverage.things,
    }
    return Caption(capitalize(text) + ".", frozenset(aspect for aspect, is_told in tells.items() if is_told))


def caption(scene: Scene, writer: int, rng: random.Random) -> Caption:
    """Write one caption by one of the `WRITERS`."""
    return _write(rng, scene, WRITERS[writer])


def captions(scene: Scene) -> tuple[Caption, ...]:
    """Write five different captions, one per writer, the fullest first. The same scene gives the same words."""
    rng = random.Random(f"captions/{scene!r}")
    written: list[Caption] = []
    for writer in range(len(WRITERS)):
        new = caption(scene, writer, rng)
        for _ in range(8):  # a few attempts at words that no earlier writer used
            if new.text not in {old.text for old in written}:
                break
            new = caption(scene, writer, rng)
        written.append(new)
    return tuple(written)
