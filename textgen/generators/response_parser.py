"""Parser of a model's answer: items of JSON if the model followed the schema, otherwise of plain lines."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from textgen.config import RecipeSettings

_FENCE = re.compile(r"```[A-Za-z]*\n?|```")
# Reasoning that a server did not remove. Chat templates often write the opening tag, so the answer has the end only.
_THOUGHTS_BEGIN = re.compile(r"\s*(?:<(?:think|thinking|thought|reasoning)>|\[THINK\]|◁think▷)", re.IGNORECASE)
_THOUGHTS_END = re.compile(
    r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>", re.IGNORECASE
)
_BULLET = re.compile(r"^\s*(?:[-*•]|\(?\d{1,3}[.):])\s+")
# Labels of a text that models repeat from the prompt: "Caption:", "**Sentence 2:**".
# Two runs of the same marks never follow each other in it, so its time is linear in the length of a line.
_NAMED_TEXT = re.compile(
    r"^[\W_]*(?:(?:alt(?:ernative)? )?text|caption|sentence|scene|description)[\W_]*(?:\d+[\W_]*)?:[*_\s]*",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[A-Z]\w*(?: \w+){0,2}:(?:\s|$)")  # "Words:", the beginning of a further example of the prompt
# Opening mark -> closing marks, in the ways of several languages and of models that mix them.
_QUOTES = {
    '"': '"”', "'": "'", "“": '”"', "”": "”", "„": '“”"', "‘": "’'", "‚": "‘’", "«": "»", "»": "«",  # noqa: RUF001
    "‹": "›", "「": "」", "『": "』",  # noqa: RUF001
}  # fmt: skip

# NUL and lone surrogates, which UTF-8 files must not contain; and more than the 30 marks per letter that Unicode's
# stream-safe format allows (UAX 15).
_UNSTORABLE = re.compile("[\0\ud800-\udfff]|[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{31,}")
# Begin of JSON: of the whole text, or of an object or list that can be one, because attempts at others take time.
_JSON_BEGIN = re.compile(r'\A[{\[]|\{(?=[ \t\n\r]*["}])|\[(?=[ \t\n\r]*(?:[\[{"\]\-\d]|true|false|null|NaN|Infinity))')
_LINE_COUNT_SPEED = 16  # times faster than JSON is decoded, at the least
_MAX_REREAD = 4  # times the length of a text that failed attempts to find JSON in it may read
_REPLACEMENT = "\ufffd"  # the filter of markup removes texts with it


class Unusable(ValueError):
    """Answer without an item of the wanted form; the message says why."""


def make_storable(text: str) -> str:
    """Return a text that can be written to a UTF-8 file, with replacement characters where it could not.

    Long runs of combining marks are replaced too, because Unicode's normalization takes quadratic time for them.
    """
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def parse_items(answer: str, recipe: RecipeSettings) -> list[dict[str, str]]:
    """Parse the items of an answer, each with the recipe's fields.

    JSON anywhere in the answer is used first. Without JSON the answer is read as plain text: one item per line if the
    recipe has one field, `field: value` lines if it has several. Items of another form are skipped, and surplus items
    are dropped.

    Raises:
        Unusable: describes the first item's mistake, if no item is left.
    """
    text = _FENCE.sub("", _drop_thoughts(answer)).strip()
    if not text:
        raise Unusable("the answer is empty")
    values = _find_json(text)
    if values:
        raw_items = _unwrap(values, recipe)
    elif text[0] in "{[":
        raise Unusable("its JSON is truncated or broken")
    else:
        raw_items = _parse_lines(text, recipe)
    items: list[dict[str, str]] = []
    first_fault: Unusable | None = None
    for raw_item in raw_items:
        if len(items) == recipe.items_per_request:
            break
        try:
            items.append(_read_item(raw_item, recipe))
        except Unusable as fault:
            first_fault = first_fault or fault
    if not items:
        raise first_fault or Unusable("its list of items is empty")
    return items


def _drop_thoughts(answer: str) -> str:
    """Return an answer without its reasoning, which ends at the last end mark, with or without a begin mark.

    Raises:
        Unusable: if the answer ends inside its reasoning, because drafts are not answers.
    """
    end = 0
    for match in _THOUGHTS_END.finditer(answer):
        end = match.end()
    if _THOUGHTS_BEGIN.match(answer, end):
        raise Unusable("it ends inside its reasoning")
    return answer[end:]


def _find_json(text: str) -> list[Any]:
    """Return the outermost JSON objects, and lists of objects or strings, in a text, in order.

    The time is linear: the search ends once the failed attempts have read several times the text's length.
    """
    decoder = json.JSONDecoder()
    values: list[Any] = []
    end, num_wasted = 0, 0
    for match in _JSON_BEGIN.finditer(text):
        if match.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError) as error:
            if match.start() == 0:  # the whole answer is broken JSON, and any further match is a part of it
                return []
            num_wasted += _count_read(error, match.start(), text)
            if num_wasted > _MAX_REREAD * len(text):
                break
            continue
        holds_items = bool(value) if isinstance(value, dict) else any(isinstance(part, (dict, str)) for part in value)
        if holds_items or match.start() == 0:
            values.append(value)
    return values


def _count_read(error: Exception, start: int, text: str) -> int:
    """Return the number of characters that a failed attempt to decode JSON read, from `start`."""
    # A string without an end is read to the end of the text, and deep nesting for as long as the stack lasts.
    if not isinstance(error, json.JSONDecodeError) or error.msg.startswith("Unterminated"):
        return len(text) - start
    return error.pos - start + error.pos // _LINE_COUNT_SPEED  # the error counts the lines from the text's beginning


def _unwrap(values: list[Any], recipe: RecipeSettings) -> list[Any]:
    """Return the items in {"items": [...]} (with any name), in a list, or in consecutive objects."""
    names = {name.lower() for name in recipe.fields}
    if len(values) > 1 and all(isinstance(value, dict) for value in values):
        return values
    first = values[0]
    while isinstance(first, dict) and len(first) == 1 and not {str(key).lower() for key in first} & names:
        (first,) = first.values()
    return first if isinstance(first, list) else [first]


def _read_item(raw_item: Any, recipe: RecipeSettings) -> dict[str, str]:
    if len(recipe.fields) == 1:
        only_value = (
            next(iter(raw_item.values())) if isinstance(raw_item, dict) and len(raw_item) == 1 else raw_item
        )  # {"caption": "..."}
        raw_item = {"text": only_value} if isinstance(only_value, str) else raw_item
    if not isinstance(raw_item, Mapping):
        raise Unusable(f"an item is a {type(raw_item).__name__}, not an object")
    by_lower = {str(key).lower(): value for key, value in raw_item.items()}
    item = {}
    for name, field in recipe.fields.items():
        value = raw_item.get(name, by_lower.get(name.lower()))
        if not isinstance(value, str) or not value.strip():
            raise Unusable(f"an item has no text in {name!r}")
        item[name] = _strip_quotes(" ".join(make_storable(value).split()))
        if not item[name]:
            raise Unusable(f"an item has no text in {name!r}")
        if field.values:
            allowed = {option.lower(): option for option in reversed(field.values)}
            if item[name] not in field.values and item[name].lower() not in allowed:
                raise Unusable(f"{name} is {item[name][:40]!r}, not one of {', '.join(field.values)}")
            item[name] = item[name] if item[name] in field.values else allowed[item[name].lower()]
    return item


def _parse_lines(text: str, recipe: RecipeSettings) -> list[Any]:
    lines = [line for line in text.splitlines() if _strip_marks(line)]
    if len(recipe.fields) > 1:
        return _parse_named_lines([_strip_marks(line) for line in lines], list(recipe.fields))
    if len(lines) > 1 and lines[0].rstrip(" *").endswith(":"):  # "Here are five captions:"
        lines = lines[1:]
    texts = [_cut(_NAMED_TEXT, _strip_marks(line)).strip() for line in lines]
    if recipe.items_per_request == 1:
        # A base model, which only continues text, writes further examples after its answer.
        example_starts = (number for number, text in enumerate(texts) if number and _LABEL.match(text))
        return [_strip_marks(" ".join(texts[: next(example_starts, None)]))]
    bulleted = [text for text, line in zip(texts, lines, strict=True) if _BULLET.match(line)]
    return list(filter(None, map(_strip_marks, bulleted if len(bulleted) > 1 else texts)))


def _strip_marks(line: str) -> str:
    """Return a line without a bullet or number before it and without quotes around it."""
    return _strip_quotes(_cut(_BULLET, line).strip())


def _cut(beginning: re.Pattern[str], text: str) -> str:
    """Return a text without its beginning, if it matches; faster than `sub`, which tries every place."""
    match = beginning.match(text)
    return text[match.end() :] if match else text


def _strip_quotes(text: str) -> str:
    """Return a text without quotes around all of it; a text that also holds the opening mark inside is left as it is."""
    if len(text) > 1 and text[-1] in _QUOTES.get(text[0], "") and text[0] not in text[1:-1]:
        return text[1:-1].strip()
    return text


def _parse_named_lines(lines: Sequence[str], names: Sequence[str]) -> list[Any]:
    """Parse items of `field: value` lines; the value may be on the next line, and a repeated field begins a new item."""
    items: list[dict[str, str]] = [{}]
    named_line = re.compile(rf"[\W_]*({'|'.join(map(re.escape, names))})[\W_]*[:=][*_\s]*(.*)", re.IGNORECASE)
    by_lower = {name.lower(): name for name in names}
    name = ""
    for line in lines:
        match = named_line.fullmatch(line)
        if match is None:
            if name and not items[-1][name]:
                items[-1][name] = line
            continue
        name = by_lower[match[1].lower()]
        if name in items[-1]:
            items.append({})
        items[-1][name] = _strip_marks(match[2])
    complete = [item for item in items if all(item.get(name) for name in names)]
    if not complete:
        raise Unusable(f"no lines name all of {', '.join(names)}")
    return complete
