"""Grammar of frames and word lists that writes captions without a model, offline and reproducibly.

Tracery and similar libraries expand symbols too. They lack what a corpus needs: weights (captions train well if their
word frequencies are right), names that stay bound (a question is about the objects of the caption), values that differ
(a contradiction) or exclude each other (no bus in a kitchen), and keywords placed where they fit.

A file has `symbols`: name -> alternatives. In an alternative,

- `{name}` becomes one of the symbol's alternatives, and stays the same in the whole item;
- `{name#2}` is another draw, with a different value if the symbol has one left; `#` may be followed by any letters and
  digits. Slots inside the expansion inherit it: if `thing` is "a {colour} {noun}", `{thing#2}` draws `{colour#2}` and
  `{noun#2}`.

"a" before a vowel sound becomes "an", and a text that ends like a sentence begins with a capital.

The items of one request describe one scene. They share the draws of word lists, and of symbols whose alternatives are
all single slots ("one thing or several"). Frames and synonyms are drawn for each item.
"""

import random
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from close_transfer.core.errors import UserError
from textgen.grammar.derivation import DeadEnd, Derivations, Item, Keywords
from textgen.grammar.expected_uses import count_expected_uses
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

_MAX_TRIES = 6  # attempts at an item that contains its keywords and differs from the earlier items
_ARTICLE = re.compile(r"\b([Aa]) (?=([A-Za-z]+))")
# English words that begin with a vowel letter but a consonant sound ("a unicorn"), and the reverse ("an hour").
_SOUNDS_LIKE_CONSONANT = re.compile(r"one(?!r)|once|uni(?!n)|us[eu]|uten|eu|ewe", re.IGNORECASE)
_SILENT_H = re.compile(r"hour|honest|honou?r|heir", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_SPACE_BEFORE_MARK = re.compile(r" (?=[.,;?!])")
_SENTENCE_END = (".", "!", "?", '."', '!"', '?"')


class Grammar:
    """Grammar that writes texts.

    Args:
        symbols: name -> symbol.
        apart: value -> values that never occur together with it.
        origin: source of its words and frames, for the data card.
        licence: licence of its words and frames.
        label: name of the grammar in error messages.
    """

    def __init__(
        self,
        symbols: Mapping[str, Entry],
        apart: Mapping[str, frozenset[str]],
        origin: str = "",
        licence: str = "",
        label: str = "grammar",
    ):
        self.origin = origin
        self.licence = licence
        self._symbols = dict(symbols)
        self._apart = apart
        self._label = label
        self._by_value = sorted(name for name, entry in symbols.items() if not isinstance(entry, Symbol))
        self._derivations: dict[tuple[str, ...], Derivations] = {}
        self._placed: dict[tuple[object, ...], Keywords] = {}

    @classmethod
    def read(cls, path: Path) -> "Grammar":
        """Read a grammar from a YAML file with `symbols` and optionally `origin`, `licence` and `apart`.

        Raises:
            UserError: names the file and the symbol that is unknown, unusable or contains itself.
        """
        sections = read_grammar_file(path)
        label = f"grammar={path}"
        symbols = read_symbols(label, sections["symbols"])
        check_symbols(label, symbols, ())
        apart = read_apart(label, sections.get("apart"))
        return cls(symbols, apart, str(sections.get("origin", "")), str(sections.get("licence", "")), label)

    def extend(self, symbols: Mapping[str, Any], given: Collection[str] = ()) -> "Grammar":
        """Return the grammar with further symbols, which replace its own of the same name.

        Args:
            symbols: name -> a frame, frames, or {value of a balanced variable -> frames}.
            given: names of variables that every request provides.

        Raises:
            UserError: names the symbol that is unknown, unusable or contains itself.
        """
        label = "recipe.grammar"
        all_symbols = {**self._symbols, **read_symbols(label, symbols)}
        check_symbols(label, all_symbols, given)
        return Grammar(all_symbols, self._apart, self.origin, self.licence, self._label)

    def compute_word_frequencies(self, start: str = "text") -> Mapping[str, float]:
        """Return lemma -> expected occurrences per text, for content words of the word lists; most frequent first.

        Args:
            start: symbol of the whole text; `caption` if the grammar has no symbol of that name.
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
        """Write the items of one request; the same state of `rng` gives the same items.

        Args:
            fields: fields of an item; each is a symbol. `text` is written first, and contains the keywords.
            num_items: number of items.
            keywords: words to use, in order of priority; those that the grammar cannot combine with the earlier ones are
                left out.
            given: name -> value of the request's variables, which frames may use by name. They take precedence over
                symbols of the same name, except for fields.
            rng: random number generator.

        Raises:
            UserError: names a field that is not a symbol, or a balanced value without frames.
        """
        missing = [name for name in fields if name not in self._symbols]
        if missing:
            raise UserError(
                f"recipe.grammar: has no symbol {missing[0]!r}, which is a field of the recipe. "
                f"Add frames for it (recipe.grammar.{missing[0]}), or use a language model: source=openai"
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
        for keywords in (wanted, frozenset[str]()):  # without keywords if they exclude each other
            for _ in range(_MAX_TRIES):
                bindings = dict(shared)
                item = Item(derivations, bindings, given, rng)
                try:
                    texts = {
                        name: _finish(item.expand(name, (), keywords if name == order[0] else frozenset()))
                        for name in order
                    }
                except DeadEnd as error:
                    dead_end = error.name
                    continue
                if not item.is_keyword_missed and texts[order[0]] not in earlier_texts:
                    return bindings, texts
                best = best or (bindings, texts)
            if best:
                return best
        raise UserError(f"{self._label}: apart leaves no value for symbol {dead_end!r}. Remove a pair from apart")

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
            f"{', '.join(f'{key}={value[:40]}' for key, value in given.items()) or 'no variable'}. Add frames for it"
        )

    def _select_placeable(self, derivations: Derivations, name: str, keywords: Sequence[str]) -> Keywords:
        """Select the keywords, in order of priority, that one text can hold together."""
        key = (derivations, name, *keywords)
        if key not in self._placed:
            placed: Keywords = frozenset()
            for keyword in keywords:
                lower = keyword.lower()
                reachable = derivations.list_reachable_words(name)
                word = lower if lower in reachable else lemmatize(lower, "en")
                if word in reachable and derivations.can_hold(name, placed | {word}):
                    placed |= {word}
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
