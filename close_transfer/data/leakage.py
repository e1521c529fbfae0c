"""Leakage: training text that is also evaluation text, word for word or nearly.

Identical: the same words in the same order by `normalize_text` (case, punctuation and spaces do not
count). Nearly identical: both texts have at least `MIN_WORDS` words and hold the same words, each as
often, in any order, except for at most one word that is missing, added or replaced.

A text of n words has n + 1 signatures: the sum of its words' 64-bit hashes, and for each word that sum
without it. Two texts are nearly identical exactly if they share a signature. So each training text is looked
up in one table of the references' signatures: the cost is linear in both, and training text can be streamed.
MinHash, the usual tool, estimates the overlap of sets from samples; for captions of ten words its error is
larger than the difference of one word.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from close_transfer.core.text_normalization import normalize_text
from close_transfer.data.example_kinds import ExampleKind
from close_transfer.data.example_sequences import PackedExamples
from close_transfer.data.examples import Example

# In shorter texts a difference of one word changes the meaning ("a red ball", "a blue ball").
MIN_WORDS = 5
_MAX_SHOWN = 5
_64_BITS = 2**64 - 1  # keeps sums of Python's unbounded integers at the width of a hash

Kind = Literal["identical", "near"]


def _compute_signatures(words: Sequence[str]) -> Iterator[int]:
    """Yield the sum of the words' hashes, and that sum without each of them."""
    hashes = [hash(word) for word in words]
    total = sum(hashes)
    yield total & _64_BITS
    for word_hash in hashes:
        yield (total - word_hash) & _64_BITS


@dataclass(frozen=True)
class LeakedPair:
    """A training text and the evaluation text that it repeats, both in their original spelling."""

    kind: Kind
    training: str
    reference: str


@dataclass(frozen=True)
class Leaks:
    """Amount of training text that is evaluation text as well.

    Attributes:
        num_training: number of training texts, including repeated ones.
        num_references: distinct evaluation texts, by `normalize_text`.
        num_identical: training texts identical to one of these.
        num_near: training texts nearly identical to one, and identical to none.
        examples: the first few pairs, each once.
    """

    num_training: int
    num_references: int
    num_identical: int
    num_near: int
    examples: tuple[LeakedPair, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for `results.json`."""
        return asdict(self) | {"examples": [asdict(pair) for pair in self.examples]}


class References:
    """Index of evaluation texts and their signatures."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._identical: dict[str, str] = {}
        self._near: dict[int, str] = {}
        for text in texts:
            key = normalize_text(text)
            if not key or key in self._identical:
                continue
            self._identical[key] = text
            words = key.split()
            if len(words) >= MIN_WORDS:
                for signature in _compute_signatures(words):
                    self._near.setdefault(signature, text)

    def __len__(self) -> int:
        return len(self._identical)

    def find_leak(self, text: str) -> LeakedPair | None:
        """Return the pair of a training text and the first reference that it repeats, if any."""
        key = normalize_text(text)
        if (reference := self._identical.get(key)) is not None:
            return LeakedPair("identical", text, reference)
        words = key.split()
        if len(words) >= MIN_WORDS:
            for signature in _compute_signatures(words):
                if (reference := self._near.get(signature)) is not None:
                    return LeakedPair("near", text, reference)
        return None


def find_leaks(training_texts: Iterable[str], references: Iterable[str]) -> Leaks:
    """Count the training texts that repeat an evaluation text.

    Args:
        training_texts: read once and not kept.
        references: evaluation texts; kept with their signatures, one per word and one more.
    """
    lookup = References(references)
    counts: dict[Kind, int] = {"identical": 0, "near": 0}
    shown: list[LeakedPair] = []
    num_training = 0
    for text in training_texts:
        num_training += 1
        if (pair := lookup.find_leak(text)) is not None:
            counts[pair.kind] += 1
            if len(shown) < _MAX_SHOWN and pair not in shown:
                shown.append(pair)
    return Leaks(num_training, len(lookup), counts["identical"], counts["near"], tuple(shown))


def collect_training_texts(examples: Iterable[Example], kind: ExampleKind) -> Iterator[str]:
    """Yield the text that is learned from: the scenes' texts, and the targets if they are sentences.

    A target that is one of the scene's texts is given once.
    """
    for example in examples:
        yield from example.texts
        if kind.free_text:
            yield from (target for target in example.targets if target not in example.texts)


def collect_evaluation_texts(examples: Iterable[Example], kind: ExampleKind) -> Iterator[str]:
    """Yield the text that must not be learned from: the references if they are sentences, else the scenes' texts.

    References of the other kinds are labels and answers ("neutral", "2") that every training set
    holds; for these kinds, the text describes the evaluation scenes (premises, captions, explanations).
    Scenes loaded without their text give none.
    """
    for example in examples:
        yield from example.references if kind.free_text else example.texts


def drop_leaked(
    examples: Sequence[Example], references: Iterable[str], kind: ExampleKind
) -> tuple[PackedExamples, int]:
    """Return training examples without the texts and targets that repeat an evaluation text.

    An example is dropped when no text is left, or when it had targets and none is left.

    Returns:
        The remaining examples, in order, and how many of `collect_training_texts` were removed.
    """
    lookup = References(references)
    remaining = PackedExamples(lambda number: examples[number].image)
    num_before = num_after = 0
    for number, example in enumerate(examples):
        texts = tuple(text for text in example.texts if lookup.find_leak(text) is None)
        targets = example.targets
        if kind.free_text:
            targets = tuple(target for target in targets if lookup.find_leak(target) is None)
        clean = replace(example, texts=texts, targets=targets)
        num_before += sum(1 for _ in collect_training_texts([example], kind))
        if (texts or not example.texts) and (targets or not example.targets):
            remaining.append(clean, number)
            num_after += sum(1 for _ in collect_training_texts([clean], kind))
    return remaining, num_before - num_after
