"""Picturebook's words by type: kind of thing, colour, size, count, relation, place and time.

LiMBeR asks what transfers from images to words (arXiv 2209.15162, section 4): kinds of things, or their properties only.
In a world whose words are all known, the answer is a count.
"""

import re
from collections import Counter
from collections.abc import Sequence

from close_transfer.data.picturebook import world

_COUNTS = {*world.NUMBER_WORDS[1:], "pair", "couple"}
_RELATIONS = {"left", "right", "above", "over", "below", "under", "top", "front", "behind"}
# Words other than the place's name that occur only in phrases for that place.
_PLACES = {
    "grass": "park", "sand": "beach", "sea": "beach", "road": "street", "city": "street", "snowy": "snow", "dunes": "desert",
    "field": "farm", "fence": "farm", "tiled": "kitchen", "carpet": "bedroom",
}  # fmt: skip
_TIMES = {"daylight": "day", "sunny": "day", "evening": "sunset", "sun": "sunset", "dark": "night"}


def _map_nouns() -> dict[str, str]:
    """Map each noun of one word, synonyms and plurals included, to the name of its kind."""
    return {
        word: kind.name for kind in world.KINDS.values() for forms in kind.nouns for word in forms if " " not in word
    }


_NOUNS = _map_nouns()
_SIZES = {word: size for size, words in world.SIZE_WORDS.items() for word in words}

# By type of word, the meaning of each word; synonyms have the same meaning.
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
    """Return the meanings of a text's words of one type."""
    meaning = KINDS_OF_WORDS[kind]
    return {meaning[word] for word in re.findall(r"[a-z]+", text.lower()) if word in meaning}


def score_words(captions: Sequence[str], references: Sequence[Sequence[str]], kind: str) -> tuple[list[float], ...]:
    """Count the words of one type that captions share with their references.

    Args:
        captions: one caption per image.
        references: references of each image, in the same order.
        kind: type of word, a key of `KINDS_OF_WORDS`.

    Returns:
        four counts per image: words of the caption, those of them in any reference, words in at least two references,
        and those of them in the caption.
    """
    rows = []
    for caption, texts in zip(captions, references, strict=True):
        words = find_words(caption, kind)
        num_references = Counter(word for text in texts for word in find_words(text, kind))
        agreed = {word for word, count in num_references.items() if count > 1}
        rows.append((len(words), len(words & num_references.keys()), len(agreed), len(words & agreed)))
    return tuple(map(list, zip(*rows, strict=True)))
