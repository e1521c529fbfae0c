"""Facts about a task are in its class and its YAML file; no other code knows a task by name."""

import ast
import inspect

import pytest

from close_transfer.config.components import TaskConfig
from close_transfer.config.data import DATASETS
from close_transfer.core.command_line import options
from close_transfer.data.example_kinds import EXAMPLE_KINDS
from close_transfer.tasks import TASKS
from tests.conftest import REPOSITORY

PACKAGES = ("close_transfer", "textgen", "studies", "scripts", "benchmarks")
# Modules with names that some tasks share: datasets' names, and the name of a metric.
OTHER_NAMES = {
    "close_transfer/config/data.py": set(DATASETS),
    "close_transfer/data/sources/published.py": set(DATASETS),
    "close_transfer/config/components.py": {"vqa"},
}


def find_task_names(source: str, allowed: set[str]) -> list[tuple[int, str]]:
    """Return line and text of string constants that are names of tasks."""
    constants = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return [(node.lineno, node.value) for node in constants if node.value in set(TASKS) - allowed]


def test_a_name_is_found():
    assert find_task_names('if task in ("vqa", "x"):\n    y = name.startswith("captioning")', set()) == [
        (1, "vqa"),
        (2, "captioning"),
    ]


def test_no_task_is_known_by_name_outside_of_its_module():
    paths = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]
    names = {path: path.relative_to(REPOSITORY).as_posix() for path in paths}
    assert len(names) > 250
    found = [
        f"{name}:{line}: {task!r}"
        for path, name in names.items()
        if not name.startswith("close_transfer/tasks/")
        for line, task in find_task_names(path.read_text(encoding="utf-8"), OTHER_NAMES.get(name, set()))
    ]
    assert found == [], "put the fact into the task's class, or its YAML file"


def test_every_task_has_a_yaml_file_and_a_class():
    assert set(options("task")) == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_takes_the_settings_that_it_names(name):
    optional = {name for name, field in TaskConfig.model_fields.items() if not field.is_required()}
    assert set(TASKS[name].settings) == set(inspect.signature(TASKS[name]).parameters)
    assert set(TASKS[name].settings) <= optional


def test_datasets_and_tasks_meet_in_kinds():
    assert {kind for dataset in DATASETS.values() for kind in dataset.provides} == set(EXAMPLE_KINDS)
    assert {task.reads.name for task in TASKS.values()} == set(EXAMPLE_KINDS)
