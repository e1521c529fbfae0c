"""Claims about a scene: true, false, or undecidable from the image.

Four things make a claim undecidable, and each is plain to see and stated in the captions: fog (it may hide
more), a black and white image (no colours), an indoor scene without a window (no time of day), a closed box (no
content). Everything else is taken to be as the image shows it.
"""

from dataclasses import dataclass
from typing import Literal

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.captions import Aspect
from close_transfer.data.picturebook.scenes import Scene, Thing

# "unclear" marks claims that people would dispute; the dataset does not use them.
Truth = Literal["yes", "no", "unknown", "unclear"]


def list_visible_things(scene: Scene) -> list[Thing]:
    """Return all groups of visible things, including the content of an open box."""
    inside = [thing.content for thing in scene.things if thing.content is not None]
    return [*scene.things, *inside]


def count_kind(scene: Scene, kind: str) -> int:
    """Count the visible things of that kind."""
    return sum(thing.count for thing in list_visible_things(scene) if thing.kind == kind)


@dataclass(frozen=True)
class Exists:
    """Claim: there is a thing of one of these kinds, optionally of a colour, optionally at a place."""

    kinds: tuple[str, ...]
    colour: str | None = None
    place: str | None = None

    def truth(self, scene: Scene) -> Truth:
        matching = [thing for thing in list_visible_things(scene) if thing.kind in self.kinds]
        if self.place is not None and scene.place != self.place:
            return "no"
        if matching and self.colour is None:
            return "yes"
        if self.colour is not None and scene.view == "black-and-white":
            return "unknown" if matching else "no"
        if any(thing.colour == self.colour for thing in matching):
            return "yes"
        if scene.view == "fog":
            return "unknown"
        hidden = any(thing.opened is False for thing in scene.things)
        return "unclear" if hidden and set(self.kinds) & set(world.BOX_CONTENTS) else "no"

    def needs(self) -> set[Aspect]:
        aspects: set[Aspect] = {"things", "view", "box"}
        if self.colour:
            aspects.add("colours")
        if self.place:
            aspects.add("place")
        return aspects


@dataclass(frozen=True)
class HasColour:
    """Claim: the thing of this kind, known to be there, has that colour."""

    kind: str
    colour: str

    def truth(self, scene: Scene) -> Truth:
        colours = {thing.colour for thing in list_visible_things(scene) if thing.kind == self.kind}
        if len(colours) != 1:
            return "unclear"
        if scene.view == "black-and-white":
            return "unknown"
        return "yes" if self.colour in colours else "no"

    def needs(self) -> set[Aspect]:
        return {"things", "colours", "view", "box"}


@dataclass(frozen=True)
class Count:
    """Claim: there are exactly (or at least) `number` things of a kind."""

    kind: str
    number: int
    at_least: bool = False

    def truth(self, scene: Scene) -> Truth:
        num_visible = count_kind(scene, self.kind)
        if self.at_least and num_visible >= self.number:
            return "yes"
        if num_visible > self.number:
            return "no"
        if scene.view == "fog":
            return "unclear" if num_visible == self.number else "unknown"
        return "yes" if num_visible == self.number else "no"

    def needs(self) -> set[Aspect]:
        return {"things", "counts", "view", "box"}


@dataclass(frozen=True)
class AtTime:
    """Claim: it is that time of day."""

    time: str

    def truth(self, scene: Scene) -> Truth:
        if scene.time is None:
            return "unknown"
        return "yes" if scene.time == self.time else "no"

    def needs(self) -> set[Aspect]:
        return {"place", "time"}


@dataclass(frozen=True)
class Related:
    """Claim: a thing of the first kind is in this relation to one of the second."""

    first: str
    relation: str
    second: str

    def truth(self, scene: Scene) -> Truth:
        kinds = [thing.kind for thing in scene.things]
        both = kinds[:2]
        if both == [self.first, self.second]:
            return self._judge_same_pair(scene, reverse=False)
        if both == [self.second, self.first]:
            return self._judge_same_pair(scene, reverse=True)
        if self.first in kinds and self.second in kinds:
            return "unclear"  # captions state no relation of the third group
        return "unknown" if scene.view == "fog" else "no"

    def _judge_same_pair(self, scene: Scene, reverse: bool) -> Truth:
        if not reverse and scene.relation == self.relation:
            return "yes"
        # If one thing is higher and also to one side, both "above" and "left of" are acceptable.
        levels = {world.KINDS[self.first].sky, world.KINDS[self.second].sky}
        if {scene.relation, self.relation} == {"left of", "above"} and len(levels) == 2:
            return "unclear"
        return "no"

    def needs(self) -> set[Aspect]:
        return {"things", "relation", "view"}


@dataclass(frozen=True)
class InBox:
    """Claim: the box holds a thing of one of these kinds; no kinds: it is empty."""

    kinds: tuple[str, ...]

    def truth(self, scene: Scene) -> Truth:
        box = next((thing for thing in scene.things if thing.kind == "box"), None)
        if box is None:
            return "unclear"
        if not box.opened:
            return "unknown"
        if box.content is None:
            return "no" if self.kinds else "yes"
        return "yes" if box.content.kind in self.kinds else "no"

    def needs(self) -> set[Aspect]:
        return {"things", "box"}


Claim = Exists | HasColour | Count | AtTime | Related | InBox


def needs(claim: Claim, scene: Scene) -> set[Aspect]:
    """Return the aspects that a text must state so that it decides the claim as the image does."""
    aspects = claim.needs()
    if isinstance(claim, AtTime):  # indoors the place implies that the time is unknown
        aspects.discard("time" if scene.time is None else "place")
    if scene.view == "black-and-white":
        aspects.discard("colours")
    if len(scene.things) == 1:
        aspects.discard("relation")
    return aspects
