"""Derivation of texts from symbols, with bound names, distinct values, incompatible values and given keywords."""

import itertools
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache

from textgen.grammar.parser import Alternative, Slot, Symbol
from textgen.text.keywords import extract_words, lemmatize

Scope = tuple[str, ...]
Keywords = frozenset[str]

_NONE: Keywords = frozenset()
# Random draws before all alternatives are checked. Rejected draws and the final choice give the same distribution;
# drawing first is faster, because the first alternative mostly fits.
_DRAWS = 6
_REDRAWS = 8  # new frames per item after incompatible values left none for a symbol
_MAX_ASSIGNMENTS = 200  # distributions of keywords to the slots of one alternative; their number grows exponentially


class DeadEnd(Exception):
    """Symbol that has no possible value left after the draws so far."""

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name


@lru_cache(maxsize=100_000)
def list_search_words(text: str) -> Keywords:
    """Return the words that match a text: the text itself, its words and their lemmas, in lower case."""
    words = extract_words(text)
    return frozenset([text.lower(), *words, *(lemmatize(word, "en") for word in words)])


class Derivations:
    """Texts that a set of symbols can write.

    Results are cached, because a corpus asks for the same keywords again and again.

    Args:
        symbols: name -> symbol; a slot with any other name is filled by the request.
        apart: value -> values that never occur together with it.
    """

    def __init__(self, symbols: Mapping[str, Symbol], apart: Mapping[str, frozenset[str]]):
        self.symbols = symbols
        self.apart = apart
        self._reachable: dict[str, Keywords] = {}
        self._reachable_from: dict[Alternative, Keywords] = {}
        self._can_hold: dict[tuple[str, Keywords], bool] = {}
        self._candidates: dict[tuple[str, Keywords], tuple[list[Alternative], list[float]]] = {}
        self._assignments: dict[tuple[Alternative, Keywords], list[dict[Slot, Keywords]]] = {}

    def can_hold(self, name: str, keywords: Keywords) -> bool:
        """Return True if a symbol can write a text with all of the keywords."""
        if len(keywords) == 1:
            return keywords <= self.list_reachable_words(name)
        if (name, keywords) not in self._can_hold:
            fitting = (self.fits(alternative, keywords) for alternative in self.list_candidates(name, keywords)[0])
            self._can_hold[name, keywords] = any(fitting)
        return self._can_hold[name, keywords]

    def list_reachable_words(self, name: str) -> Keywords:
        """Return all words that a symbol can write."""
        if name not in self.symbols:
            return _NONE
        if name not in self._reachable:
            self._reachable[name] = _NONE.union(*map(self._list_reachable_from, self.symbols[name].alternatives))
        return self._reachable[name]

    def _list_reachable_from(self, alternative: Alternative) -> Keywords:
        if alternative not in self._reachable_from:
            words = [list_search_words(word) for word, _ in alternative.synonyms]
            below = [self.list_reachable_words(slot.name) for slot in alternative.slots]
            self._reachable_from[alternative] = self._collect_literal_words(alternative).union(*words, *below)
        return self._reachable_from[alternative]

    def _collect_literal_words(self, alternative: Alternative) -> Keywords:
        return _NONE.union(*(list_search_words(part) for part in alternative.parts if isinstance(part, str)))

    def list_candidates(self, name: str, keywords: Keywords) -> tuple[list[Alternative], list[float]]:
        """Return alternatives that can hold each keyword by itself, with the running sums of their weights.

        A candidate need not hold all keywords together; `fits` checks that.
        """
        if (name, keywords) not in self._candidates:
            symbol = self.symbols.get(name)
            matching = (
                [choice for choice in symbol.alternatives if keywords <= self._list_reachable_from(choice)]
                if symbol
                else []
            )
            cumulative = list(itertools.accumulate(choice.weight for choice in matching))
            self._candidates[name, keywords] = (matching, cumulative)
        return self._candidates[name, keywords]

    def fits(self, alternative: Alternative, keywords: Keywords) -> bool:
        """Return True if an alternative can hold all of the keywords together."""
        if alternative.synonyms:
            return any(keywords <= list_search_words(word) for word, _ in alternative.synonyms)
        return bool(self.assign_to_slots(alternative, keywords))

    def assign_to_slots(self, alternative: Alternative, keywords: Keywords) -> list[dict[Slot, Keywords]]:
        """Return the possible assignments of the keywords to the slots of an alternative."""
        if (alternative, keywords) not in self._assignments:
            rest = sorted(keywords - self._collect_literal_words(alternative))  # sorted: sets have no fixed order
            options = [
                [slot for slot in alternative.slots if word in self.list_reachable_words(slot.name)] for word in rest
            ]
            assignments = []
            for chosen in itertools.islice(itertools.product(*options), _MAX_ASSIGNMENTS):
                shares: dict[Slot, set[str]] = {}
                for slot, word in zip(chosen, rest, strict=True):
                    shares.setdefault(slot, set()).add(word)
                assignment = {slot: frozenset(share) for slot, share in shares.items()}
                if all(len(share) == 1 or self.can_hold(slot.name, share) for slot, share in assignment.items()):
                    assignments.append(assignment)
            self._assignments[alternative, keywords] = assignments
        return self._assignments[alternative, keywords]


