"""Check of YAML files that come from others: they hold plain values, and nothing in them is resolved or composed.

Hydra resolves `${...}` in every file that it composes, so `${oc.env:OPENAI_API_KEY}` in a recipe would send a key to a
server. A header or a defaults list could change settings outside of the file's group, such as the server's address.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from close_transfer.core.errors import UserError
from close_transfer.core.schema import shorten

_INTERPOLATION = "${"
_PACKAGE = re.compile(r"\s*#\s*@\s*package\b")  # a line of Hydra's header, which moves the file's values
# An alias of YAML repeats a value any number of times, or inside of itself, and Hydra copies it each time.
_MAX_VALUES = 100_000
_MAX_DEPTH = 50


def check_plain_file(path: Path, setting: str, file_keys: Collection[str] = ()) -> None:
    """Check that a YAML file holds plain values only.

    Args:
        path: the file.
        setting: setting that chose it, for messages.
        file_keys: keys of the file that name other files, which must be in its folder or below.

    Raises:
        UserError: if it cannot be read, holds an interpolation, a header, a defaults list or a path elsewhere, or has
            more values than any file of settings.
    """
    try:
        text = path.read_text(encoding="utf-8")
        is_oversized = _is_oversized(yaml.compose(text, yaml.SafeLoader))
        # Not before, because merge keys (<<) grow as much while the values are made.
        values = None if is_oversized else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(
            f"{setting}: {path} cannot be read as YAML ({shorten(' '.join(str(error).split()))}). Correct the file"
        ) from None
    if is_oversized:
        raise UserError(
            f"{setting}: {path} holds more than {_MAX_VALUES:,} values, or more than {_MAX_DEPTH} inside of each other, with "
            "its aliases (*name) written out. Shorten the file"
        )
    if not isinstance(values, dict):
        raise UserError(f"{setting}: {path} does not hold settings. Write one `name: value` per line")
    # Hydra splits lines like this, also at separators that re.MULTILINE does not know.
    if any(map(_PACKAGE.match, text.splitlines())) or "defaults" in values:
        raise UserError(
            f"{setting}: {path} has a `@package` header or a defaults list, which could change other settings. Remove it"
        )
    for place, value in _iterate_texts(values):
        if has_interpolation(value):
            raise UserError(
                f"{setting}: {path} holds {shorten(value)} at {shorten(place)}, and a file of others must not read "
                "variables or other settings. Write the value itself"
            )
    for key in file_keys:
        if isinstance(name := values.get(key), str) and _is_elsewhere(name):
            raise UserError(
                f"{setting}: {path} names the file {shorten(name)} at {key}, which is not in its folder. Put the file next "
                f"to it, or give {setting.partition('=')[0]}.{key}=PATH in the command"
            )


def _is_oversized(document: yaml.Node | None) -> bool:
    """Return True if a document's values, with aliases written out, are too many or too deep."""
    level, num = [document], 0
    for _ in range(_MAX_DEPTH):
        containers = [node for node in level if isinstance(node, yaml.CollectionNode)]
        num += sum(len(node.value) for node in containers)  # before they are listed, because a level may be huge
        if not containers or num > _MAX_VALUES:
            return num > _MAX_VALUES
        # An entry of a mapping is a key and a value.
        level = [entry[-1] if isinstance(entry, tuple) else entry for node in containers for entry in node.value]
    return True


def has_interpolation(text: str) -> bool:
    """Return True if Hydra would resolve a part of the text."""
    return _INTERPOLATION in text


def _iterate_texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts in a value, keys included, each with its place."""
    items: list[tuple[str, Any]] = []
    if isinstance(value, str):
        yield place or "the top", value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield f"{place}.{key}".lstrip("."), str(key)
            items.append((f"{place}.{key}".lstrip("."), item))
    elif isinstance(value, (list, tuple, set)):
        items += [(f"{place}[{number}]", item) for number, item in enumerate(value)]
    for inner_place, item in items:
        yield from _iterate_texts(item, inner_place)


def _is_elsewhere(name: str) -> bool:
    """Return True if a relative name cannot be inside the folder that it is relative to, on any system."""
    path = PureWindowsPath(name)  # it takes / and \\ as separators
    return bool(path.root or path.drive) or ".." in path.parts or name.startswith("~")
