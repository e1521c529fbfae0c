"""Which words of Picturebook tell a kind of thing, a colour, a size, a number, a relation, a place or a time.

LiMBeR asks what transfers from pictures to words (arXiv 2209.15162, section 4): kinds or mere properties. In a world whose
words are all known the answer is a count.
"""

import re
from collections import Counter
from collections.abc import Sequence

from close_transfer.data.picturebook import world

_COUNTS = {*world.NUMBER_WORDS[1:], "pair", "couple"}
_RELATIONS = {"left", "right", "above", "over", "below", "under", "top", "front", "behind"}
# Beside the place's own name, words that only its phrases have.
_PLACES = {
    "grass": "park", "sand": "beach", "sea": "beach", "road": "street", "city": "street", "snowy": "snow", "dunes": "desert",
    "field": "farm", "fence": "farm", "tiled": "kitchen", "carpet": "bedroom",
}  # fmt: skip
_TIMES = {"daylight": "day", "sunny": "day", "evening": "sunset", "sun": "sunset", "dark": "night"}


def _map_nouns() -> dict[str, str]:
    """Plain singular name by noun of one word, synonyms and plurals included."""
    return {
        word: kind.name for kind in world.KINDS.values() for forms in kind.nouns for word in forms if " " not in word
    }


_NOUNS = _map_nouns()
_SIZES = {word: size for size, words in world.SIZE_WORDS.items() for word in words}

# Of each kind of word, what each word says: synonyms say the same.
KINDS_OF_WORDS: dict[str, dict[str, str]] = {
    "kind": _NOUNS,
    "colour": {colour: colour for colour in world.COLOURS},
    "size": _SIZES,
    "count": {word: word for word in _COUNTS} | {"pair": "two", "couple": "two"},
    "relation": {word: word for word in _RELATIONS} | {"over": "above", "under": "below"},
    "place": {place: place for place in world.PLACES} | _PLACES,
    "time": {time: time for time in world.TIMES} | _TIMES,
}


def find_words(text: str, kind: str) -> set[str]:
    """What a text says of one kind, each thing once."""
    meaning = KINDS_OF_WORDS[kind]
    return {meaning[word] for word in re.findall(r"[a-z]+", text.lower()) if word in meaning}


def score_words(captions: Sequence[str], references: Sequence[Sequence[str]], kind: str) -> tuple[list[float], ...]:
    """How well captions tell what one kind of word tells.

    Args:
        captions: one a picture.
        references: several a picture, in the same order.
        kind: of `KINDS_OF_WORDS`.

    Returns:
        For each picture: how many things were said, how many of them some reference says too, how many things at least
        two references say, and how many of these were said.
    """
    rows = []
    for caption, texts in zip(captions, references, strict=True):
        said = find_words(caption, kind)
        votes = Counter(thing for text in texts for thing in find_words(text, kind))
        agreed = {thing for thing, count in votes.items() if count > 1}
        rows.append((len(said), len(said & votes.keys()), len(agreed), len(said & agreed)))
    return tuple(map(list, zip(*rows, strict=True)))
