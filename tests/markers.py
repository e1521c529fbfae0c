"""Marks that follow from what a test uses, so that none is forgotten.

A test is marked `train` if it trains, `subprocess` if it starts a process, itself or through a fixture or a helper of
these tests; `fuzz` and `kill` follow from where it is.
"""

import subprocess
import types
from collections.abc import Iterator
from functools import cache

import pytest

import close_transfer.pipelines as pipelines

FOLDERS = {"tests/malformed/": "fuzz", "test_kills": "kill"}
TRAINING = (f"{pipelines.__name__}.train", f"{pipelines.__name__}.pretrain_lm")
TRAINING_SCRIPTS = ("train_text_only", "train_with_images", "pretrain_lm", "demo", "run_study", "sweep_noise")


def mark(items: list[pytest.Item]) -> None:
    """Mark each test with what it uses."""
    for item in items:
        found = {name for part, name in FOLDERS.items() if part in item.nodeid}
        definitions = [one[-1] for one in item._fixtureinfo.name2fixturedefs.values()]
        for function in (item.function, *(definition.func for definition in definitions)):
            found |= find_marks(function)
        for name in found:
            item.add_marker(name)


@cache
def find_marks(function: types.FunctionType) -> frozenset[str]:
    """Return the marks of a test or fixture, those of the helpers that it calls included."""
    found, seen, waiting = set(), set(), [function]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for used in _find_used(current):
            module = getattr(used, "__module__", None) or ""
            if used is subprocess:
                found.add("subprocess")
            elif module in TRAINING or (
                isinstance(used, str) and used.removesuffix(".py") in TRAINING + TRAINING_SCRIPTS
            ):
                found.add("train")
            elif isinstance(used, types.FunctionType) and module.startswith("tests."):
                waiting.append(used)
            elif isinstance(used, type) and module.startswith("tests."):
                waiting.extend(one for one in vars(used).values() if isinstance(one, types.FunctionType))
    return frozenset(found)


def _find_used(function: types.FunctionType) -> Iterator[object]:
    """Yield what the names in a function's code mean in its module, and its text constants."""
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        for name in code.co_names:
            yield function.__globals__.get(name, name)  # a module that is imported in the function is its name
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                codes.append(constant)
            elif isinstance(constant, str | tuple):
                yield from constant if isinstance(constant, tuple) else [constant]
