"""Roles of settings: annotated on the field once, asked for by whoever compares or publishes settings."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import close_transfer.config
from close_transfer.cli import compose_config
from close_transfer.config.data import FileData, HuggingFaceData
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.roles import (
    Names,
    Role,
    drop_idle_settings,
    drop_settings,
    find_naming_fields,
    get_role,
    list_fields,
)
from close_transfer.core.schema import StrictModel
from tests.conftest import REPOSITORY

_LOCATIONS = ("output", "runs", "device", "resume", "embedding_cache")
_MODULES = [
    *(f"close_transfer.config.{module.name}" for module in pkgutil.iter_modules(close_transfer.config.__path__)),
    "textgen.config",
    "studies.config",
]


def list_schemas():
    """Return all classes of settings of every command."""
    modules = [importlib.import_module(name) for name in _MODULES]
    schemas = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return sorted((s for s in schemas if issubclass(s, StrictModel)), key=lambda schema: schema.__name__)


def test_where_things_are_is_annotated_so_in_every_schema():
    found = [(schema.__name__, name) for schema in list_schemas() for name in _LOCATIONS if name in schema.model_fields]
    assert len(found) > 30
    wrong = [
        (schema.__name__, name)
        for schema in list_schemas()
        for name in _LOCATIONS
        if name in schema.model_fields and get_role(schema, name) is not Role.LOCATION
    ]
    assert wrong == []


def list_names(tree):
    """Return the literals of a module that could be a hand-kept set of settings, as line and texts."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Set, ast.Tuple, ast.List)):
            elements = node.elts
        elif isinstance(node, ast.Dict):
            elements = node.keys
        else:
            continue
        texts = {e.value for e in elements if isinstance(e, ast.Constant) and isinstance(e.value, str)}
        yield node.lineno, texts


def test_no_module_keeps_a_set_of_names_that_the_schemas_annotate():
    free = {
        name
        for schema in list_schemas()
        for name in list_fields(schema, Role.LOCATION, Role.REPORTING, Role.THROUGHPUT, Role.SEED, Role.FINGERPRINTED)
    }
    assert {"output", "log_every", "num_bootstrap", "batch_size", "seed", "text_column"} <= free
    kept = []
    for package in ("close_transfer", "textgen", "studies"):
        for path in sorted(Path(REPOSITORY, package).rglob("*.py")):
            for line, texts in list_names(ast.parse(path.read_text(encoding="utf-8"))):
                # Another text among them, and it is a table of something else: a command's arguments, a chart's words.
                if len(texts & free) >= 3 and texts <= free:
                    kept.append(f"{path.relative_to(REPOSITORY)}:{line}: {sorted(texts)}")
    # What a study refuses in its overrides is not what decides a result.
    assert [place for place in kept if not place.startswith("studies/config.py")] == []


def test_settings_are_dropped_at_any_depth_by_the_member_of_a_union_that_they_are_of():
    config = compose_config("train", TrainConfig, ["task=captioning", "clip.batch_size=7", "train.log_every=3"])
    settings = config.model_dump(mode="json")
    kept = drop_settings(TrainConfig, settings, Role.LOCATION, Role.REPORTING, Role.THROUGHPUT)
    assert set(settings) - set(kept) == {"output", "resume", "runs", "device", "embedding_cache"}
    assert set(settings["train"]) - set(kept["train"]) == {"log_every", "tensorboard"}
    assert set(settings["clip"]) - set(kept["clip"]) == {"batch_size"}
    assert kept["train"]["batch_size"] == settings["train"]["batch_size"]
    assert list(kept["adapter"]) == list(settings["adapter"])


@pytest.mark.parametrize("data", [FileData, HuggingFaceData])
def test_texts_that_name_files_are_found_at_any_depth(data):
    assert "path" in find_naming_fields(data, Names.FILE_OR_HUB)
    assert {"root", "weights", "statistics"} <= find_naming_fields(TrainConfig, Names.FILE)


@pytest.mark.parametrize(
    ("given", "counting"),
    [
        ({}, set()),
        (
            {"text_memory": "train"},
            {"text_memory", "text_memory_size", "text_memory_temperature", "text_memory_search"},
        ),
        ({"top_p": 0.9}, {"top_p", "temperature", "sampling_seed", "num_return"}),
        ({"rerank": True, "num_return": 5}, {"rerank", "rerank_encoder", "num_return"}),
    ],
)
def test_settings_count_only_with_those_that_they_are_of(given, counting):
    typed = [f"{name}={str(value).lower()}" for name, value in given.items()]
    config = compose_config("evaluate", EvaluateConfig, ["task=captioning", *typed])
    settings = drop_settings(EvaluateConfig, config.model_dump(mode="json"), Role.LOCATION, Role.REPORTING, Role.TEST)
    counted = drop_idle_settings(EvaluateConfig, settings)
    assert set(counted) - {"checkpoint", "num_beams", "batch_size", "decoding_precision"} == counting


def test_unknown_keys_stay():
    assert drop_settings(TrainConfig, {"unknown": {"output": 1}, "output": 2}, Role.LOCATION) == {
        "unknown": {"output": 1}
    }
