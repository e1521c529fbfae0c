"""Search for similar texts: MinHash proposes pairs, and the exact Jaccard similarity decides.

A text is represented by the set of its words and pairs of neighbouring words. The Jaccard similarity of two texts is the
number of members in both sets / the number in either. For a caption of ten different words (19 members):

| change                          | similarity      |
|---|---|
| last word replaced              | 17 / 21 = 0.81  |
| inner word removed              | 16 / 20 = 0.80  |
| inner word replaced             | 16 / 22 = 0.73  |
| two inner words replaced        | 13 / 25 = 0.52  |

So at 0.8 a caption of ten words may differ in its last word or lack one, and a caption of fifteen words may have one
inner word replaced (26 / 32 = 0.81). Case and punctuation are ignored.

The signatures are rensa's R-MinHash, divided into bands of rows. Texts that agree in any band are proposed. The number
of bands is chosen so that a pair at the threshold is proposed with probability 0.99. Captions made from frames are
proposed by the hundred, so a bitmap rules most of them out first: every shingle sets one bit, and each bit in which two
bitmaps differ means at least one shingle that only one of the texts has.
"""

import math
from array import array
from collections.abc import Collection, Iterable, Iterator

from rensa import RMinHash, RMinHashLSH

from close_transfer.core.text_normalization import normalize_text
from textgen.filters.words import list_runs

_RECALL = 0.99  # probability that a pair at the threshold is proposed
_MAX_BANDS, _MAX_ROWS = 20, 12  # more bands take more memory, more rows make longer signatures
_SEED = 0  # of the hash functions; a fixed one, so that a corpus is filtered the same way each time
_BITS = 120  # size of a bitmap: four digits of 30 bits of Python's integers
_ROUNDING = 1e-9  # so that a rounding error does not rule out a pair at the threshold
_BLOCK = 8192  # texts whose signatures are computed in one call


def hash_shingles(key: str) -> list[str]:
    """Return the words and pairs of neighbouring words of a text that `normalize_text` returned."""
    words = key.split()
    return words + list_runs(words, 2)


def measure_similarity(first: str, second: str) -> float:
    """Return the Jaccard similarity of two normalized texts' shingles, 0 to 1; 0 for texts without words."""
    first_shingles, second_shingles = set(hash_shingles(first)), set(hash_shingles(second))
    return (
        len(first_shingles & second_shingles) / len(first_shingles | second_shingles)
        if first_shingles and second_shingles
        else 0.0
    )


def choose_bands_and_rows(threshold: float) -> tuple[int, int]:
    """Return the numbers of bands and rows that propose the fewest pairs below the threshold.

    The number of bands is limited, because each takes memory.
    """
    for rows in range(_MAX_ROWS, 0, -1):
        # A pair of similarity s agrees in a band with probability s^rows.
        bands = math.ceil(math.log(1 - _RECALL) / math.log1p(-(threshold**rows)))
        if bands <= _MAX_BANDS:
            return bands, rows
    return bands, 1


class Sketch:
    """Representation of a text for the index.

    Attributes:
        key: the normalized text.
        signature: its MinHash signature.
        size: number of its different shingles.
        bitmap: bits of its shingles.
    """

    __slots__ = ("bitmap", "key", "signature", "size")

    def __init__(self, key: str, members: Collection[str], signature: RMinHash) -> None:
        self.key, self.signature, self.size = key, signature, len(members)
        self.bitmap = 0
        for member in members:  # `hash` differs between processes, but the bitmap only saves time: results are equal
            self.bitmap |= 1 << (hash(member) % _BITS)


class NearIndex:
    """Index of texts for the search of similar ones."""

    def __init__(self, threshold: float) -> None:
        """Begin without texts.

        Args:
            threshold: Jaccard similarity, between 0 and 1, from which texts are near duplicates.
        """
        self._threshold = threshold
        self._num_bands, rows = choose_bands_and_rows(threshold)
        self._num_slots = self._num_bands * rows
        self._index = RMinHashLSH(threshold, self._num_slots, self._num_bands)
        self._keys: list[str] = []
        self._sizes = array("L")
        self._bitmaps: list[int] = []

    def make_sketches(self, texts: Iterable[str]) -> Iterator[Sketch]:
        """Yield the sketches of texts in their order."""
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
        """Add a text; it gets the next number, counted from 0."""
        if sketch.key:
            self._index.insert(len(self._keys), sketch.signature)
        self._keys.append(sketch.key)
        self._sizes.append(sketch.size)
        self._bitmaps.append(sketch.bitmap)

    def find(self, sketch: Sketch) -> tuple[int, float] | None:
        """Return the number and similarity of the first added text that is near; None if there is none."""
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
