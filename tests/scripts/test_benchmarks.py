"""Benchmarks: each can be started from the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))

# As Python starts a script: its own folder comes first, and the checkout is not on the path.
_LOAD = """
import runpy, sys
root, *names = sys.argv[1:]
sys.path = [f"{root}/benchmarks", *(path for path in sys.path if path not in ("", root))]
before = list(sys.path)
for name in names:
    runpy.run_path(f"{root}/{name}", run_name="loaded")
    sys.path = list(before)
    for module in [module for module in sys.modules if module.split(".")[0] == "tests"]:
        del sys.modules[module]
"""


@pytest.mark.slow
def test_every_benchmark_finds_what_it_imports():
    assert BENCHMARKS
    names = [str(path.relative_to(ROOT)) for path in BENCHMARKS]
    done = subprocess.run([sys.executable, "-c", _LOAD, str(ROOT), *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
