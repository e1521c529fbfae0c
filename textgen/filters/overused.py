"""Filter of texts with a phrase that too many earlier texts contain.

CLOSE's script counts all 4- to 9-grams, and rejects a text with an n-gram that was seen 50 times with probability
count / 800 (arXiv 2211.09778 and its released code). Here the limit is fixed instead of random: a 4-gram may be in a
certain number of texts. 4-grams are enough, because a longer n-gram contains one that is at least as frequent.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from textgen.corpus.candidate import Candidate
from textgen.filters.words import fold_words, list_runs

N = 4  # words


@dataclass
class OverusedNgrams:
    """Stage that limits the number of kept texts with the same 4-gram, and removes later texts that contain it.

    The limit is the largest of `min_count`, `share` times the number of candidates, and `factor` times the 4-gram's
    share of the reference texts times the number of candidates. A 4-gram counts once per text.

    Attributes:
        references: texts in the wanted style; may be empty.
        share: share of the candidates that may contain one 4-gram, 0 to 1.
        factor: largest ratio of a 4-gram's share in the corpus and in the references.
        min_count: number of texts that may contain any 4-gram.
    """

    references: Iterable[str]
    share: float
    factor: float
    min_count: int
    name = "overused n-grams"

    def find_reasons(self, candidates: Sequence[Candidate]) -> list[str | None]:
        reasons: list[str | None] = [None] * len(candidates)
        floor = max(self.min_count, self.share * len(candidates))
        grams, texts, names = _find_frequent(candidates, floor)
        limits = self._compute_limits(names, floor, len(candidates))
        num_holders = [0] * len(names)
        starts = np.flatnonzero(np.diff(texts, prepend=-1))
        for start, end in pairwise([*starts, len(texts)]):
            text_grams = grams[start:end].tolist()
            overused = [gram for gram in text_grams if num_holders[gram] >= limits[gram]]
            if overused:
                reasons[texts[start]] = (
                    f'holds "{names[overused[0]]}", as {num_holders[overused[0]]} texts before it do'
                )
                continue
            for gram in text_grams:
                num_holders[gram] += 1
        return reasons

    def _compute_limits(self, names: Sequence[str], floor: float, num: int) -> list[float]:
        """Return the number of texts that may contain each 4-gram."""
        if not names:
            return []
        counts, total = dict.fromkeys(names, 0), 0
        for text in self.references:
            total += 1
            for gram in set(list_runs(fold_words(text), N)) & counts.keys():
                counts[gram] += 1
        return [max(floor, self.factor * counts[name] / total * num) if total else floor for name in names]


def _find_frequent(
    candidates: Sequence[Candidate], floor: float
) -> tuple[Int[np.ndarray, " held"], Int[np.ndarray, " held"], list[str]]:
    """Find the 4-grams in more than `floor` texts, and the texts that contain them.

    Returns:
        numbers of 4-grams and numbers of their texts, as pairs ordered by text; the 4-grams by number.
    """
    # In numpy, because a million captions have millions of 4-grams.
    vocabulary: dict[str, int] = {}
    words, lengths = array("q"), array("q")
    for candidate in candidates:
        split = fold_words(candidate.text)
        words.extend(vocabulary.setdefault(word, len(vocabulary)) for word in split)
        lengths.append(len(split))
    ids, counts = np.frombuffer(words, dtype=np.int64), np.frombuffer(lengths, dtype=np.int64)
    owner = np.repeat(np.arange(len(counts)), counts)
    begins = np.flatnonzero(owner[: -N + 1] == owner[N - 1 :]) if len(ids) >= N else np.zeros(0, np.int64)
    # A 4-gram is two neighbouring pairs of words; numbering the pairs first makes its code fit into 64 bits.
    pairs = np.unique(ids[:-1] << 32 | ids[1:], return_inverse=True)[1] if len(begins) else ids
    codes, first, grams = np.unique(pairs[begins] << 32 | pairs[begins + 2], return_index=True, return_inverse=True)
    num = max(len(counts), 1)
    grams, texts = np.divmod(np.unique(grams * num + owner[begins]), num)  # a 4-gram counts once per text
    frequent = np.bincount(grams, minlength=len(codes)) > floor
    is_frequent = frequent[grams]
    grams, texts = (np.cumsum(frequent) - 1)[grams[is_frequent]], texts[is_frequent]
    spellings = list(vocabulary)
    names = [" ".join(spellings[word] for word in ids[begin : begin + N]) for begin in begins[first[frequent]]]
    order = np.argsort(texts, kind="stable")  # stable: the 4-grams of a text keep their order
    return grams[order], texts[order], names
