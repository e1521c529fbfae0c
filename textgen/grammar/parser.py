"""Parser of a grammar's symbols; it refuses unknown slots and symbols that contain themselves."""

import difflib
import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from close_transfer.core.errors import UserError

_SLOT = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)(?:#([A-Za-z0-9_]+))?\}")
_FORM = (
    "a list of alternatives, {alternative: weight}, {value: {word: weight}} for a value with synonyms, "
    "or {value of a balanced variable: alternatives}"
)

Kind = Literal["words", "choice", "frames"]


@dataclass(frozen=True, slots=True)
class Slot:
    """Slot of an alternative: `{name}` or `{name#scope}`."""

    name: str
    scope: str = ""

    def __str__(self) -> str:
        return f"{{{self.name}#{self.scope}}}" if self.scope else f"{{{self.name}}}"


@dataclass(frozen=True, eq=False, slots=True)
class Alternative:
    """One of the possible texts of a symbol.

    Attributes:
        value: identity of the alternative; for a word with synonyms, the meaning that they share.
        weight: relative frequency among the symbol's alternatives.
        parts: literal text and slots, in order; empty for an alternative with synonyms.
        synonyms: words with this meaning and their weights; empty for a text with slots.
    """

    value: str
    weight: float
    parts: tuple[str | Slot, ...] = ()
    synonyms: tuple[tuple[str, float], ...] = ()

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Slots, each once, in order."""
        return tuple(dict.fromkeys(part for part in self.parts if isinstance(part, Slot)))


@dataclass(frozen=True, eq=False)
class Symbol:
    """Symbol of a grammar.

    Attributes:
        name: name of the symbol.
        alternatives: its possible texts.
        kind: "words" if no alternative has a slot; "choice" if each is a single slot; else "frames".
        cumulative: running sums of the weights.
    """

    name: str
    alternatives: tuple[Alternative, ...]
    kind: Kind = field(init=False)
    cumulative: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        are_single_slots = all(len(alternative.parts) == 1 and alternative.slots for alternative in self.alternatives)
        are_words = all(alternative.synonyms for alternative in self.alternatives)
        # The class is frozen, so that these two are set past its own `__setattr__`.
        object.__setattr__(self, "kind", "words" if are_words else "choice" if are_single_slots else "frames")
        object.__setattr__(
            self, "cumulative", tuple(itertools.accumulate(alternative.weight for alternative in self.alternatives))
        )


# A symbol, or one for each value of a balanced variable.
Entry = Symbol | Mapping[str, Symbol]


def read_symbols(where: str, forms: Mapping[str, Any]) -> dict[str, Entry]:
    """Read the symbols of a grammar's file or of a recipe.

    Args:
        where: name of the place in error messages.
        forms: name -> alternatives, in one of the forms of `_FORM`.

    Raises:
        UserError: names the symbol and the part that cannot be used.
    """
    return {name: _read_entry(f"{where}: symbol {name!r}", name, form) for name, form in forms.items()}


def _read_entry(where: str, name: str, form: Any) -> Entry:
    if not isinstance(name, str) or not _SLOT.fullmatch(f"{{{name}}}"):
        raise UserError(f"{where}: cannot be a name. Use letters, digits and underscores, and begin with a letter")
    if isinstance(form, str):
        form = [form]
    if isinstance(form, Mapping) and form and all(isinstance(variant, (str, list, tuple)) for variant in form.values()):
        by_value = {str(value): _read_entry(f"{where}, {value!r}", name, variant) for value, variant in form.items()}
        return {value: symbol for value, symbol in by_value.items() if isinstance(symbol, Symbol)}
    if isinstance(form, (list, tuple)):
        form = _count_alternatives(where, form)
    if not isinstance(form, Mapping) or not form:
        raise UserError(f"{where}: is {form!r}. Give {_FORM}")
    return Symbol(name, tuple(_read_alternative(where, str(value), weight) for value, weight in form.items()))


def _count_alternatives(where: str, alternatives: Collection[Any]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text in alternatives:
        if not isinstance(text, str):
            raise UserError(f"{where}: {text!r} is not text. Put it in quotes")
        weights[text] = weights.get(text, 0) + 1
    return weights


def _read_alternative(where: str, value: str, weight: Any) -> Alternative:
    if isinstance(weight, Mapping) and weight:
        words = tuple((str(word), _read_weight(where, str(word), share)) for word, share in weight.items())
        if any("{" in word or "}" in word for word, _ in words):
            raise UserError(f"{where}: synonyms of {value!r} cannot have slots. Make a separate alternative of each")
        return Alternative(value, sum(share for _, share in words), synonyms=words)
    parts = _split_parts(where, value)
    if any(isinstance(part, Slot) for part in parts):
        return Alternative(value, _read_weight(where, value, weight), parts)
    return Alternative(value, _read_weight(where, value, weight), parts, ((value, 1.0),))


def _read_weight(where: str, value: str, weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < 1e12:
        raise UserError(f"{where}: the weight of {value!r} is {weight!r}. Give a number above 0")
    return float(weight)


def _split_parts(where: str, text: str) -> tuple[str | Slot, ...]:
    parts: list[str | Slot] = []
    end = 0
    for match in _SLOT.finditer(text):
        parts += [text[end : match.start()], Slot(match[1], match[2] or "")]
        end = match.end()
    parts.append(text[end:])
    if any(isinstance(part, str) and ("{" in part or "}" in part) for part in parts):
        raise UserError(f"{where}: {text!r} has a brace outside a slot. Write slots as {{name}} or {{name#2}}")
    return tuple(part for part in parts if part != "")


def expand_variants(entry: Entry) -> Iterator[Symbol]:
    """Yield the symbol, or the symbols for all values of a balanced variable."""
    yield from [entry] if isinstance(entry, Symbol) else entry.values()


def check_symbols(where: str, symbols: Mapping[str, Entry], given: Collection[str]) -> None:
    """Check that every slot has a symbol, and that no symbol contains itself.

    A symbol must not contain itself at any depth, because its expansion would never end.

    Raises:
        UserError: names the symbol, and the nearest name that exists or the circle.
    """
    names = {*symbols, *given}
    for name, entry in symbols.items():
        for alternative in (choice for symbol in expand_variants(entry) for choice in symbol.alternatives):
            for slot in alternative.slots:
                if slot.name not in names:
                    near = difflib.get_close_matches(slot.name, sorted(names), 1)
                    hint = f"Did you mean {{{near[0]}}}?" if near else f"Use one of {', '.join(sorted(names)[:20])}"
                    raise UserError(f"{where}: symbol {name!r} has {slot}, and there is no symbol of that name. {hint}")
    done: set[str] = set()
    for name in symbols:
        _check_ends(where, symbols, name, [], done)


def _check_ends(where: str, symbols: Mapping[str, Entry], name: str, path: list[str], done: set[str]) -> None:
    if name in path:
        circle = " > ".join([*path[path.index(name) :], name])
        raise UserError(f"{where}: symbol {name!r} contains itself and would never end ({circle}). Remove one of them")
    if name in done or name not in symbols:
        return
    for symbol in expand_variants(symbols[name]):
        for alternative in symbol.alternatives:
            for slot in alternative.slots:
                _check_ends(where, symbols, slot.name, [*path, name], done)
    done.add(name)


def read_grammar_file(path: Path) -> dict[str, Any]:
    """Read the sections of a grammar's file.

    Raises:
        UserError: if the file cannot be read, or is not a grammar.
    """
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"grammar={path}: there is no such file. Give a grammar such as configs/grammars/picturebook.yaml"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"grammar={path}: cannot be read as YAML ({' '.join(str(error).split())}). Correct the file"
        ) from None
    allowed = ("origin", "licence", "apart", "symbols")
    if (
        not isinstance(sections, dict)
        or not isinstance(sections.get("symbols"), dict)
        or not set(sections) <= set(allowed)
    ):
        contents = ", ".join(map(str, sections)) if isinstance(sections, dict) else repr(sections)[:60]
        raise UserError(f"grammar={path}: holds {contents}. Give `symbols`, and optionally {', '.join(allowed[:3])}")
    return sections


def read_apart(where: str, pairs: Any) -> dict[str, frozenset[str]]:
    """Return value -> values that never occur together with it.

    Args:
        where: name of the place in error messages.
        pairs: pairs of lists; no value of one list occurs together with a value of the other.

    Raises:
        UserError: if `pairs` has another form.
    """
    apart: dict[str, set[str]] = {}
    for pair in pairs or ():
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(side, list) for side in pair)):
            raise UserError(f"{where}: apart holds {pair!r}. Give pairs of lists, such as [[bus, car], [kitchen]]")
        for first, second in itertools.product(*pair):
            apart.setdefault(str(first), set()).add(str(second))
            apart.setdefault(str(second), set()).add(str(first))
    return {value: frozenset(others) for value, others in apart.items()}
