"""Frames and word lists of Picturebook's captions with their counts: the content of a grammar of this language.

Known words become slots (things, sizes, colours, counts, places, times); the rest of a caption is a frame. Values
that never occur together, although chance would have combined them, are kept apart: a bus and a kitchen, and the
pairs of thing and colour that `test-novel` holds out.
"""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from close_transfer.data.picturebook import world


def _join_alternatives(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_NOUNS = {
    word: (kind, number) for kind in world.KINDS.values() for pair in kind.nouns for number, word in enumerate(pair)
}
_HYPERNYMS = {word: number for kind in world.KINDS.values() for number, word in enumerate(kind.hypernym)}
for _kind in world.KINDS.values():  # a wider class with one kind is a synonym of it
    if len(world.list_kinds(_kind.hypernym[0])) == 1:
        _NOUNS |= {word: (_kind, number) for number, word in enumerate(_kind.hypernym)}
_SIZES = {word: size for size, words in world.SIZE_WORDS.items() for word in words}
_PLACES = {way: place for place, (_, ways) in world.PLACES.items() for way in ways}
_TIMES = {way: time for time, ways in world.TIMES.items() for way in ways}
_COLOURLESS = "black_and_white"
_PHRASES = {
    "fog": ("in thick fog", "in the fog", "in dense fog"),
    "picture_of": ("a picture of", "a drawing of"),
    _COLOURLESS: ("an old black and white photo of", "a black and white photo of", "a black and white picture of"),
}
_COUNTS = {
    "two": "two", "three": "three", "four": "four", "a group of three": "three", "a group of four": "four",
    "a pair of": "two", "a couple of": "two",
}  # fmt: skip
_SOME = ("some", "several", "a few")

_THING = re.compile(
    rf"\b(?P<count>an?|{_join_alternatives([*_COUNTS, *_SOME])}) (?P<state>closed |open and empty |empty |open )?"
    rf"(?:(?P<size>{_join_alternatives(_SIZES)}) )?(?:(?P<colour>{_join_alternatives(world.COLOURS)}) )?(?P<noun>{_join_alternatives([*_NOUNS, *_HYPERNYMS])})\b"
    rf"(?: (?P<wearing>in|wearing|dressed in) (?P<worn>{_join_alternatives(world.COLOURS)})\b)?"
    r"(?P<lid> with its lid on| with a ribbon| with nothing in it)?"
)
_BEFORE = r"(?:(?:\{(?:where|outdoors|when|fog)\}, )|\{(?:picture_of|black_and_white)\} |there is )*"
_CORE = re.compile(rf"^({_BEFORE})(.*?)((?: \{{(?:where|outdoors|when|fog)\}})*\.)$")
_INSIDE = re.compile(r"<(\d+)> with <(\d+)> (?:in it|inside)|<(\d+)> in <(\d+)>")

# Words between two things: roles of the first and the second, and their numbers in the relation.
_RELATIONS: tuple[tuple[str, str, tuple[str, str], tuple[str, str]], ...] = (
    (r"^ (to|on) the left of $| on the left and $", "beside", ("thing", "thing"), ("1", "2")),
    (r"^ (to|on) the right of $", "beside", ("thing", "thing"), ("2", "1")),
    (r"^ (in the sky )?above $|^ over $", "above", ("flying", "below"), ("1", "2")),
    (r"^ (below|under) $", "above", ("below", "flying"), ("2", "1")),
    (r"^ with .*on top", "on", ("seat", "perched"), ("2", "1")),
    (r"^ (sitting )?on (top of )?$", "on", ("perched", "seat"), ("1", "2")),
    (r"^ with .*in front of it", "front", ("behind", "before"), ("2", "1")),
    (r"^ in front of $", "front", ("before", "behind"), ("1", "2")),
    (r"^ behind $", "front", ("behind", "before"), ("2", "1")),
    (r"", "together", ("thing", "thing"), ("1", "2")),
)


def _make_counters() -> defaultdict[str, Counter[str]]:
    return defaultdict(Counter)


@dataclass
class _Counts:
    """Counts by symbol: value -> count, or value -> word -> count."""

    frames: defaultdict[str, Counter[str]] = field(default_factory=_make_counters)
    words: defaultdict[str, defaultdict[str, Counter[str]]] = field(default_factory=lambda: defaultdict(_make_counters))
    unnamed: defaultdict[str, Counter[str]] = field(default_factory=_make_counters)
    uncounted: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    together: Counter[tuple[str, str]] = field(default_factory=Counter)
    num_things: int = 0

    def count_thing(self, match: re.Match[str], role: str, around: Sequence[str], inside: str = "") -> str:
        """Count the words of a thing, and return its symbol."""
        word = match["noun"]
        kind, number = _NOUNS[word] if word in _NOUNS else (None, _HYPERNYMS[word])
        is_person = kind.hypernym == world.PERSON if kind else word in world.PERSON
        is_box = kind is not None and kind.name == "box"
        noun = role + ("_person" if is_person else "") + ("_box" if is_box else "") + ("s" if number else "")
        colour, size = match["colour"] or match["worn"] or "", match["size"] or ""
        if kind:
            self.words[noun][kind.name][word] += 1
        else:
            self.unnamed[noun][word] += 1
        if size:
            self.words["size"][_SIZES[size]][size] += 1
        if colour:
            self.words["colour"][colour][colour] += 1
        if match["wearing"]:
            self.words["wearing"]["wearing"][match["wearing"]] += 1
        if match["count"] in _SOME:
            self.uncounted[match["count"]] += 1
        elif number:
            self.words["count"][_COUNTS[match["count"]]][match["count"]] += 1
        values = [value for value in (kind.name if kind else "", colour, *around) if value]
        self.alone.update(values)
        self.together.update(itertools.combinations(sorted(values), 2))
        self.num_things += 1

        parts = ["{count}" if number else "a", (match["state"] or "").strip(), "{size}" if size else ""]
        parts += ["{colour}" if match["colour"] else "", f"{{{noun}}}", "{wearing} {colour}" if match["worn"] else ""]
        phrase = " ".join(part for part in parts if part) + (match["lid"] or "")
        whole = f"{'several' if number else 'one'}_{role}"
        part = f"{whole}{'_person' if is_person else ''}"
        if is_box:
            signs = {"closed": "shut", "lid on": "shut", "empty": "empty", "nothing": "empty"}
            state = "filled" if inside else next((signs[sign] for sign in signs if sign in phrase), "plain")
            part = f"{whole}_{state}_box"
            phrase = inside.replace("<box>", phrase) or phrase
        elif not is_person:
            part += "_object"
        self.frames[whole][f"{{{part}}}"] += 1
        self.frames[part][phrase] += 1
        return whole

    def count_caption(self, text: str) -> None:
        """Count a caption."""
        text = text[0].lower() + text[1:]
        place, time = "", ""
        for phrase in sorted(_TIMES, key=len, reverse=True):
            if not time and phrase in text:
                time, text = _TIMES[phrase], text.replace(phrase, "{when}")
                self.words["when"][time][phrase] += 1
        for phrase in sorted(_PLACES, key=len, reverse=True):
            if not place and phrase in text:
                place = _PLACES[phrase]
                side = "indoors" if place in world.INDOORS else "outdoors"
                self.words[side][place][phrase] += 1
                if not time:
                    self.frames["where"][f"{{{side}}}"] += 1
                text = text.replace(phrase, "{outdoors}" if time else "{where}")
        for symbol, phrases in _PHRASES.items():
            for phrase in (phrase for phrase in phrases if phrase in text):
                self.words[symbol][symbol][phrase] += 1
                text = text.replace(phrase, f"{{{symbol}}}")
        self._count_frame(text, (place, _COLOURLESS if f"{{{_COLOURLESS}}}" in text else ""))

    def _count_frame(self, text: str, around: Sequence[str]) -> None:
        matches = list(_THING.finditer(text))
        for number, match in reversed(list(enumerate(matches))):
            text = f"{text[: match.start()]}<{number}>{text[match.end() :]}"
        inside = _INSIDE.search(text)
        contents = {}
        if inside:
            box, content = int(inside[1] or inside[4]), int(inside[2] or inside[3])
            symbol = self.count_thing(matches[content], "inside", around)
            contents[box] = inside[0].replace(f"<{content}>", f"{{{symbol}#inside}}").replace(f"<{box}>", "<box>")
            text = text.replace(inside[0], f"<{box}>")
        order = [int(number) for number in re.findall(r"<(\d+)>", text)]
        relation, roles, numbers = "alone", ("thing", ""), ("1", "")
        if len(order) > 1:
            between = text.partition(f"<{order[0]}>")[2]
            if not re.match(r" with .*(on top|in front of it)", between):
                between = between.partition("<")[0]
            relation, roles, numbers = next((name, r, n) for form, name, r, n in _RELATIONS if re.search(form, between))
        how_many = {}
        for number, role, position in zip(order, (*roles, "thing"), (*numbers, "3"), strict=False):
            symbol = self.count_thing(matches[number], role, around, contents.get(number, ""))
            how_many[position] = symbol.split("_")[0]
            text = text.replace(f"<{number}>", f"{{{symbol}#{position}}}")
        group = "_".join([relation, *(how_many[position] for position in sorted(how_many))])
        self.frames["caption"][f"{{{group}}}"] += 1
        seen_symbol = f"{symbol}#1"
        if len(order) > 1:  # "there is" goes before one thing, so that the core's first thing is in its name
            before, core, after = _CORE.fullmatch(text).groups()  # type: ignore[union-attr]
            name = f"{group}_from_{'one' if core.startswith('{one') else 'several'}"
            self.frames[name][core] += 1
            text = f"{before}{{{name}}}{after}"
            seen_symbol = name
        self.frames["seen"][f"{{{seen_symbol}}}"] += 1
        self.frames[group][text] += 1


def _share_out(counts: _Counts) -> None:
    """Make general words synonyms of the kinds that they may replace, and "some" one of each number."""
    for noun, words in counts.unnamed.items():
        for word, count in words.items():
            kind_counts = {k: sum(c.values()) for k, c in counts.words[noun].items() if word in world.KINDS[k].hypernym}
            for kind, share in kind_counts.items():
                counts.words[noun][kind][word] += max(1, round(count * share / sum(kind_counts.values())))
    numbers = {value: sum(words.values()) for value, words in counts.words["count"].items()}
    for word, count in counts.uncounted.items():
        for value, share in numbers.items():
            counts.words["count"][value][word] += max(1, round(count * share / sum(numbers.values())))


def _find_apart(counts: _Counts, min_expected: int) -> list[list[list[str]]]:
    """Find values that never occur together, though they would `min_expected` times by chance."""
    absent_partners: defaultdict[str, list[str]] = defaultdict(list)
    for first in (*world.KINDS, _COLOURLESS):
        for second in (*world.COLOURS, *world.PLACES):
            expected = counts.alone[first] * counts.alone[second] / counts.num_things
            if expected >= min_expected and not counts.together[min(first, second), max(first, second)]:
                absent_partners[first].append(second)
    together: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for first, partners in absent_partners.items():
        together[tuple(partners)].append(first)
    pairs = [[values, list(partners)] for partners, values in together.items()]
    return [*pairs, [list(world.INDOORS), [*world.TIMES, *world.OUTDOORS]]]


def _collect_symbols(counts: _Counts, min_count: int) -> tuple[dict[str, dict[str, object]], float]:
    """Return the symbols as the file has them, and the share of captions whose frame is among them."""
    total = counts.frames["caption"].total()
    num_kept = 0
    symbols: dict[str, dict[str, object]] = {}
    for name, frames in sorted(counts.frames.items(), key=lambda pair: pair[0] != "caption"):
        often: dict[str, object] = {frame: count for frame, count in frames.most_common() if count >= min_count}
        if often and f"{{{name}}}" in counts.frames["caption"]:
            num_kept += sum(count for count in frames.values() if count >= min_count)
        symbols[name] = often
    for name, values in sorted(counts.words.items()):
        symbols[name] = {
            value: dict(words.most_common()) if set(words) != {value} else words[value]
            for value, words in sorted(values.items(), key=lambda pair: -pair[1].total())
        }
    while empty := [name for name, alternatives in symbols.items() if not alternatives]:
        gone = re.compile(
            rf"\{{({_join_alternatives(empty)})[#}}]"
        )  # a frame below min_count is left out, so its symbols may lead nowhere
        symbols = {
            name: {alternative: weight for alternative, weight in alternatives.items() if not gone.search(alternative)}
            for name, alternatives in symbols.items()
            if name not in empty
        }
    return symbols, num_kept / total


@dataclass(frozen=True)
class Frames:
    """Content of a grammar's file.

    Attributes:
        symbols: name -> alternative -> count, or -> {word: count} if a value has several words.
        apart: pairs of lists of values that never occur together.
        share: share of the captions whose frame is among the symbols, 0 to 1.
    """

    symbols: dict[str, dict[str, object]]
    apart: list[list[list[str]]]
    share: float


def extract_frames(texts: Iterable[str], min_count: int, min_expected: int) -> Frames:
    """Count the frames of captions.

    Args:
        texts: captions of Picturebook.
        min_count: minimum count of a frame.
        min_expected: minimum count that chance would give two values, for them to be kept apart if they never meet.
    """
    counts = _Counts()
    for text in texts:
        counts.count_caption(text)
    _share_out(counts)
    symbols, share = _collect_symbols(counts, min_count)
    return Frames(symbols, _find_apart(counts, min_expected), share)
