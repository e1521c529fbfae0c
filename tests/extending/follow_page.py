"""Reader that follows a page of docs/extending/ to the letter, in a copy of the repository.

A page writes a sentence before each block that changes a file:

    New file `PATH`:
    In `PATH`, before the line `LINE`:
    In `PATH`, after the line `LINE`:
    In `PATH`, in place of the line `LINE`:

Classes and functions get two blank lines around them, because formatters remove those from the blocks of a page. The
shell blocks contain the commands that use the new part.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY, SMALL_DATA, SMALL_LOOP, SMALL_MODEL

COPIED = ("close_transfer", "configs", "scripts", "studies", "textgen")
CODE = (*(f"{name}/" for name in COPIED), "tests/")

_BLOCK = re.compile(r"^(?P<before>[^\n]*)\n\n?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_NEW_FILE = re.compile(r"New file `([^`]+)`:")
_EDIT = re.compile(r"In `([^`]+)`, (before|after|in place of) the line `([^`]+)`:")

# Settings that are added to a command, so that it takes seconds.
_SMALL = {
    "train_text_only": [*SMALL_MODEL, *SMALL_LOOP, "device=cpu"],
    "eval_image": ["device=cpu", "num_bootstrap=20"],
    "predict": ["device=cpu"],
    "measure_gap": ["device=cpu", "num_bootstrap=20"],
    "baseline": ["device=cpu", "num_bootstrap=20"],
    "score_predictions": ["device=cpu", "num_bootstrap=20"],
}


@dataclass(frozen=True)
class Change:
    """Block of a page: a new file if `line` is None, else lines to put before, after or in place of a line."""

    path: str
    text: str
    line: str | None = None
    where: str = ""


@dataclass(frozen=True)
class Page:
    """Changes and commands of a page."""

    changes: list[Change]
    commands: list[list[str]]

    @property
    def places(self) -> set[str]:
        """Return the files of the project that the page changes."""
        return {change.path for change in self.changes if change.path.startswith(CODE)}


def read_page(name: str) -> Page:
    """Read the changes and commands of a page of docs/extending/."""
    changes, commands = [], []
    for block in _BLOCK.finditer((REPOSITORY / "docs" / "extending" / name).read_text(encoding="utf-8")):
        before, text = block["before"], block["text"]
        if block["language"] == "bash":
            commands += [shlex.split(line) for line in text.splitlines()]
        elif new := _NEW_FILE.fullmatch(before):
            changes.append(Change(new[1], text))
        else:
            edit = _EDIT.fullmatch(before)
            assert edit, f"{name}: {before!r} does not give the place of the block below it"
            changes.append(Change(edit[1], text, edit[3], edit[2]))
    return Page(changes, commands)


def apply_change(change: Change, folder: Path) -> None:
    """Write a new file, or edit a file at the line that the page names."""
    path = folder / change.path
    if change.line is None:
        assert not path.exists(), f"{change.path} exists already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(change.text, encoding="utf-8")
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    numbers = [number for number, line in enumerate(lines) if line == f"{change.line}\n"]
    assert len(numbers) == 1, f"{change.path} has {len(numbers)} lines {change.line!r}"
    (number,) = numbers
    old, blank = lines[number], "\n\n" if change.text.startswith(("class ", "def ")) else ""
    lines[number] = {
        "before": change.text + blank + old,
        "after": old + blank + change.text,
        "in place of": change.text,
    }[change.where]
    path.write_text("".join(lines), encoding="utf-8")


def make_copy(page: Page, folder: Path) -> None:
    """Copy the repository into a folder, and make the changes of the page."""
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for change in page.changes:
        apply_change(change, folder)


def _shrink(script: str, arguments: Sequence[str]) -> list[str]:
    """Return the command at test size; a command that uses Picturebook, also by default, gets its sizes."""
    name = Path(script).stem
    data = [argument for argument in arguments if argument.startswith("data=")]
    is_picturebook = data == ["data=picturebook"] or (name == "train_text_only" and not data)
    return [script, *arguments, *_SMALL.get(name, []), *(SMALL_DATA if is_picturebook else [])]


def run_commands(commands: Sequence[Sequence[str]], folder: Path) -> list[str]:
    """Run commands at test size in one process of the copy; return the output of each."""
    assert all(python == "python" for python, *_ in commands)
    small = [_shrink(script, arguments) for _, script, *arguments in commands]
    (folder / "commands.json").write_text(json.dumps(small))
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run_in_one_process.py")), "commands.json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}"
    return json.loads((folder / "printed.json").read_text())


def check_style(page: Page, folder: Path) -> None:
    """Check the code of a page as `make check` does, except its types."""
    files = [change.path for change in page.changes if change.path.endswith(".py")]
    if not files:
        return
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    for command in (["check", "-q"], ["format", "-q", "--check"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *dict.fromkeys(files)], cwd=folder, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def run_tests(page: Page, folder: Path) -> None:
    """Run the test files of a page; each has to contain a test."""
    for path in (change.path for change in page.changes if change.path.startswith("tests/")):
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", path],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def follow(name: str, folder: Path, more_commands: Sequence[Sequence[str]] = ()) -> list[str]:
    """Follow a page, then run more commands; return the output of each command."""
    page = read_page(name)
    make_copy(page, folder)
    check_style(page, folder)
    run_tests(page, folder)
    return run_commands([*page.commands, *more_commands], folder)
