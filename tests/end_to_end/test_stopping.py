"""Signals and full disks, as processes of their own meet them: one line, an exit status, nothing lost."""

import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import SMALL, SMALL_DATA
from tests.end_to_end.watched_work import Work, num_lines, shas

LONG = ["train.max_steps=4000", "train.epochs=400", "train.num_validations=40", "train.batch_size=8"]


def training(folder, *settings):
    def logged():
        return num_lines(Path(folder) / "training.jsonl")

    arguments = ["train_text_only.py", *SMALL, *settings, f"output={folder}", "resume=auto"]
    return Work(arguments, logged, 0, lambda: False)


def weights(folder):
    return (Path(folder) / "last" / "model.safetensors").read_bytes()


def stop(work, number, point):
    """Sends the signal once the progress is there; exit status and what was said."""
    process = work.start()
    while work.progress() < point and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    said, _ = process.communicate(timeout=100)
    assert "Traceback" not in said
    return process.returncode, said


@pytest.mark.slow
def test_sigterm_in_training_saves_and_tells_the_scheduler():
    status, said = stop(training("run", *LONG), signal.SIGTERM, point=5)
    assert status == 143
    assert "stopped and saved after step" in said
    assert (Path("run") / "last" / "optimizer.safetensors").is_file()


@pytest.mark.slow
def test_sigterm_anywhere_else_ends_at_once_and_loses_nothing():
    shards = Work(
        ["train_text_only.py", *SMALL, "data.num_train=3000", "embedding_cache.shard_rows=4", "output=run", "resume=auto"],
        lambda: len(list(Path("cache").rglob("shard-*.vectors.npy"))), 0, lambda: False,
        {"CLOSE_TRANSFER_CACHE": "cache"},
    )  # fmt: skip
    status, said = stop(shards, signal.SIGUSR1, point=20)
    assert (status, "stopped by SIGUSR1. Run the same command again to continue" in said) == (143, True)
    assert not list(Path("cache").rglob("*.tmp"))
    kept = len(list(Path("cache").rglob("shard-*.vectors.npy")))
    assert kept >= 20
    training("run", "embedding_cache.shard_rows=4").finish()

    def lines(name):
        return lambda: num_lines(Path(name))

    evaluation = Work(
        ["eval_image.py", "run=run", "num_bootstrap=20", "batch_size=1", "data=picturebook", "data.num_test=300", "output=e"],
        lines("e/predictions.jsonl.journal"), 0, lambda: False,
    )  # fmt: skip
    status, said = stop(evaluation, signal.SIGTERM, point=20)
    assert (status, "stopped by SIGTERM. Run the same command again to continue" in said) == (143, True)
    assert num_lines(Path("e/predictions.jsonl.journal")) >= 20
    evaluation.finish()
    left = {path.name for path in Path("e").iterdir()}
    assert left == {"official_results.json", "predictions.jsonl", "report.html", "results.json", "scores.jsonl"}


@pytest.mark.slow
def test_ctrl_c_ends_with_130():
    assert stop(training("run", *LONG), signal.SIGINT, point=5)[0] == 130


def limited(work, most):
    """The finished process, which may write no file larger than `most` bytes; status and what was said."""
    run = subprocess.run(
        work.command, env=os.environ | {"OMP_NUM_THREADS": "1"} | work.environment, text=True, capture_output=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )  # fmt: skip
    assert "Traceback" not in run.stdout + run.stderr
    errors = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    return run.returncode, errors


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_one_line_and_the_same_command_goes_on():
    training("whole").finish()
    work = training("run")
    status, (error,) = limited(work, 60_000)
    assert status == 2
    assert "run/checkpoints/step-000003: could not be written (File too large; " in error
    assert "it is a limit on the size of a file (ulimit -f)" in error
    assert "continue with the same settings and resume=run" in error
    assert not list(Path("run").rglob("*.tmp"))
    work.finish()
    assert weights("run") == weights("whole")
    work.environment["CLOSE_TRANSFER_CACHE"] = "elsewhere"
    work.arguments[-2] = "output=other"
    status, (error,) = limited(work, 60_000)
    assert status == 2
    assert "elsewhere/embeddings/" in error
    assert "then run the same command again" in error
    pictures = Work(
        ["predict.py", "run=run", "embeddings=v.npy", "batch_size=1", "output=o/p.jsonl", "device=cpu"],
        lambda: 0, 0, lambda: False,
    )  # fmt: skip
    import numpy as np

    np.save("v.npy", np.random.default_rng(0).standard_normal((40, 128), dtype=np.float32))
    status, (error,) = limited(pictures, 4000)
    assert status == 2
    assert "o/p.jsonl.journal: could not be written (File too large" in error
    assert 2 < num_lines(Path("o/p.jsonl.journal")) < 41
    assert "going" not in pictures.finish()
    resumed = shas(Path("o"))
    pictures.finish()
    assert shas(Path("o")) == resumed
    assert num_lines(Path("o/p.jsonl")) == 40


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte; skips where the tests may not mount one."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True)
    if made.returncode:
        pytest.skip("mounting a small file system takes root")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_goes_on(small_disk):
    training("whole", "train.num_validations=3").finish()
    work = training(small_disk / "run", "train.num_validations=3")
    (small_disk / "other").write_bytes(bytes(300_000))
    status, (error,) = limited(work, resource.RLIM_INFINITY)
    assert status == 2
    assert "step-000004: could not be written (No space left on device; 0." in error
    assert (small_disk / "run" / "last").readlink().name == "step-000002"
    assert not list((small_disk / "run").rglob("*.tmp"))
    status, (again,) = limited(work, resource.RLIM_INFINITY)
    assert (status, "No space left on device" in again) == (2, True)
    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    work.finish()
    assert weights(small_disk / "run") == weights("whole")


@pytest.mark.slow
def test_a_folder_below_a_file_is_a_sentence():
    Path("file").write_text("")
    status, (error,) = limited(training("file/run", *SMALL_DATA), resource.RLIM_INFINITY)
    assert status == 2
    assert "file/run" in error
    assert "choose a place that can be written to" in error
