"""From a model's answer to items: JSON where the model kept to the schema, plain lines where it did not."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from textgen.config import RecipeSettings

_FENCE = re.compile(r"```[A-Za-z]*\n?|```")
_THOUGHTS = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)  # of reasoning models, where the server leaves them in
_BULLET = re.compile(r"^\s*(?:[-*•]|\(?\d{1,3}[.):])\s+")
# What a prompt calls a text, before it: "Caption:", "**Sentence 2:**".
_NAMED_TEXT = re.compile(
    r"^[\W_]*(?:(?:alt(?:ernative)? )?text|caption|sentence|scene|description)[\W_]*\d*[\W_]*:[*_\s]*", re.IGNORECASE
)
_LABEL = re.compile(r"[A-Z]\w*(?: \w+){0,2}:(?:\s|$)")  # "Words:", as the next example of a prompt would begin
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»"}  # noqa: RUF001

_BROKEN = re.compile("[\0\ud800-\udfff]")  # what no file of UTF-8 text holds; a filter takes such texts out
_REPLACEMENT = "\ufffd"


class Unusable(ValueError):
    """The answer holds no item of the wanted shape; the message says why."""


def make_storable(text: str) -> str:
    """A text with the replacement character for whatever no file of UTF-8 text holds."""
    return _BROKEN.sub(_REPLACEMENT, text)


def parse_items(answer: str, recipe: RecipeSettings) -> list[dict[str, str]]:
    """The items of an answer, each with the recipe's fields.

    JSON is taken first, wherever in the answer it stands. If there is none, a plain answer is read: one item a line
    where the recipe has one field, `field: value` lines where it has several. Items of another shape are left out, and
    more items than were asked for are cut.

    Raises:
        Unusable: if no item is left; says what was wrong with the first.
    """
    text = _FENCE.sub("", _THOUGHTS.sub("", answer)).strip()
    if not text:
        raise Unusable("the answer is empty")
    values = _find_json(text)
    if values:
        raw_items = _unwrap(values, recipe)
    elif text[0] in "{[":
        raise Unusable("its JSON is cut short or broken")
    else:
        raw_items = _parse_lines(text, recipe)
    items, faults = [], []
    for raw_item in raw_items:
        try:
            items.append(_read_item(raw_item, recipe))
        except Unusable as fault:
            faults.append(fault)
    if not items:
        raise faults[0] if faults else Unusable("its list of items is empty")
    return items[: recipe.items_per_request]


def _find_json(text: str) -> list[Any]:
    """The JSON objects and lists of objects or strings in a text, in order, not those within others."""
    decoder = json.JSONDecoder()
    values: list[Any] = []
    end = 0
    for match in re.finditer(r"[{\[]", text):
        if match.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            if match.start() == 0:  # what follows are pieces of it
                return []
            continue
        holds_items = bool(value) if isinstance(value, dict) else any(isinstance(part, (dict, str)) for part in value)
        if holds_items or match.start() == 0:
            values.append(value)
    return values


def _unwrap(values: list[Any], recipe: RecipeSettings) -> list[Any]:
    """The items in {"items": [...]}, by that name or another, in a list, or in objects one after another."""
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
        item[name] = " ".join(make_storable(value).split())
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
    texts = [_NAMED_TEXT.sub("", _strip_marks(line)).strip() for line in lines]
    if recipe.items_per_request == 1:
        # A model that only continues text writes further examples after its answer.
        example_starts = (number for number, text in enumerate(texts) if number and _LABEL.match(text))
        return [_strip_marks(" ".join(texts[: next(example_starts, None)]))]
    bulleted = [text for text, line in zip(texts, lines, strict=True) if _BULLET.match(line)]
    return list(filter(None, map(_strip_marks, bulleted if len(bulleted) > 1 else texts)))


def _strip_marks(line: str) -> str:
    """A line without a bullet or number before it and quotes around it."""
    line = _BULLET.sub("", line).strip()
    if len(line) > 1 and _QUOTES.get(line[0]) == line[-1] and line[0] not in line[1:-1]:
        line = line[1:-1].strip()
    return line


def _parse_named_lines(lines: Sequence[str], names: Sequence[str]) -> list[Any]:
    """Items of `field: value` lines, the value perhaps on the next; a field that comes again begins the next item."""
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
    whole = [item for item in items if all(item.get(name) for name in names)]
    if not whole:
        raise Unusable(f"no lines name all of {', '.join(names)}")
    return whole