class Item:
    """Item that is being written.

    Args:
        derivations: texts that the symbols can write.
        shared: (name, scope) -> alternative bound for all items of the request; this item adds to it.
        given: name -> text of the symbols that the request provides.
        rng: random number generator.

    Attributes:
        is_keyword_missed: True if a keyword could not be placed because its name was already bound.
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
        self._used_words: set[str] = set()
        self._redraws = _REDRAWS
        self.is_keyword_missed = False

    def expand(self, name: str, scope: Scope = (), wanted: Keywords = _NONE) -> str:
        """Return the text of a symbol that contains the wanted keywords.

        Args:
            name: name of the symbol.
            scope: scopes (`#1`) of the slots above it, outermost first.
            wanted: keywords that the text must contain.

        Raises:
            DeadEnd: if incompatible values leave no value for a symbol.
        """
        if name in self._given:
            return self._given[name]
        binding = (name, scope)
        if binding in self._texts:
            text = self._texts[binding]
            self.is_keyword_missed |= not all(word in list_search_words(text) for word in wanted)
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
            self.is_keyword_missed = True
            wanted = _NONE
        text = (
            self._choose_word(alternative, wanted)
            if alternative.synonyms
            else self._fill_slots(alternative, scope, wanted)
        )
        self._texts[binding] = text
        return text

    def _expand_frames(self, symbol: Symbol, scope: Scope, wanted: Keywords) -> str:
        # The state before the draw, which a dead end restores.
        shared, texts, used_words = dict(self._shared), dict(self._texts), set(self._used_words)
        is_keyword_missed = self.is_keyword_missed
        while True:
            try:
                alternative = self._draw_alternative(symbol, scope, wanted)
                return (
                    self._choose_word(alternative, wanted)
                    if alternative.synonyms
                    else self._fill_slots(alternative, scope, wanted)
                )
            except DeadEnd:  # another frame may not need the incompatible values
                self._redraws -= 1
                if self._redraws < 0:
                    raise
                self._shared.clear()
                self._shared.update(shared)
                self._texts, self._used_words = dict(texts), set(used_words)
                self.is_keyword_missed = is_keyword_missed

    def _fill_slots(self, alternative: Alternative, scope: Scope, wanted: Keywords) -> str:
        shares: Mapping[Slot, Keywords] = {}
        if wanted:
            shares = self._rng.choice(self._derivations.assign_to_slots(alternative, wanted))
            for slot, share in shares.items():  # before the other slots, so that no random draw binds these names
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
        matching = [
            (word, weight) for word, weight in alternative.synonyms if not wanted or wanted <= list_search_words(word)
        ]
        matching = [(word, weight) for word, weight in matching if word not in self._used_words] or matching
        word = self._rng.choices([word for word, _ in matching], [weight for _, weight in matching])[0]
        self._used_words.add(word)
        return word

    def _draw_alternative(self, symbol: Symbol, scope: Scope, wanted: Keywords) -> Alternative:
        choices: Sequence[Alternative] = symbol.alternatives
        cumulative: Sequence[float] = symbol.cumulative
        if wanted:
            choices, cumulative = self._derivations.list_candidates(symbol.name, wanted)
            if symbol.kind != "words":
                for _ in range(_DRAWS):
                    alternative = self._rng.choices(choices, cum_weights=cumulative)[0]
                    if self._derivations.fits(alternative, wanted):
                        return alternative
            choices = [choice for choice in choices if self._derivations.fits(choice, wanted)]
            cumulative = list(itertools.accumulate(choice.weight for choice in choices))
        if symbol.kind != "words":
            return self._rng.choices(choices, cum_weights=cumulative)[0]
        used, excluded = self._find_taken_values(scope)
        for _ in range(_DRAWS):
            alternative = self._rng.choices(choices, cum_weights=cumulative)[0]
            if alternative.value not in used and alternative.value not in excluded:
                return alternative
        possible = [choice for choice in choices if choice.value not in excluded]
        # A used value may come again if there is no other; an excluded one never.
        possible = [choice for choice in possible if choice.value not in used] or possible
        if not possible:
            raise DeadEnd(symbol.name)
        return self._rng.choices(possible, [choice.weight for choice in possible])[0]

    def _find_taken_values(self, scope: Scope) -> tuple[set[str], set[str]]:
        """Return the values in use, and the values that must not occur together with those of related scopes.

        Scopes are related if one contains the other.
        """
        used: set[str] = set()
        excluded: set[str] = set()
        apart = self._derivations.apart
        for (_, other_scope), alternative in self._shared.items():
            if alternative.synonyms:
                used.add(alternative.value)
                if alternative.value in apart and all(a == b for a, b in zip(scope, other_scope, strict=False)):
                    excluded |= apart[alternative.value]
        return used, excluded
