"""Questions about scenes, each with the answers of ten annotators who do not always agree.

A question is used only if one of the captions states its answer, as in VQA-E, whose answers are found in the
text. A text without the answer could only teach the model to guess.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.captions import Aspect, add_article, capitalize, captions
from close_transfer.data.picturebook.claim_sampling import balance, sample_claims
from close_transfer.data.picturebook.claims import AtTime, Claim, Exists, HasColour, Related, list_visible_things, needs
from close_transfer.data.picturebook.hypotheses import add_colour, choose_name, phrase_relation
from close_transfer.data.picturebook.scenes import Scene

AnswerType = Literal["yes/no", "number", "other"]
NUM_ANNOTATORS = 10

# The share of annotators who give another answer: most questions are easy, some are not.
_EASY, _HARD, _HARD_SHARE = 0.03, 0.25, 0.2

_LOOKS_LIKE = {
    "red": ("orange", "pink"), "orange": ("red", "yellow"), "yellow": ("orange", "gold"),
    "green": ("blue", "teal"), "blue": ("purple", "navy"), "purple": ("blue", "violet"),
    "pink": ("red", "purple"), "brown": ("orange", "tan"), "black": ("gray", "dark"), "white": ("gray", "cream"),
}  # fmt: skip
_TIME_ANSWERS = {
    "day": ("day", "daytime", "noon"),
    "sunset": ("evening", "sunset", "dusk"),
    "night": ("night", "nighttime", "midnight"),
}
_PLACE_SLIPS = {
    "park": ("grass", "field"), "beach": ("sand", "ocean"), "street": ("road", "city"), "snow": ("mountains", "outside"),
    "desert": ("sand", "dunes"), "farm": ("field", "fence"), "kitchen": ("house", "indoors"), "bedroom": ("house", "room"),
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A question about one scene.

    Attributes:
        scene_number: position of the scene among those given.
        text: the question.
        answers: one answer per annotator.
        answer_type: "yes/no", "number" or "other", as in VQA v2.
        family: topic of the question.
    """

    scene_number: int
    text: str
    answers: tuple[str, ...]
    answer_type: AnswerType
    family: str


@dataclass(frozen=True)
class _Draft:
    text: str
    answer: str
    slips: tuple[str, ...]  # answer that an annotator gives by mistake now and then
    needs: AbstractSet[Aspect]  # aspects that a caption must state so that it contains the answer


@dataclass(frozen=True)
class _Candidate:
    scene_number: int
    family: str
    answer_type: AnswerType
    draft: _Draft


# Weights of the families, per family and answer, so that the kinds of question keep about the
# proportions of VQA v2: four in ten yes/no, one and a half number, the rest other.
_WEIGHTS = {
    "exists": 8,
    "colour": 4,
    "time": 4,
    "relation": 4,
    "how many": 4,
    "what colour": 2,
    "what": 2,
    "where": 2,
    "when": 2,
}


def _ask_claim(rng: random.Random, claim: Claim) -> str | None:
    match claim:
        case Exists():
            phrase = add_article(add_colour(claim.kinds, choose_name(rng, claim.kinds), claim.colour))
            where = world.PLACES[claim.place][1][1] if claim.place else rng.choice(("in the picture", "here"))
            return f"is there {phrase} {where}"
        case HasColour():
            noun = choose_name(rng, (claim.kind,))
            if world.KINDS[claim.kind].hypernym == world.PERSON:
                return f"is the {noun} wearing {claim.colour}"
            return f"is the {noun} {claim.colour}"
        case AtTime():
            return {"day": "is it daytime", "sunset": "is the sun going down", "night": "is it night"}[claim.time]
        case Related():
            names = choose_name(rng, (claim.first,)), choose_name(rng, (claim.second,))
            subject, relation, other = phrase_relation(rng, claim, *names)
            return f"is {add_article(subject)} {relation} {add_article(other)}"
    return None


def _draft_yes_no(rng: random.Random, scene: Scene, scenes: Sequence[Scene], family: str) -> Iterable[_Draft]:
    for claim in sample_claims(rng, scene, scenes, family, tries=4):
        truth = claim.truth(scene)
        text = _ask_claim(rng, claim)
        if text is not None and truth in ("yes", "no"):
            yield _Draft(text, truth, ("no" if truth == "yes" else "yes",), needs(claim, scene))


def _draft_how_many(rng: random.Random, scene: Scene) -> Iterable[_Draft]:
    if scene.view == "fog":
        return
    for thing in scene.things:
        if thing.kind == "box":
            continue
        nouns = choose_name(rng, (thing.kind,), plural=True)
        slips = tuple(str(n) for n in (thing.count - 1, thing.count + 1) if n > 0)
        text = rng.choice((f"how many {nouns} are there", f"how many {nouns} can you see"))
        yield _Draft(text, str(thing.count), slips, {"things", "counts"})


def _draft_what_colour(rng: random.Random, scene: Scene) -> Iterable[_Draft]:
    things = list_visible_things(scene)
    if scene.view == "black-and-white" or len({t.kind for t in things}) < len(things):
        return
    for thing in things:
        noun = choose_name(rng, (thing.kind,), plural=thing.count > 1)
        verb = "are" if thing.count > 1 else "is"
        worn = world.KINDS[thing.kind].hypernym == world.PERSON
        text = f"what colour {verb} the {noun} wearing" if worn else f"what colour {verb} the {noun}"
        yield _Draft(text, thing.colour, _LOOKS_LIKE[thing.colour], {"things", "colours", "box"})


