"""A command that is watched from outside and killed, and what it leaves."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, SMALL_MODEL

NUM_KILLS, PATIENCE = 20, 300  # the latter in seconds without the awaited progress, after which something hangs
WORDS = ["red", "blue", "green", "small", "large", "dog", "cat", "bird", "house", "tree", "car", "boat", "runs",
         "sits", "stands", "near", "under", "over", "two", "three"]  # fmt: skip


@dataclass
class Work:
    """One command, and how far it got.

    Attributes:
        arguments: script and settings; the same every time.
        progress: a number that grows, as seen from outside.
        end: the progress of the finished command.
        writing: whether a file or folder is half written at this moment.
        environment: variables of its own.
        writes_all_along: whether that is so again and again, and not only at the end.
        in_write: how many kills came while something was half written.
    """

    arguments: list[str]
    progress: Callable[[], int]
    end: int
    writing: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    writes_all_along: bool = True
    in_write: int = 0

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(REPOSITORY / "scripts" / self.arguments[0]), *self.arguments[1:]]

    def start(self) -> subprocess.Popen:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **self.environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(self.command, text=True, env=environment, **pipes)

    def finish(self) -> str:
        process = self.start()
        said, _ = process.communicate(timeout=4 * PATIENCE)
        assert process.returncode == 0, said
        return said

    def kill(self, point: int, delay: float, in_write: bool) -> None:
        """Starts it and kills it `delay` seconds after its progress reached `point`.

        With `in_write` the wait goes on until something is half written.
        """
        process = self.start()
        watched = {"reached": lambda: self.progress() >= point}
        if in_write:
            watched["writing"] = self.writing
        for what, seen in watched.items():
            deadline = time.monotonic() + PATIENCE
            while not seen():
                if process.poll() is not None:
                    said, _ = process.communicate()
                    pytest.fail(f"{self.arguments[0]} ended ({process.returncode}) before its kill:\n{said}")
                assert time.monotonic() < deadline, f"{self.arguments}: {what} {point} never came"
                time.sleep(0.001)
        if not in_write:
            time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"it had ended before its kill:\n{said}"
        assert "Traceback" not in said
        self.in_write += self.writing()

    def kill_often(self, seed: int) -> None:
        """Kills spread over its progress; two of five come while something is half written."""
        rng = random.Random(seed)
        for number in range(NUM_KILLS):
            planned = round(self.end * 0.9 * number / NUM_KILLS) + rng.randrange(3)
            in_write = self.writes_all_along and rng.random() < 0.4
            self.kill(max(planned, self.progress() + 1), rng.uniform(0, 0.3), in_write)

    def kill_at_the_end(self, delays: tuple[float, ...]) -> None:
        """Kills after the last progress: so many seconds later, and once while the output is written."""
        for delay in delays:
            self.kill(self.end, delay, in_write=False)
        self.kill(self.end, 0, in_write=True)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shas(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {path.relative_to(folder).as_posix(): sha(path) for path in folder.rglob("*") if path.is_file()}


def half_written(folder: Path) -> bool:
    return any(folder.glob(".*.tmp"))


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def captions(path: Path, count: int) -> Path:
    rng = random.Random(0)
    path.write_text("".join(f"{' '.join(rng.choices(WORDS, k=8))} {i}\n" for i in range(count)))
    return path


SETTINGS = [*SMALL_MODEL, "lm.config.dropout_rate=0.1", "train.batch_size=8", "train.log_every=1", "device=cpu"]
