"""Defaults and help of settings: each has one place, and the page of settings shows them."""

from typing import Literal, get_args

import pytest
from pydantic import BaseModel

from close_transfer import cli
from close_transfer.core.command_line import CONFIGS
from docs.build_settings.page import GROUPS, PAGE, build_page, list_command_settings, list_group_settings
from docs.build_settings.value_types import describe_type, list_models
from docs.build_settings.yaml_help import read_yaml
from studies import commands as studies
from tests.conftest import REPOSITORY

COMMANDS = {command.config_name: command for command in (*cli.COMMANDS.values(), *studies.COMMANDS.values())}

# Settings whose name says all.
SELF_EXPLAINING = {"seed", "mapper.num_layers"}
# Entries of lists and mappings that a user writes. They give only what they need, and no YAML states the rest.
ENTRIES = {"FieldSettings", "SystemConfig", "RealSystemConfig", "PretrainingConfig"}
# Settings that other tasks leave out.
LEFT_OUT = {"TaskConfig"}


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == build_page(), "run `make settings`"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_of_a_command_has_help(name):
    settings = list_command_settings(COMMANDS[name])
    assert not [row.key for row in settings if not row.help and row.key not in SELF_EXPLAINING]
    assert not [row.key for row in settings if not row.type]


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in ("experiment", "study")])
def test_every_setting_of_a_group_has_help(group):
    settings = list_group_settings(group)
    assert not [row.key for row in settings if not row.help and f"{group}.{row.key}" not in SELF_EXPLAINING]
    assert not [row.key for row in settings if not row.type]


def iterate_models(model, seen):
    if model not in seen:
        seen.add(model)
        for info in model.model_fields.values():
            for inner in find_models(info.annotation):
                iterate_models(inner, seen)
    return seen


def find_models(annotation):
    """Classes of settings anywhere in a type, those of lists and mappings included."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for member in get_args(annotation) for model in find_models(member)]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_schema_states_a_default(name):
    """But None for a group or a part that is not chosen."""
    wrong = []
    for model in iterate_models(COMMANDS[name].load_schema(), set()):
        if model.__name__ in ENTRIES | LEFT_OUT:
            continue
        for field, info in model.model_fields.items():
            is_part = info.default is None and bool(list_models(info.annotation))
            if not info.is_required() and not is_part:
                wrong.append(f"{model.__name__}.{field}")
    assert not wrong


def test_no_block_of_lines_stands_in_two_files():
    """Settings that several files share are a fragment."""
    first_place: dict[tuple[str, ...], str] = {}
    files = [path for folder in studies.FOLDERS for path in sorted(folder.rglob("*.yaml"))]
    repeated = []
    for path in files:
        if path.parent.name == "grammars":  # data
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        for number in range(len(lines) - 3):
            block = tuple(line.rstrip("# ") for line in lines[number : number + 4])  # "#" alone is an empty line
            names_files = any(line.startswith(("defaults:", "  - fragments/")) for line in block)
            if all(block) and not names_files and first_place.setdefault(block, str(path)) != str(path):
                repeated.append(f"{path.relative_to(REPOSITORY)}:{number + 1} repeats {first_place[block]}")
    assert not repeated


def test_fragments_are_no_options_of_groups():
    names = {path.stem for path in (CONFIGS / "fragments").glob("*.yaml")}
    groups = [path for path in CONFIGS.iterdir() if path.is_dir() and path.name in GROUPS]
    assert groups and not names & {path.name for group in groups for path in group.rglob("*.yaml")}


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Literal["a", "b"], "one of `a`, `b`"),
        (str | None, "text, or `null`"),
        (tuple[str, ...], "list of: text"),
        (bool, "`true` or `false`"),
    ],
)
def test_types_are_described_in_words(annotation, words):
    assert describe_type(annotation) == words


def test_help_is_the_comment_behind_a_setting(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        '# Settings of a test.\n\na: 1    # first\n        # line\n# of the file\nb:  # a part\n  c: "#d"  # text\n  d: e#f\n'
    )
    read = read_yaml(path)
    assert read.summary == "Settings of a test."
    assert read.helps == {"a": "first line", "b": "a part", "b.c": "text", "b.d": ""}