def _draft_what(rng: random.Random, scene: Scene) -> Iterable[_Draft]:
    def list_slips(kind: str) -> tuple[str, ...]:
        entry = world.KINDS[kind]
        return entry.nouns[1][0], entry.hypernym[0]

    if len(scene.things) == 2 and scene.relation:
        first, second = scene.things
        words = {"left of": "to the left of", "in front of": "in front of"}.get(scene.relation, scene.relation)
        other = choose_name(rng, (second.kind,), plural=second.count > 1)
        yield _Draft(f"what is {words} the {other}", first.kind, list_slips(first.kind), {"things", "relation"})
        if scene.relation == "left of":
            other = choose_name(rng, (first.kind,), plural=first.count > 1)
            text = f"what is to the right of the {other}"
            yield _Draft(text, second.kind, list_slips(second.kind), {"things", "relation"})
    for thing in scene.things:
        if thing.kind == "box" and thing.opened:
            answer = thing.content.kind if thing.content else "nothing"
            wrong_answers = list_slips(answer) if thing.content else ("air",)
            yield _Draft("what is in the box", answer, wrong_answers, {"things", "box"})


def _draft_where(rng: random.Random, scene: Scene) -> Iterable[_Draft]:
    thing = scene.things[0]
    noun = choose_name(rng, (thing.kind,), plural=thing.count > 1)
    verb = "are" if thing.count > 1 else "is"
    text = rng.choice((f"where {verb} the {noun}", "where is this", "where was this picture taken"))
    yield _Draft(text, world.PLACES[scene.place][0], _PLACE_SLIPS[scene.place], {"place"})


def _draft_when(rng: random.Random, scene: Scene) -> Iterable[_Draft]:
    if scene.time is not None:
        answer, *slips = _TIME_ANSWERS[scene.time]
        yield _Draft("what time of day is it", answer, tuple(slips), {"time"})


_YES_NO = ("exists", "colour", "time", "relation")
_ANSWER_TYPES: dict[str, AnswerType] = {**dict.fromkeys(_YES_NO, "yes/no"), "how many": "number"}  # else "other"

_OPEN: dict[str, Callable[[random.Random, Scene], Iterable[_Draft]]] = {
    "how many": _draft_how_many,
    "what colour": _draft_what_colour,
    "what": _draft_what,
    "where": _draft_where,
    "when": _draft_when,
}


def _collect_candidates(rng: random.Random, number: int, scenes: Sequence[Scene]) -> Iterator[_Candidate]:
    """Return all possible questions about one scene that one of its captions answers."""
    scene = scenes[number]
    mentioned = [caption.mentions for caption in captions(scene)]
    drafts = {family: _draft_yes_no(rng, scene, scenes, family) for family in _YES_NO}
    drafts |= {family: ask(rng, scene) for family, ask in _OPEN.items()}
    for family, family_drafts in drafts.items():
        for draft in family_drafts:
            if any(draft.needs <= mentions for mentions in mentioned):
                yield _Candidate(number, family, _ANSWER_TYPES.get(family, "other"), draft)


def _simulate_annotators(rng: random.Random, answer: str, slips: Sequence[str]) -> tuple[str, ...]:
    """Return ten answers; the true one is always the most frequent, or ties for it."""
    rate = _HARD if rng.random() < _HARD_SHARE else _EASY
    answers = [rng.choice(slips) if slips and rng.random() < rate else answer for _ in range(NUM_ANNOTATORS)]
    if answers.count(answer) < NUM_ANNOTATORS // 2:
        answers[: NUM_ANNOTATORS // 2] = [answer] * (NUM_ANNOTATORS // 2)
    return tuple(answers)


def questions(scenes: Sequence[Scene], seed: int, max_per_form: int) -> list[Question]:
    """Write questions about these scenes, balanced by answer within each family, in the order of the scenes.

    Args:
        scenes: the scenes of one split.
        seed: decides which questions are attempted, their words and the annotators' mistakes.
        max_per_form: maximum number of questions per family and answer, times the family's weight.
    """
    rng = random.Random(f"questions/{seed}/{len(scenes)}")
    by_family: dict[str, list[_Candidate]] = {}
    for number in range(len(scenes)):
        for candidate in _collect_candidates(rng, number, scenes):
            by_family.setdefault(candidate.family, []).append(candidate)
    chosen: list[_Candidate] = []
    for family, candidates in by_family.items():
        rng.shuffle(candidates)
        answers = sorted({c.draft.answer for c in candidates})
        max_per_answer = max_per_form * _WEIGHTS[family]
        if family == "what":
            # Some answers are rare here; limiting all others to their number would leave hardly any question.
            chosen += _cap_per_answer(candidates, max_per_answer)
        else:
            chosen += balance(candidates, lambda c: c.family, lambda c: c.draft.answer, answers, max_per_answer, rng)
    chosen.sort(key=lambda c: c.scene_number)
    return [
        Question(
            c.scene_number,
            capitalize(c.draft.text) + "?",
            _simulate_annotators(rng, c.draft.answer, c.draft.slips),
            c.answer_type,
            c.family,
        )
        for c in chosen
    ]


def _cap_per_answer(candidates: Sequence[_Candidate], max_per_answer: int) -> list[_Candidate]:
    """Keep at most `max_per_answer` candidates of each answer."""
    remaining: dict[str, int] = {}
    capped = []
    for candidate in candidates:
        answer = candidate.draft.answer
        remaining.setdefault(answer, max_per_answer)
        if remaining[answer] > 0:
            remaining[answer] -= 1
            capped.append(candidate)
    return capped
