"""Imports of the package and its core."""

import pkgutil
import subprocess
import sys

import close_transfer.core
from tests.conftest import REPOSITORY

HEAVY = {"torch", "torchvision", "transformers", "open_clip", "timm", "peft", "accelerate", "datasets", "tokenizers"}


def test_package_and_core_load_no_ml_library():
    names = [module.name for module in pkgutil.walk_packages(close_transfer.core.__path__, "close_transfer.core.")]
    assert len(names) > 12
    code = (
        "import importlib, sys, close_transfer, close_transfer.cli\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert not HEAVY & set(loaded.stdout.split())
