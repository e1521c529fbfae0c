"""Hypotheses about scenes: entailed, contradicted, or neither, each with a premise that suffices."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.captions import add_article, capitalize, captions
from close_transfer.data.picturebook.claim_sampling import FAMILIES, balance, sample_claims
from close_transfer.data.picturebook.claims import AtTime, Claim, Count, Exists, HasColour, InBox, Related, needs
from close_transfer.data.picturebook.scenes import Scene

Label = Literal["entailment", "neutral", "contradiction"]
LABELS: tuple[Label, ...] = ("entailment", "neutral", "contradiction")

_TRIES = 8  # claims attempted per scene and family
_NEGATED_SHARE = 0.1


@dataclass(frozen=True)
class Hypothesis:
    """A sentence to judge against a scene.

    Attributes:
        scene_number: position of the scene among those given.
        text: the sentence.
        label: its label for the scene.
        premise: a caption of the scene that states everything the label depends on.
        family: topic of the sentence, a key of `FAMILIES`.
    """

    scene_number: int
    text: str
    label: Label
    premise: str
    family: str


@dataclass(frozen=True)
class _Candidate:
    scene_number: int
    claim: Claim
    negated: bool
    label: Label
    family: str
    premises: tuple[str, ...]

    @property
    def form(self) -> tuple[object, ...]:
        """Return what the sentence gives away without the scene; labels are balanced within it."""
        detail: tuple[object, ...] = ()
        if isinstance(self.claim, Count):
            detail = (self.claim.number, self.claim.at_least)
        elif isinstance(self.claim, AtTime):
            detail = (self.claim.time,)
        elif isinstance(self.claim, InBox):
            detail = (len(self.claim.kinds),)
        elif isinstance(self.claim, Related):
            detail = (self.claim.relation,)
        elif isinstance(self.claim, Exists):
            detail = (len(self.claim.kinds) > 1, self.claim.colour is None, self.claim.place is None)
        return (self.family, self.negated, *detail)


def choose_name(rng: random.Random, kinds: Sequence[str], plural: bool = False) -> str:
    """Return a word for the kinds: a name or synonym for one kind, the wider class for several."""
    kind = world.KINDS[kinds[0]]
    if len(kinds) > 1:
        return kind.hypernym[plural]
    return rng.choices(kind.nouns, (3, 1))[0][plural]


def add_colour(kinds: Sequence[str], noun: str, colour: str | None) -> str:
    """Return "red dog", or "man in red"."""
    if colour is None:
        return noun
    if world.KINDS[kinds[0]].hypernym == world.PERSON:
        return f"{noun} in {colour}"
    return f"{colour} {noun}"


def _say_exists(rng: random.Random, claim: Exists, negated: bool) -> str:
    phrase = add_colour(claim.kinds, choose_name(rng, claim.kinds), claim.colour)
    where = rng.choice(world.PLACES[claim.place][1][:2]) if claim.place else "in the picture"
    if negated:
        return rng.choice(
            [
                f"there is no {phrase} {where}",
                f"no {phrase} is {where}",
                f"nobody can see {add_article(phrase)} {where}",
            ]
        )
    phrase = add_article(phrase)
    return rng.choice([f"there is {phrase} {where}", f"{phrase} is {where}", f"you can see {phrase} {where}"])


def _say_has_colour(rng: random.Random, claim: HasColour, negated: bool) -> str:
    noun = choose_name(rng, (claim.kind,))
    verb = "wears" if world.KINDS[claim.kind].hypernym == world.PERSON else "is"
    if verb == "wears":
        return f"the {noun} does not wear {claim.colour}" if negated else f"the {noun} wears {claim.colour}"
    return f"the {noun} is {'not ' if negated else ''}{claim.colour}"


def _say_count(rng: random.Random, claim: Count, negated: bool) -> str:
    nouns = choose_name(rng, (claim.kind,), plural=True)
    number = world.NUMBER_WORDS[claim.number]
    if claim.at_least:
        if negated:
            return rng.choice(
                [f"there are fewer than {number} {nouns}", f"the picture shows fewer than {number} {nouns}"]
            )
        return rng.choice([f"there are at least {number} {nouns}", f"the picture shows {number} or more {nouns}"])
    if negated:
        return rng.choice([f"there are not {number} {nouns}", f"the number of {nouns} is not {number}"])
    return rng.choice([f"there are {number} {nouns}", f"the picture shows {number} {nouns}"])


_TIME_SENTENCES = {
    "day": ("it is daytime", "it is day"),
    "sunset": ("the sun is going down", "it is evening"),
    "night": ("it is night", "it is nighttime"),
}


def _say_time(rng: random.Random, claim: AtTime, negated: bool) -> str:
    sentence = rng.choice(_TIME_SENTENCES[claim.time])
    return sentence.replace(" is ", " is not ", 1) if negated else sentence


def phrase_relation(rng: random.Random, claim: Related, first: str, second: str) -> tuple[str, str, str]:
    """Return (subject, relation in words, object), perhaps reversed: the object right of the subject."""
    inverses = {"left of": "to the right of", "above": "below", "in front of": "behind"}
    plain = {"left of": "to the left of", "on": rng.choice(("on", "on top of"))}.get(claim.relation, claim.relation)
    if claim.relation in inverses and rng.random() < 0.3:
        return second, inverses[claim.relation], first
    return first, plain, second


def _say_related(rng: random.Random, claim: Related, negated: bool) -> str:
    names = choose_name(rng, (claim.first,)), choose_name(rng, (claim.second,))
    subject, relation, other = phrase_relation(rng, claim, *names)
    if negated:
        return f"no {subject} is {relation} {add_article(other)}"
    return rng.choice(
        [
            f"{add_article(subject)} is {relation} {add_article(other)}",
            f"there is {add_article(subject)} {relation} {add_article(other)}",
        ]
    )


def _say_in_box(rng: random.Random, claim: InBox, negated: bool) -> str:
    box = rng.choice(("box", "box", "crate"))
    if not claim.kinds:
        return f"the {box} is {'not ' if negated else ''}empty"
    noun = choose_name(rng, claim.kinds)
    if negated:
        return rng.choice([f"there is no {noun} in the {box}", f"no {noun} is inside the {box}"])
    return rng.choice([f"there is {add_article(noun)} in the {box}", f"{add_article(noun)} is inside the {box}"])


def _say(rng: random.Random, claim: Claim, negated: bool) -> str:
    match claim:
        case Exists():
            text = _say_exists(rng, claim, negated)
        case HasColour():
            text = _say_has_colour(rng, claim, negated)
        case Count():
            text = _say_count(rng, claim, negated)
        case AtTime():
            text = _say_time(rng, claim, negated)
        case Related():
            text = _say_related(rng, claim, negated)
        case InBox():
            text = _say_in_box(rng, claim, negated)
    return capitalize(text) + "."


def _decide_label(truth: str, negated: bool) -> Label:
    if truth == "unknown":
        return "neutral"
    return "entailment" if (truth == "yes") != negated else "contradiction"


def hypotheses(scenes: Sequence[Scene], seed: int, max_per_form: int) -> list[Hypothesis]:
    """Write balanced hypotheses about these scenes, in the order of the scenes.

    Args:
        scenes: the scenes of one split.
        seed: decides which claims are attempted and which words are used.
        max_per_form: maximum number of hypotheses per form and label, which bounds the total.
    """
    rng = random.Random(f"hypotheses/{seed}/{len(scenes)}")
    candidates = []
    for number, scene in enumerate(scenes):
        scene_captions = captions(scene)
        for family in FAMILIES:
            for claim in sample_claims(rng, scene, scenes, family, _TRIES):
                negated = rng.random() < _NEGATED_SHARE
                label = _decide_label(claim.truth(scene), negated)
                required = needs(claim, scene)
                premises = tuple(caption.text for caption in scene_captions if required <= caption.mentions)
                if premises:  # else no caption states what the label depends on
                    candidates.append(_Candidate(number, claim, negated, label, family, premises))
    rng.shuffle(candidates)
    chosen = balance(candidates, lambda c: c.form, lambda c: c.label, LABELS, max_per_form, rng)
    chosen.sort(key=lambda c: c.scene_number)
    sentences = []
    for candidate in chosen:
        text = _say(rng, candidate.claim, candidate.negated)
        premise = rng.choice(candidate.premises)
        sentences.append(Hypothesis(candidate.scene_number, text, candidate.label, premise, candidate.family))
    return sentences
