"""The commands of the documents, typed as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def blocks(name):
    """Every shell block of a document."""
    return re.findall(r"```bash\n(.*?)```", (REPOSITORY / "docs" / name).read_text(), flags=re.DOTALL)


def typed(commands):
    """Runs a block in a shell, in this folder, with the scripts of the repository."""
    if not Path("scripts").exists():
        Path("scripts").symlink_to(REPOSITORY / "scripts")
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], env=os.environ | own, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, f"{commands}\n{ended.stderr[-2000:]}"
    return ended.stdout


@pytest.mark.slow
def test_a_task_without_code_as_documented():
    _, predicting, evaluating = map(typed, blocks("adding_a_task.md"))
    assert "photo.jpg:" in predicting
    assert "CIDEr" in evaluating
