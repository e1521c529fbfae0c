"""Facts about a dataset are in the class of its settings; other code asks the class and does not know which it is."""

import ast

import pytest

from close_transfer.config.data import DATASETS
from tests.conftest import REPOSITORY

CLASSES = {dataset.__name__ for dataset in DATASETS.values()}
# Where datasets are defined, and where they are read.
OWNERS = ("close_transfer/config/data.py", "close_transfer/data/sources/")


def find_class_checks(source: str) -> list[int]:
    """Return the lines that ask which class a dataset is of, by isinstance or a match."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        asks = isinstance(node, ast.MatchClass) or (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
        )
        if asks and CLASSES & {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}:
            lines.append(node.lineno)
    return lines


def test_a_check_is_found():
    assert find_class_checks("isinstance(data, (FileData, int))\nmatch data:\n    case Vqa2Data():\n        pass") == [
        1,
        3,
    ]


def test_no_code_asks_for_the_class_of_a_dataset():
    found = []
    for package in ("close_transfer", "studies", "scripts", "benchmarks"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = path.relative_to(REPOSITORY).as_posix()
            if not name.startswith(OWNERS):
                found += [f"{name}:{line}" for line in find_class_checks(path.read_text(encoding="utf-8"))]
    assert found == [], "add a fact to DatasetSettings, and ask for it"


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_answers_for_itself(name):
    dataset = DATASETS[name]
    assert dataset.provides
    assert dataset.is_published == (name not in ("picturebook", "file", "huggingface"))
