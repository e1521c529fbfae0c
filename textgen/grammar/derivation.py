"""From symbols to words: draws with bindings, distinct values, values kept apart, and keywords put in."""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from textgen.grammar.parser import Alternative, Slot, Symbol
from textgen.text.keywords import extract_words, lemmatize

Scope = tuple[str, ...]
Keywords = frozenset[str]

_NONE: Keywords = frozenset()
_DRAWS = 6  # before all alternatives are looked at; the shares come out the same
_REDRAWS = 8  # of frames, in one item, where values that keep apart left nothing
_MOST_WAYS = 200  # to share keywords out among the slots of one alternative


class DeadEnd(Exception):
    """What was drawn so far leaves no value for a symbol."""

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name


@lru_cache(maxsize=100_000)
def keys(text: str) -> Keywords:
    """Words by which a text is found: itself, its words and their lemmas, in lower case."""
    words = extract_words(text)
    return frozenset([text.lower(), *words, *(lemmatize(word, "en") for word in words)])


class Derivations:
    """What a set of symbols can write.

    Args:
        symbols: by name; a slot of another name is given by each request.
        apart: value -> values that never stand with it.
    """

    def __init__(self, symbols: Mapping[str, Symbol], apart: Mapping[str, frozenset[str]]):
        self.symbols = symbols
        self.apart = apart
        self._reach: dict[str, Keywords] = {}
        self._reach_of_one: dict[Alternative, Keywords] = {}
        self._can_hold: dict[tuple[str, Keywords], bool] = {}
        self._candidates: dict[tuple[str, Keywords], tuple[list[Alternative], list[float]]] = {}
        self._ways: dict[tuple[Alternative, Keywords], list[dict[Slot, Keywords]]] = {}

    def can_hold(self, name: str, keywords: Keywords) -> bool:
        """Whether a symbol can write a text with all of these words."""
        if len(keywords) == 1:
            return keywords <= self.reach(name)
        if (name, keywords) not in self._can_hold:
            able = (self.fits(alternative, keywords) for alternative in self.candidates(name, keywords)[0])
            self._can_hold[name, keywords] = any(able)
        return self._can_hold[name, keywords]

    def reach(self, name: str) -> Keywords:
        """All words that a symbol can write."""
        if name not in self.symbols:
            return _NONE
        if name not in self._reach:
            self._reach[name] = _NONE.union(*map(self._find_reach, self.symbols[name].alternatives))
        return self._reach[name]

    def _find_reach(self, alternative: Alternative) -> Keywords:
        if alternative not in self._reach_of_one:
            words = [keys(word) for word, _ in alternative.synonyms]
            below = [self.reach(slot.name) for slot in alternative.slots]
            self._reach_of_one[alternative] = self._collect_literal_words(alternative).union(*words, *below)
        return self._reach_of_one[alternative]

    def _collect_literal_words(self, alternative: Alternative) -> Keywords:
        return _NONE.union(*(keys(part) for part in alternative.parts if isinstance(part, str)))

    def candidates(self, name: str, keywords: Keywords) -> tuple[list[Alternative], list[float]]:
        """The alternatives that can hold each of these words, if perhaps not all, with running sums of weights."""
        if (name, keywords) not in self._candidates:
            symbol = self.symbols.get(name)
            able = [choice for choice in symbol.alternatives if keywords <= self._find_reach(choice)] if symbol else []
            self._candidates[name, keywords] = (able, list(itertools.accumulate(choice.weight for choice in able)))
        return self._candidates[name, keywords]

    def fits(self, alternative: Alternative, keywords: Keywords) -> bool:
        """Whether an alternative can hold all of these words."""
        if alternative.synonyms:
            return any(keywords <= keys(word) for word, _ in alternative.synonyms)
        return bool(self.ways(alternative, keywords))

    def ways(self, alternative: Alternative, keywords: Keywords) -> list[dict[Slot, Keywords]]:
        """All ways to share words out among the slots of an alternative."""
        if (alternative, keywords) not in self._ways:
            rest = sorted(keywords - self._collect_literal_words(alternative))
            able = [[slot for slot in alternative.slots if word in self.reach(slot.name)] for word in rest]
            assignments = []
            for chosen in itertools.islice(itertools.product(*able), _MOST_WAYS):
                shares: dict[Slot, set[str]] = {}
                for slot, word in zip(chosen, rest, strict=True):
                    shares.setdefault(slot, set()).add(word)
                assignment = {slot: frozenset(share) for slot, share in shares.items()}
                if all(len(share) == 1 or self.can_hold(slot.name, share) for slot, share in assignment.items()):
                    assignments.append(assignment)
            self._ways[alternative, keywords] = assignments
        return self._ways[alternative, keywords]


