"""Test that follows docs/adding_a_task.md to the letter in a copy of the repository, and uses the task in every command."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, SMALL

PAGE = REPOSITORY / "docs" / "adding_a_task.md"
COPIED = ("close_transfer", "configs", "scripts", "textgen", "studies", "docs", "tests")


def read_steps(page: str) -> list[tuple[str, str, str]]:
    """Return each numbered step's file, the language of its block, and the block without its indentation."""
    steps = re.findall(r"^\d+\. [^`]*`([^`]+)`.*?^   ```(\w+)\n(.*?)^   ```$", page, flags=re.DOTALL | re.MULTILINE)
    return [(file, language, re.sub(r"^   ", "", block, flags=re.MULTILINE)) for file, language, block in steps]


def insert_lines(text: str, block: str) -> str:
    """Insert each line of the block that begins with + after the line before it in the block; return the new text."""
    lines = text.splitlines()
    before = ""
    for line in block.splitlines():
        if line.startswith("+"):
            assert lines.count(before) == 1, f"{before!r} should be exactly one line of the file"
            lines.insert(lines.index(before) + 1, line[1:])
        before = line[1:]
    return "\n".join(lines) + "\n"


def follow_page(page: str, repository: Path) -> list[str]:
    """Follow the steps, and return the files that they change."""
    steps = read_steps(page)
    for file, language, block in steps:
        path = repository / file
        if language == "diff":
            path.write_text(insert_lines(path.read_text(encoding="utf-8"), block), encoding="utf-8")
        else:
            assert not path.exists()
            path.write_text(block, encoding="utf-8")
    return [file for file, _, _ in steps]


# In one process, because PyTorch takes long to start; each step is a command as its script runs it.
COMMANDS = """
import importlib.util, json, sys
from pathlib import Path

import close_transfer
from close_transfer.cli import COMMANDS, compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.core.errors import UserError
from close_transfer.tasks.loading import load_task_examples

repository = Path(sys.argv[1])
assert Path(close_transfer.__file__).is_relative_to(repository)
small = json.loads(sys.argv[2])
evaluation = "runs/okvqa/latest/eval-test-image"


def execute(name, *arguments, **extra):
    command = COMMANDS[name]
    settings = compose_config(command.config_name, command.load_schema(), arguments)
    assert not command.load_main()(settings, **extra), name


execute("train", "task=okvqa", *small, input_modality="text")
execute("evaluate", "task=okvqa", "device=cpu", "num_bootstrap=20")
execute("draw_picturebook", "rows=1", "columns=1", "output=photo.jpg")
execute("predict", "task=okvqa", "images=photo.jpg", "device=cpu", "prompt=What is this animal known for?")
settings = compose_config("train", TrainConfig, ["task=okvqa", *small])
examples = load_task_examples(settings.task.name, settings.data, "test").examples
lines = [json.dumps({"id": example.id, "references": example.references}) + "\\n" for example in examples]
Path("references.jsonl").write_text("".join(lines))
execute("score_predictions", "task=okvqa", f"predictions={evaluation}/predictions.jsonl", "references=references.jsonl",
        "data_name=picturebook", "split=test", "name=again", "num_bootstrap=20", "output=scored")
data = [setting for setting in small if setting.startswith("data.")]
for baseline in ("nearest", "zero-shot"):
    execute("baseline", "task=okvqa", *data, f"baseline={baseline}", f"output={baseline}", "device=cpu", "num_bootstrap=20")
execute("compare_results", f"results=[{evaluation},scored,nearest,zero-shot]", "num_bootstrap=20")
execute("export_model", "task=okvqa", "output=exported")
execute("measure_gap", "task=okvqa", *data, "split=val", "device=cpu", "num_bootstrap=20", "output=gap")
try:
    compose_config("train", TrainConfig, ["task=okvqa", "+task.metric=text"])
except UserError as error:
    print("refused:", error)

path = repository / "tests/tasks/test_okvqa.py"
test = importlib.util.module_from_spec(specification := importlib.util.spec_from_file_location("test_okvqa", path))
specification.loader.exec_module(test)
tests = [value for name, value in vars(test).items() if name.startswith("test_")]
[test() for test in tests]
print("tests:", len(tests))
"""


def test_the_steps_of_a_page_are_read():
    page = "1. A class, `a.py`:\n\n   ```python\n   x = 1\n   if x:\n       y = 2\n   ```\n\n2. In `b.py`:\n\n   ```diff\n    one\n   +two\n   ```\n"
    assert read_steps(page) == [("a.py", "python", "x = 1\nif x:\n    y = 2\n"), ("b.py", "diff", " one\n+two\n")]
    assert insert_lines("zero\none\nthree\n", " one\n+two\n") == "zero\none\ntwo\nthree\n"


@pytest.mark.slow
def test_a_task_is_added_as_documented_and_serves_every_command(tmp_path):
    copy = tmp_path / "copy"
    for folder in COPIED:
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    touched = follow_page(PAGE.read_text(encoding="utf-8"), copy)
    assert touched == [
        "close_transfer/tasks/okvqa.py",
        "close_transfer/tasks/__init__.py",
        "configs/task/okvqa.yaml",
        "tests/tasks/test_okvqa.py",
    ]

    ended = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(copy), json.dumps(SMALL)],
        env=os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    printed = ended.stdout
    assert "photo.jpg:" in printed
    assert "refused: task.metric is a setting of task=custom; leave it out" in printed
    assert printed.endswith("tests: 1\n")

    results = json.loads(Path("runs/okvqa/latest/eval-test-image/results.json").read_text())
    again = json.loads(Path("scored/results.json").read_text())
    assert results["task"] == "okvqa"
    assert again["metrics"]["accuracy"] == pytest.approx(results["metrics"]["accuracy"])
    official = json.loads(Path("runs/okvqa/latest/eval-test-image/official_results.json").read_text())
    assert official[0].keys() == {"question_id", "answer"}
    report = Path("report.md").read_text()
    assert "okvqa on picturebook" in report
    assert all(name in report for name in ("again", "nearest training text", "zero-shot, the encoder alone"))
    card = Path("exported/README.md").read_text()
    assert "pipeline_tag: visual-question-answering" in card
    assert "This model answers questions about images that need knowledge of the world. It was trained" in card
    assert 'model.answer("photo.jpg", "What is this animal known for?")' in card
