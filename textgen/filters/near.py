"""Finds texts that are nearly the same: MinHash proposes, the true Jaccard similarity decides.

Two texts are compared by the sets of their words and pairs of neighbouring words. How many of both sets' members are
in both is their Jaccard similarity. Of a caption of ten different words (19 members):

| change                          | similarity      |
|---|---|
| the last word is another        | 17 / 21 = 0.81  |
| a word inside is left out       | 16 / 20 = 0.80  |
| a word inside is another        | 16 / 22 = 0.73  |
| two words inside are others     | 13 / 25 = 0.52  |

So at 0.8 a caption of ten words may differ at its end or lack a word, and a caption of fifteen words may have another
word inside (26 / 32 = 0.81); a change of case and punctuation is none.

The signatures are rensa's R-MinHash, divided into bands of rows; texts that agree in one band are proposed. The number
of bands is such that a pair right at the threshold is proposed with a probability of 0.99. Captions made from frames are
proposed by the hundred, so most are ruled out by a bitmap first: every shingle sets one bit, and each bit in which two
bitmaps differ is a shingle, at least, that only one text has.
"""

import math
from array import array
from collections.abc import Collection, Iterable, Iterator

from rensa import RMinHash, RMinHashLSH

from close_transfer.core.text_normalization import normalize_text
from textgen.filters.words import list_runs

_PROPOSED = 0.99
_MOST_BANDS, _MOST_ROWS = 20, 12
_SEED = 0
_BITS = 120  # of a bitmap: four digits of Python's integers
_ROUNDING = 1e-9
_BLOCK = 8192  # texts whose signatures are made in one call


def hash_shingles(key: str) -> list[str]:
    """The words and pairs of neighbouring words of a text's `normalize_text`."""
    words = key.split()
    return words + list_runs(words, 2)


def measure_similarity(first: str, second: str) -> float:
    """Jaccard similarity of two keys' shingles, 0 to 1; 0 for texts without words."""
    first_shingles, second_shingles = set(hash_shingles(first)), set(hash_shingles(second))
    return (
        len(first_shingles & second_shingles) / len(first_shingles | second_shingles)
        if first_shingles and second_shingles
        else 0.0
    )


def choose_bands_and_rows(threshold: float) -> tuple[int, int]:
    """The most selective division whose bands stay below a number; more bands take more memory."""
    for rows in range(_MOST_ROWS, 0, -1):
        # A pair of similarity s agrees in a band with probability s^rows.
        bands = math.ceil(math.log(1 - _PROPOSED) / math.log1p(-(threshold**rows)))
        if bands <= _MOST_BANDS:
            return bands, rows
    return bands, 1


class Sketch:
    """A text that can be looked up: its key, its signature, the number of its different shingles, and their bitmap."""

    __slots__ = ("bitmap", "key", "signature", "size")

    def __init__(self, key: str, members: Collection[str], signature: RMinHash) -> None:
        self.key, self.signature, self.size = key, signature, len(members)
        self.bitmap = 0
        for member in members:  # `hash` differs from process to process, but what is found does not depend on it
            self.bitmap |= 1 << (hash(member) % _BITS)


class NearIndex:
    """Texts that further texts are held against."""

    def __init__(self, threshold: float) -> None:
        """Begins without texts.

        Args:
            threshold: Jaccard similarity, between 0 and 1, from which texts are near.
        """
        self._threshold = threshold
        self._num_bands, rows = choose_bands_and_rows(threshold)
        self._num_slots = self._num_bands * rows
        self._index = RMinHashLSH(threshold, self._num_slots, self._num_bands)
        self._keys: list[str] = []
        self._sizes = array("L")
        self._bitmaps: list[int] = []

    def sketches(self, texts: Iterable[str]) -> Iterator[Sketch]:
        """What texts are looked up and added by, in their order."""
        block: list[str] = []
        for text in texts:
            block.append(normalize_text(text))
            if len(block) == _BLOCK:
                yield from self._sketch(block)
                block = []
        yield from self._sketch(block)

    def _sketch(self, keys: list[str]) -> Iterator[Sketch]:
        members = [set(hash_shingles(key)) for key in keys]
        signatures = RMinHash.from_token_sets(members, self._num_slots, _SEED)
        return map(Sketch, keys, members, signatures)

    def add(self, sketch: Sketch) -> None:
        """Adds a text; its number is how many were added before."""
        if sketch.key:
            self._index.insert(len(self._keys), sketch.signature)
        self._keys.append(sketch.key)
        self._sizes.append(sketch.size)
        self._bitmaps.append(sketch.bitmap)

    def find(self, sketch: Sketch) -> tuple[int, float] | None:
        """The first added text that is near, and how near; None if there is none."""
        if not sketch.key:
            return None
        size, bitmap, sizes, bitmaps = sketch.size, sketch.bitmap, self._sizes, self._bitmaps
        # Sets of a and b members are as similar as t only if no more than (a + b)(1 - t) / (1 + t) are in one alone.
        max_share = (1 - self._threshold) / (1 + self._threshold) + _ROUNDING
        for number in sorted(self._index.query(sketch.signature)):
            if (bitmap ^ bitmaps[number]).bit_count() <= (size + sizes[number]) * max_share:
                similarity = measure_similarity(sketch.key, self._keys[number])
                if similarity >= self._threshold:
                    return number, similarity
        return None
