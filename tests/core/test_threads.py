"""Threads that wait sleep, unless the user chose otherwise; commands set this before libraries load. Cores are counted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from close_transfer.core import threads
from close_transfer.core.threads import count_cores, let_waiting_threads_sleep
from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch):
    for name in threads._CHOICES:
        monkeypatch.setenv(name, "")  # restores the variable after the test
        monkeypatch.delenv(name)


def test_threads_sleep_after_a_short_spin():
    let_waiting_threads_sleep()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("passive", "4000")


@pytest.mark.parametrize("name", threads._CHOICES)
def test_the_choice_of_the_user_is_kept(name, monkeypatch):
    monkeypatch.setenv(name, "9")
    let_waiting_threads_sleep()
    assert {choice: os.environ[choice] for choice in threads._CHOICES if choice in os.environ} == {name: "9"}


@pytest.mark.parametrize("choice", ["", "active"])
def test_a_command_chooses_before_its_libraries_load(choice):
    Path("library.py").write_text("import os\nseen = os.environ['OMP_WAIT_POLICY']\ndef run():\n    print(seen)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), "."])}
    if choice:
        environment["OMP_WAIT_POLICY"] = choice
    code = "from close_transfer.core.startup import start; start('library')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{choice or 'passive'}\n", "")


def test_only_cores_that_the_process_may_use_count(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert count_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert count_cores() == 64
