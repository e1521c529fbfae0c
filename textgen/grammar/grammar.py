"""A grammar of frames and word lists: captions without a model, without a network, and the same ones every time.

Tracery and its kin expand symbols too. This is own code because a corpus needs more of it: weights (word frequencies
are what makes generated captions train well), names that stay bound (a question speaks of the caption's things),
values that differ (a contradiction) or keep apart (no bus in a kitchen), and keywords put where they fit.

A file has `symbols`: name -> alternatives. In an alternative,

- `{name}` becomes one of the symbol's alternatives, and stays that for the whole item;
- `{name#2}` is another draw, with another value wherever the symbol has one left; `#` may be followed by any letters
  and digits. Slots inside what it expands to belong to it: where `thing` is "a {colour} {noun}", `{thing#2}` draws
  `{colour#2}` and `{noun#2}`.

"a" before a vowel becomes "an", and a text that ends as a sentence begins with a capital.

The items of one request tell of one scene: they share the draws of word lists, and of symbols whose every alternative
is a slot and nothing else ("one thing or several"). Frames and synonyms are drawn anew for each.
"""

import random
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from textgen.grammar.derivation import DeadEnd, Derivations, Item, Keywords, count_expected_uses
from textgen.grammar.parser import (
    Alternative,
    Entry,
    Symbol,
    check_symbols,
    expand_variants,
    read_apart,
    read_grammar_file,
    read_symbols,
)
from textgen.text.keywords import extract_words, lemmatize, load_stop_list

