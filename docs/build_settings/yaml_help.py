"""Help of settings, read from the comments of a YAML file."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z_][\w.-]*):(?: (?P<rest>.*))?$")
_GROUP = re.compile(r"  - /?(?P<group>[\w-]+(?:@[\w-]+)?): (?P<option>[^#]*?)(?:\s+# (?P<help>.*))?$")
_COMMENT = re.compile(r"^(?P<value>(?:\"[^\"]*\"|'[^']*'|[^#\"']|(?<=\w)#)*?)(?:^|\s+)# (?P<help>.*)$")


@dataclass
class YamlFile:
    """Settings of one YAML file.

    Attributes:
        summary: first paragraph of the comment at the head of the file.
        groups: default option and help by group, from the defaults list and in its order.
        parents: files of the defaults list that this file extends, such as `fragments/hydra`.
        values: settings of this file.
        helps: help by dotted key; "" if there is none.
    """

    summary: str = ""
    groups: dict[str, tuple[str, str]] = field(default_factory=dict)
    parents: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    helps: dict[str, str] = field(default_factory=dict)


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML file with its comments."""
    text = path.read_text(encoding="utf-8")
    values = yaml.safe_load(text) or {}
    defaults = values.pop("defaults", [])
    values.pop("hydra", None)
    lines = text.splitlines()
    read = YamlFile(_read_summary(lines), values=values)
    read.parents = [entry for entry in defaults if isinstance(entry, str) and entry != "_self_"]
    for line in lines:
        if match := _GROUP.match(line):
            read.groups[match["group"]] = (match["option"].strip(), match["help"] or "")
    read.helps = _read_helps(lines, values)
    return read


def _read_summary(lines: list[str]) -> str:
    """Return the first paragraph of the head's comment."""
    summary: list[str] = []
    for line in lines:
        if not line.startswith("#") or line.strip() == "#":
            break
        if "@package" not in line:
            summary.append(line.removeprefix("#").strip())
    return " ".join(summary)


def _read_helps(lines: list[str], values: dict[str, Any]) -> dict[str, str]:
    """Return the help by dotted key: the comment after the value, continued on the lines below."""
    helps: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("#"):
            indent = len(line) - len(line.lstrip())
            if path and helps.get(_join(path)) and indent > path[-1][0] + 2:
                helps[_join(path)] += f" {stripped.removeprefix('#').strip()}"
            continue
        match = _KEY.match(line)
        if not match:
            continue
        indent = len(match["indent"])
        path = [*((depth, key) for depth, key in path if depth < indent), (indent, match["key"])]
        if not _is_there(path, values):
            continue
        comment = _COMMENT.match(match["rest"] or "")
        helps[_join(path)] = comment["help"] if comment else ""
    return helps


def _join(path: list[tuple[int, str]]) -> str:
    return ".".join(key for _, key in path)


def _is_there(path: list[tuple[int, str]], values: Any) -> bool:
    for _, key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True
