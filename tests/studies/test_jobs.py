"""Jobs of studies: nothing is tested before its training is finished, nothing is mixed, nothing is done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from close_transfer.core.errors import UserError
from close_transfer.core.locks import locate_lock
from studies.jobs import Job, run_in_workers, run_job
from tests.conftest import REPOSITORY, SMALL, act_before_steps


def job(*settings, tests=("num_bootstrap=20", "device=cpu", "num_beams=1")):
    return Job(Path("out/run"), "text", ("task=captioning", "noise=0.1", *SMALL, *settings), {"test-image": tests})


def test_a_training_that_was_stopped_is_not_tested_and_goes_on(monkeypatch):
    steps = []

    def stop_after_three(number, _):
        steps.append(number)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    act_before_steps(monkeypatch, stop_after_three)
    with pytest.raises(UserError, match=r"out/run: training was stopped early\. Run the same command"):
        run_job(job())
    assert job().find_missing_tests() == ["test-image"]
    assert not Path("out/run/test-image").exists()
    run_job(job())
    assert len(steps) == 6  # the run's six steps, none of them twice
    assert job().find_missing_tests() == []
    assert json.loads(Path("out/run/test-image/results.json").read_text())["num_examples"] == 12


def test_results_of_other_settings_are_refused_and_named():
    run_job(job())
    with pytest.raises(UserError, match=r"other settings \(train\.log_every=2\)\. Give another output="):
        assert job("train.log_every=2").find_missing_tests()
    with pytest.raises(UserError, match=r"other settings \(num_beams=1, num_beams=2\)"):
        assert job(tests=("num_bootstrap=20", "device=cpu", "num_beams=2")).find_missing_tests()


def slowly(seconds):
    time.sleep(seconds)
    return seconds


@pytest.mark.slow
def test_results_come_with_the_position_of_their_arguments():
    assert sorted(run_in_workers(slowly, [(0.2,), (0.0,), (0.1,)], 2)) == [(0, 0.2), (1, 0.0), (2, 0.1)]


def start_sweep(**pipes):
    """Start a sweep of two endless trainings, and return it when both train."""
    settings = " ".join([*(one for one in SMALL if "max_steps" not in one), "train.epochs=100000"])
    command = [
        sys.executable, str(REPOSITORY / "scripts/sweep_noise.py"), "noises=[0.1]", "auto=[]", "seeds=2", "num_workers=2",
        "output=swept", f"train_overrides={settings}",
    ]  # fmt: skip
    sweep = subprocess.Popen(command, start_new_session=True, text=True, **pipes)
    deadline = time.monotonic() + 120
    while len(list(Path("swept").glob("*/training.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    return sweep


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_ends_soon_and_tests_nothing_unfinished(number):
    with start_sweep(stderr=subprocess.PIPE) as sweep:
        time.sleep(3)
        if number == signal.SIGTERM:
            sweep.send_signal(number)  # a scheduler's
        else:
            os.killpg(sweep.pid, number)  # a terminal's Ctrl-C
        _, said = sweep.communicate(timeout=60)
    assert sweep.returncode in (2, 130, 143), said
    assert "Traceback" not in said
    assert not list(Path("swept").glob("*/test-*"))


@pytest.mark.slow
def test_the_workers_of_a_killed_sweep_end_and_lock_no_run():
    with start_sweep() as sweep:
        sweep.kill()
    runs = [log.parent for log in Path("swept").glob("*/training.jsonl")]
    assert len(runs) == 2
    for folder in runs:
        with FileLock(locate_lock(folder), timeout=20):
            pass
