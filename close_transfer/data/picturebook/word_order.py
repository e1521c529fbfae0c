"""ARO's four shuffles of a caption's words (arXiv 2210.01936), with Picturebook's own list of nouns and adjectives."""

import random
from collections.abc import Callable, Sequence

from close_transfer.data.picturebook import world
from close_transfer.data.picturebook.captions import capitalize

_MAX_TRIES = 20  # shuffles drawn until one differs from the caption

_NOUNS = {
    word
    for kind in world.KINDS.values()
    for pair in (*kind.nouns, kind.hypernym)
    for phrase in pair
    for word in phrase.split()
    if word not in ("in", "the", "shining")
} | {
    "park", "grass", "beach", "sand", "sea", "street", "road", "city", "snow", "ground", "landscape", "desert", "dunes",
    "farm", "field", "fence", "kitchen", "floor", "bedroom", "carpet", "day", "daylight", "sunset", "evening", "sun",
    "night", "sky", "fog", "photo", "picture", "drawing", "group", "pair", "couple", "left", "right", "top", "lid", "dark",
    "ribbon",
}  # fmt: skip
_ADJECTIVES = {*world.COLOURS, *(word for words in world.SIZE_WORDS.values() for word in words)} | {
    "shining", "snowy", "tiled", "sunny", "bright", "open", "closed", "empty", "thick", "dense", "old",
}  # fmt: skip


def _permute(rng: random.Random, words: Sequence[str], positions: Sequence[int]) -> list[str]:
    """Return the words with those at these positions permuted."""
    permuted = list(words)
    for position, source in zip(positions, rng.sample(positions, len(positions)), strict=True):
        permuted[position] = words[source]
    return permuted


def _shuffle_nouns_and_adjectives(rng: random.Random, words: Sequence[str]) -> list[str]:
    """Permute nouns among nouns, and adjectives among adjectives."""
    nouns = _permute(rng, words, [i for i, word in enumerate(words) if word in _NOUNS])
    return _permute(rng, nouns, [i for i, word in enumerate(words) if word in _ADJECTIVES])


def _shuffle_others(rng: random.Random, words: Sequence[str]) -> list[str]:
    """Permute all words but nouns and adjectives."""
    return _permute(rng, words, [i for i, word in enumerate(words) if word not in _NOUNS | _ADJECTIVES])


def _split_trigrams(words: Sequence[str]) -> list[list[str]]:
    return [list(words[start : start + 3]) for start in range(0, len(words), 3)]


def _shuffle_within_trigrams(rng: random.Random, words: Sequence[str]) -> list[str]:
    """Permute the words within each group of three."""
    return [word for trigram in _split_trigrams(words) for word in rng.sample(trigram, len(trigram))]


def _shuffle_trigrams(rng: random.Random, words: Sequence[str]) -> list[str]:
    """Permute the groups of three words."""
    trigrams = _split_trigrams(words)
    return [word for trigram in rng.sample(trigrams, len(trigrams)) for word in trigram]


SHUFFLES: dict[str, Callable[[random.Random, Sequence[str]], list[str]]] = {
    "nouns and adjectives": _shuffle_nouns_and_adjectives,
    "all but nouns and adjectives": _shuffle_others,
    "within trigrams": _shuffle_within_trigrams,
    "trigrams": _shuffle_trigrams,
}


def shuffle_caption(caption: str, rng: random.Random) -> tuple[str, ...] | None:
    """Return the caption without commas, and its four shuffles, each with a capital first and a full stop last.

    Commas, capitals and full stops would give the right order away. None if a shuffle cannot differ from the caption.
    """
    words = caption.replace(",", "").rstrip(".").split()
    words[0] = words[0][0].lower() + words[0][1:]
    texts = [words]
    for shuffle in SHUFFLES.values():
        drawn = (shuffle(rng, words) for _ in range(_MAX_TRIES))
        different = next((shuffled for shuffled in drawn if shuffled != words), None)
        if different is None:
            return None
        texts.append(different)
    return tuple(capitalize(" ".join(text)) + "." for text in texts)
