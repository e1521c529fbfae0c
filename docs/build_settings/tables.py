"""Settings of commands and of groups, each with its type, default and help."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from docs.build_settings.value_types import describe_field, list_models
from docs.build_settings.yaml_help import YamlFile, read_yaml

_LONGEST = 60  # characters of a default that is shown


@dataclass
class Setting:
    """Setting, a row of a table.

    Attributes:
        key: dotted key, below its group.
        type: allowed values, in words.
        defaults: default by option of the group; a command's setting has one default, under "".
        help: help text.
    """

    key: str
    type: str = ""
    defaults: dict[str, str] = field(default_factory=dict)
    help: str = ""


def find_file(name: str, folders: Sequence[Path]) -> Path:
    """Return the YAML file of this name, the first in the folders."""
    return next(path for folder in folders if (path := folder / f"{name}.yaml").is_file())


def read_with_parents(path: Path, folders: Sequence[Path]) -> list[YamlFile]:
    """Return a file and the files that it extends, which come first."""
    own = read_yaml(path)
    files: list[YamlFile] = []
    for parent in own.parents:
        name, _, package = parent.partition("@")
        if package not in ("", "_here_"):  # of a group, which has its own table
            continue
        sibling = path.parent / f"{name}.yaml"
        parent_path = sibling if sibling.is_file() else find_file(name.removeprefix("/"), folders)
        files += read_with_parents(parent_path, folders)
    return [*files, own]


def list_settings(files: Sequence[YamlFile], models: Sequence[type[BaseModel]], option: str = "") -> Iterator[Setting]:
    """Yield every setting of files that are merged in order, the last file's values first."""
    rows: dict[str, Setting] = {}
    for file in files:
        for key, value in _flatten(file.values, models):
            row = rows.setdefault(key, Setting(key, _find_type(models, key.split("."))))
            row.defaults[option] = format_value(value)
            row.help = row.help or file.helps.get(key, "")
    parts: set[str] = set()
    for key, row in rows.items():
        part = key.rpartition(".")[0]
        help_of_part = next((text for file in files if (text := file.helps.get(part, ""))), "")
        if help_of_part and not row.help:
            row.help = help_of_part
        elif help_of_part and part not in parts:
            yield Setting(f"{part}.*", "settings", {option: ""}, help_of_part)
        parts.add(part)
        yield row


def format_value(value: Any) -> str:
    """Return a default as it is typed on a command line."""
    if value == "???":
        return "must be given"
    if value is None or isinstance(value, bool):
        return f"`{str(value).lower() if value is not None else 'null'}`"
    if value == "":
        return '`""`'
    if isinstance(value, list):
        text = f"[{','.join(_strip_marks(item) for item in value)}]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key}: {_strip_marks(item)}" for key, item in value.items()) + "}"
    else:
        text = str(value)
    return f"`{text}`" if len(text) <= _LONGEST else "see the file"


def _strip_marks(value: Any) -> str:
    return format_value(value).strip("`")


def _flatten(values: dict[str, Any], models: Sequence[type[BaseModel]], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        inner = [
            m for model in models if key in model.model_fields for m in list_models(model.model_fields[key].annotation)
        ]
        if isinstance(value, dict) and inner:
            yield from _flatten(value, inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _find_type(models: Sequence[type[BaseModel]], path: Sequence[str]) -> str:
    words = []
    for model in models:
        info = model.model_fields.get(path[0])
        if info is None:
            continue
        if len(path) == 1:
            words.append(describe_field(info))
        else:
            words.append(_find_type(list_models(info.annotation), path[1:]))
    types = list(dict.fromkeys(words))
    if len(types) > 1 and all(word.startswith(("`", "one of ")) for word in types):
        names = dict.fromkeys(name for word in types for name in word.removeprefix("one of ").split(", "))
        return f"one of {', '.join(names)}"
    return ", or ".join(types)