_TRIES = 6  # at an item that holds its keywords and repeats no other
_ARTICLE = re.compile(r"\b([Aa]) (?=([A-Za-z]+))")
_SOUNDS_LIKE_CONSONANT = re.compile(r"one(?!r)|once|uni(?!n)|us[eu]|uten|eu|ewe", re.IGNORECASE)
_SILENT_H = re.compile(r"hour|honest|honou?r|heir", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_SPACE_BEFORE_MARK = re.compile(r" (?=[.,;?!])")
_SENTENCE_END = (".", "!", "?", '."', '!"', '?"')


class Grammar:
    """Symbols that can be written from.

    Args:
        symbols: by name.
        apart: value -> values that never stand with it.
        origin: where it comes from.
        licence: of it.
        where: what error messages call it.
    """

    def __init__(
        self,
        symbols: Mapping[str, Entry],
        apart: Mapping[str, frozenset[str]],
        origin: str = "",
        licence: str = "",
        where: str = "grammar",
    ):
        self.origin = origin
        self.licence = licence
        self._symbols = dict(symbols)
        self._apart = apart
        self._where = where
        self._by_value = sorted(name for name, entry in symbols.items() if not isinstance(entry, Symbol))
        self._derivations: dict[tuple[str, ...], Derivations] = {}
        self._placed: dict[tuple[object, ...], Keywords] = {}

    @classmethod
    def read(cls, path: Path) -> "Grammar":
        """The grammar of a YAML file: `symbols`, and perhaps `origin`, `licence` and `apart`.

        Raises:
            UserError: names the file, and the symbol that is unknown, of no use, or without end.
        """
        sections = read_grammar_file(path)
        where = f"grammar={path}"
        symbols = read_symbols(where, sections["symbols"])
        check_symbols(where, symbols, ())
        apart = read_apart(where, sections.get("apart"))
        return cls(symbols, apart, str(sections.get("origin", "")), str(sections.get("licence", "")), where)

    def extended(self, symbols: Mapping[str, Any], given: Collection[str] = ()) -> "Grammar":
        """The grammar with more symbols, or others in place of its own.

        Args:
            symbols: name -> a frame, frames, or {value of a balanced variable -> frames}.
            given: names of variables that every request brings.

        Raises:
            UserError: as `read`.
        """
        where = "recipe.grammar"
        all_symbols = {**self._symbols, **read_symbols(where, symbols)}
        check_symbols(where, all_symbols, given)
        return Grammar(all_symbols, self._apart, self.origin, self.licence, self._where)

    def words(self, start: str = "text") -> Mapping[str, float]:
        """Lemma -> how often a text holds it on average, of the content words of the word lists; commonest first.

        Args:
            start: the symbol of the whole text; `caption` serves where there is none of that name.
        """
        symbols = {name: list(expand_variants(entry)) for name, entry in self._symbols.items()}
        uses = count_expected_uses(symbols, start if start in symbols else "caption")
        frequency: defaultdict[str, float] = defaultdict(float)
        for name, use in uses.items():
            for symbol in symbols[name]:
                if symbol.kind == "words":
                    share = use / symbol.cumulative[-1] / len(symbols[name])
                    for alternative in symbol.alternatives:
                        _count_words(alternative, share, frequency)
        return dict(sorted(frequency.items(), key=lambda pair: (-pair[1], pair[0])))

    def write(
        self,
        fields: Sequence[str],
        num_items: int,
        keywords: Sequence[str],
        given: Mapping[str, str],
        rng: random.Random,
    ) -> list[dict[str, str]]:
        """The items of one request; the same state of `rng` gives the same ones.

        Args:
            fields: of an item; each is a symbol. `text` is written first, and gets the keywords.
            num_items: how many.
            keywords: put in where the grammar can; those it cannot put in together are left out from the end.
            given: variables of the request, which frames may use by name; they go before symbols of that name, except
                for fields.
            rng: draws.

        Raises:
            UserError: names a field that is no symbol, or a balanced value that a symbol has no frames for.
        """
        missing = [name for name in fields if name not in self._symbols]
        if missing:
            raise UserError(
                f"recipe.grammar: has no symbol {missing[0]!r}, which is a field of the recipe; "
                f"add frames for it (recipe.grammar.{missing[0]}), or write with a model: source=openai"
            )
        given = {name: value for name, value in given.items() if name not in fields}
        derivations = self._choose_derivations(given)
        first = "text" if "text" in fields else fields[0]
        order = [first, *(name for name in fields if name != first)]
        wanted = self._select_placeable(derivations, first, keywords)
        shared: dict[tuple[str, tuple[str, ...]], Alternative] = {}
        items: list[dict[str, str]] = []
        for _ in range(num_items):
            shared, item = self._write_item(
                derivations, order, wanted, shared, given, [earlier[first] for earlier in items], rng
            )
            items.append({name: item[name] for name in fields})
        return items

    def _write_item(
        self,
        derivations: Derivations,
        order: Sequence[str],
        wanted: Keywords,
        shared: dict[tuple[str, tuple[str, ...]], Alternative],
        given: Mapping[str, str],
        earlier_texts: Sequence[str],
        rng: random.Random,
    ) -> tuple[dict[tuple[str, tuple[str, ...]], Alternative], dict[str, str]]:
        best = None
        dead_end = ""
        for keywords in (wanted, frozenset[str]()):  # without keywords where they keep apart
            for _ in range(_TRIES):
                drawn = dict(shared)
                item = Item(derivations, drawn, given, rng)
                try:
                    texts = {
                        name: _finish(item.expand(name, (), keywords if name == order[0] else frozenset()))
                        for name in order
                    }
                except DeadEnd as error:
                    dead_end = error.name
                    continue
                if not item.missed and texts[order[0]] not in earlier_texts:
                    return drawn, texts
                best = best or (drawn, texts)
            if best:
                return best
        raise UserError(f"{self._where}: apart leaves no value for symbol {dead_end!r}; take a pair out of it")

    def _choose_derivations(self, given: Mapping[str, str]) -> Derivations:
        values = tuple(self._choose_value(name, given) for name in self._by_value)
        if values not in self._derivations:
            chosen = {name: entry for name, entry in self._symbols.items() if isinstance(entry, Symbol)}
            for name, value in zip(self._by_value, values, strict=True):
                entry = self._symbols[name]
                assert not isinstance(entry, Symbol)
                chosen[name] = entry[value]
            self._derivations[values] = Derivations(chosen, self._apart)
        return self._derivations[values]

    def _choose_value(self, name: str, given: Mapping[str, str]) -> str:
        entry = self._symbols[name]
        assert not isinstance(entry, Symbol)
        for value in given.values():
            if value in entry:
                return value
        raise UserError(
            f"recipe.grammar.{name}: has frames for {', '.join(entry)}, and the request gives "
            f"{', '.join(f'{key}={value[:40]}' for key, value in given.items()) or 'no variable'}; add frames for it"
        )

    def _select_placeable(self, derivations: Derivations, name: str, keywords: Sequence[str]) -> Keywords:
        """As many of the keywords, from the first on, as one text can hold."""
        key = (derivations, name, *keywords)
        if key not in self._placed:
            placed: Keywords = frozenset()
            for keyword in keywords:
                lower = keyword.lower()
                reach = derivations.reach(name)
                known = lower if lower in reach else lemmatize(lower, "en")
                if known in reach and derivations.can_hold(name, placed | {known}):
                    placed |= {known}
            self._placed[key] = placed
        return self._placed[key]


def _count_words(alternative: Alternative, share: float, frequency: defaultdict[str, float]) -> None:
    total = sum(weight for _, weight in alternative.synonyms)
    for text, weight in alternative.synonyms:
        for word in extract_words(text):
            if word not in load_stop_list("en"):
                frequency[lemmatize(word, "en")] += share * alternative.weight * weight / total


def _finish(text: str) -> str:
    text = _SPACE_BEFORE_MARK.sub("", _SPACES.sub(" ", text)).strip()
    text = _ARTICLE.sub(_choose_article, text)
    return text[0].upper() + text[1:] if text.endswith(_SENTENCE_END) else text


def _choose_article(match: re.Match[str]) -> str:
    a, word = match[1], match[2]
    vowel = word[0] in "aeiouAEIOU" and not _SOUNDS_LIKE_CONSONANT.match(word)
    return f"{a}n " if vowel or _SILENT_H.match(word) else f"{a} "