class Item:
    """One item under way.

    Args:
        derivations: what can be written.
        shared: what the items of the request have in common: (name, scope) -> alternative; this item adds to it.
        given: text of the symbols that the request gives.
        rng: draws.

    Attributes:
        missed: whether a wanted word met a name that was bound to another.
    """

    def __init__(
        self,
        derivations: Derivations,
        shared: dict[tuple[str, Scope], Alternative],
        given: Mapping[str, str],
        rng: random.Random,
    ):
        self._derivations = derivations
        self._shared = shared
        self._given = given
        self._rng = rng
        self._texts: dict[tuple[str, Scope], str] = {}
        self._said_words: set[str] = set()
        self._redraws = _REDRAWS
        self.missed = False

    def expand(self, name: str, scope: Scope = (), wanted: Keywords = _NONE) -> str:
        """The text of a symbol, with the wanted words in it.

        Raises:
            DeadEnd: if values that keep apart leave nothing.
        """
        if name in self._given:
            return self._given[name]
        binding = (name, scope)
        if binding in self._texts:
            text = self._texts[binding]
            self.missed |= not all(word in keys(text) for word in wanted)
            return text
        symbol = self._derivations.symbols[name]
        if symbol.kind == "frames":
            text = self._expand_frames(symbol, scope, wanted)
            self._texts[binding] = text
            return text
        alternative = self._shared.get(binding)
        if alternative is None:
            alternative = self._draw_alternative(symbol, scope, wanted)
            self._shared[binding] = alternative
        elif wanted and not self._derivations.fits(alternative, wanted):
            self.missed = True
            wanted = _NONE
        text = (
            self._choose_word(alternative, wanted)
            if alternative.synonyms
            else self._fill_slots(alternative, scope, wanted)
        )
        self._texts[binding] = text
        return text

    def _expand_frames(self, symbol: Symbol, scope: Scope, wanted: Keywords) -> str:
        shared, texts, said_words, missed = dict(self._shared), dict(self._texts), set(self._said_words), self.missed
        while True:
            try:
                alternative = self._draw_alternative(symbol, scope, wanted)
                return (
                    self._choose_word(alternative, wanted)
                    if alternative.synonyms
                    else self._fill_slots(alternative, scope, wanted)
                )
            except DeadEnd:  # another frame may do without what keeps apart
                self._redraws -= 1
                if self._redraws < 0:
                    raise
                self._shared.clear()
                self._shared.update(shared)
                self._texts, self._said_words, self.missed = dict(texts), set(said_words), missed

    def _fill_slots(self, alternative: Alternative, scope: Scope, wanted: Keywords) -> str:
        shares: Mapping[Slot, Keywords] = {}
        if wanted:
            shares = self._rng.choice(self._derivations.ways(alternative, wanted))
            for slot, share in shares.items():  # first, so that no chance draw binds their names
                self.expand(slot.name, (*scope, slot.scope) if slot.scope else scope, share)
        return "".join(
            part
            if isinstance(part, str)
            else self.expand(part.name, (*scope, part.scope) if part.scope else scope, _NONE)
            for part in alternative.parts
        )

    def _choose_word(self, alternative: Alternative, wanted: Keywords) -> str:
        if len(alternative.synonyms) == 1:
            return alternative.synonyms[0][0]
        able = [(word, weight) for word, weight in alternative.synonyms if not wanted or wanted <= keys(word)]
        able = [(word, weight) for word, weight in able if word not in self._said_words] or able
        word = self._rng.choices([word for word, _ in able], [weight for _, weight in able])[0]
        self._said_words.add(word)
        return word

    def _draw_alternative(self, symbol: Symbol, scope: Scope, wanted: Keywords) -> Alternative:
        choices: Sequence[Alternative] = symbol.alternatives
        cumulative: Sequence[float] = symbol.cumulative
        if wanted:
            choices, cumulative = self._derivations.candidates(symbol.name, wanted)
            if symbol.kind != "words":
                for _ in range(_DRAWS):
                    drawn = self._rng.choices(choices, cum_weights=cumulative)[0]
                    if self._derivations.fits(drawn, wanted):
                        return drawn
            choices = [choice for choice in choices if self._derivations.fits(choice, wanted)]
            cumulative = list(itertools.accumulate(choice.weight for choice in choices))
        if symbol.kind != "words":
            return self._rng.choices(choices, cum_weights=cumulative)[0]
        used, barred = self._find_taken_values(scope)
        for _ in range(_DRAWS):  # mostly the first serves
            drawn = self._rng.choices(choices, cum_weights=cumulative)[0]
            if drawn.value not in used and drawn.value not in barred:
                return drawn
        possible = [choice for choice in choices if choice.value not in barred]
        possible = [choice for choice in possible if choice.value not in used] or possible
        if not possible:
            raise DeadEnd(symbol.name)
        return self._rng.choices(possible, [choice.weight for choice in possible])[0]

    def _find_taken_values(self, scope: Scope) -> tuple[set[str], set[str]]:
        """Values in use, and values that keep apart from those whose scope holds this one or is held by it."""
        used: set[str] = set()
        barred: set[str] = set()
        apart = self._derivations.apart
        for (_, other_scope), alternative in self._shared.items():
            if alternative.synonyms:
                used.add(alternative.value)
                if alternative.value in apart and all(a == b for a, b in zip(scope, other_scope, strict=False)):
                    barred |= apart[alternative.value]
        return used, barred


def count_expected_uses(symbols: Mapping[str, Iterable[Symbol]], start: str) -> dict[str, float]:
    """How often each symbol is expanded in one text, on average.

    Args:
        symbols: by name, the symbols of each value of a balanced variable, which come equally often.
        start: the symbol of the whole text.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order and name in symbols:
            for symbol in symbols[name]:
                for slot in (slot for alternative in symbol.alternatives for slot in alternative.slots):
                    visit(slot.name)
            order.append(name)

    visit(start)
    uses = dict.fromkeys(order, 0.0)
    uses[start] = 1.0
    for name in reversed(order):
        values = list(symbols[name])
        for symbol in values:
            for alternative in symbol.alternatives:
                for slot in alternative.slots:
                    if slot.name in uses:
                        uses[slot.name] += uses[name] * alternative.weight / symbol.cumulative[-1] / len(values)
    return uses
