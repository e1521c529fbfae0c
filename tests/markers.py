"""Marks of tests, derived from the code that a test uses, so that none is forgotten.

A test is marked `train` if it trains and `subprocess` if it starts a process, itself or through a fixture or a helper.
`fuzz` and `kill` depend on the test's file.
"""

import subprocess
import types
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import pytest

import close_transfer.pipelines as pipelines

FOLDERS = {"tests/malformed/": "fuzz", "test_kills": "kill"}
TRAINING = tuple(
    f"{pipelines.__name__}.{name}"
    for name in ("train", "pretrain_lm", "train_captioner", "train_text_tower", "train_image_encoder")
)
TRAINING_SCRIPTS = (
    "train_text_only",
    "train_on_images",
    "pretrain_lm",
    "train_captioner",
    "train_text_tower",
    "train_image_encoder",
    "demo",
    "run_study",
    "sweep_noise",
)


def mark(items: list[pytest.Item]) -> None:
    """Add the marks of each test."""
    for item in items:
        marks = {name for part, name in FOLDERS.items() if part in item.nodeid}
        fixtures = [definitions[-1] for definitions in item._fixtureinfo.name2fixturedefs.values()]
        for function in (item.function, *(fixture.func for fixture in fixtures)):
            marks |= find_marks(function)
        for name in marks:
            item.add_marker(name)


def mostly_slow(cases: Iterable[Any], every: int = 4) -> list[Any]:
    """Return all cases, of which one in `every` runs by default and the others in `make test-slow`."""
    return [
        case
        if number % every == 0
        else pytest.param(*(case if isinstance(case, tuple) else [case]), marks=pytest.mark.slow)
        for number, case in enumerate(cases)
    ]


@cache
def find_marks(function: types.FunctionType) -> frozenset[str]:
    """Return the marks of a test or fixture, including those of the helpers that it calls."""
    marks, seen, waiting = set(), set(), [function]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for used in _find_used(current):
            module = getattr(used, "__module__", None) or ""
            if used is subprocess:
                marks.add("subprocess")
            elif module in TRAINING or (
                isinstance(used, str) and used.removesuffix(".py") in TRAINING + TRAINING_SCRIPTS
            ):
                marks.add("train")
            elif isinstance(used, types.FunctionType) and module.startswith("tests."):
                waiting.append(used)
            elif isinstance(used, type) and module.startswith("tests."):
                waiting.extend(method for method in vars(used).values() if isinstance(method, types.FunctionType))
    return frozenset(marks)


def _find_used(function: types.FunctionType) -> Iterator[object]:
    """Yield the objects that a function's code names in its module, and its string constants."""
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        for name in code.co_names:
            yield function.__globals__.get(name, name)  # the name itself if the function imports it
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                codes.append(constant)
            elif isinstance(constant, str | tuple):
                yield from constant if isinstance(constant, tuple) else [constant]
