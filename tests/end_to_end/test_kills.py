"""Each kind of work is killed twenty times from another process, and ends as if it had not been.

A command is started, watched until its own progress has passed a seeded point, killed by SIGKILL a
seeded moment later, and started again just the same; after the last kill it runs to its end. What it
leaves is compared by SHA-256 with what an uninterrupted process left. Left out are the seconds spent,
paths, and the log of the language model's own library.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from close_transfer.data.picturebook.drawing import draw_scene
from close_transfer.data.picturebook.scenes import scenes
from tests.conftest import REPOSITORY, SMALL_MODEL

pytestmark = pytest.mark.slow

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


def encoding(folder: Path) -> None:
    path = captions(folder / "captions.txt", 2000)
    settings = [
        "data=file",
        f"data.path={path}",
        "embedding_cache.shard_rows=2",
        "train.max_steps=1",
        "resume=auto",
        *SETTINGS,
    ]

    def work(name: str) -> Work:
        def shards() -> list[Path]:
            return list((folder / name).rglob("shard-*.vectors.npy"))

        return Work(
            ["train_text_only.py", *settings, f"output={folder / name / 'run'}", f"runs={folder / name}"],
            progress=lambda: len(shards()),
            end=1000,
            writing=lambda: any(map(half_written, (folder / name / "embeddings").glob("*"))),
            environment={"CLOSE_TRANSFER_CACHE": str(folder / name)},
        )

    whole, killed = work("whole"), work("killed")
    whole.finish()
    killed.kill_often(seed=1)
    killed.finish()
    stores = [shas(folder / name / "embeddings") for name in ("whole", "killed")]
    assert len(stores[0]) > 2000
    assert stores[0] == stores[1]
    assert killed.in_write >= 3


def training(folder: Path) -> None:
    path = captions(folder / "captions.txt", 400)
    loop = ["train.max_steps=400", "train.num_validations=200", "train.max_val_examples=8", "noise=0.1"]
    settings = ["data=file", f"data.path={path}", *loop, "resume=auto", *SETTINGS, f"runs={folder}"]

    def work(name: str) -> Work:
        def step() -> int:
            try:
                return int((folder / name / "last").readlink().name.removeprefix("step-"))
            except FileNotFoundError:
                return -1 + (folder / name / "config.yaml").is_file()

        return Work(
            ["train_text_only.py", *settings, f"output={folder / name}"],
            progress=step,
            end=400,
            writing=lambda: half_written(folder / name / "checkpoints"),
            environment={"CLOSE_TRANSFER_CACHE": str(folder / "cache")},
        )

    whole, killed = work("whole"), work("killed")
    whole.finish()
    killed.kill(0, 0.05, in_write=False)  # there is a run, and no checkpoint yet
    killed.kill_often(seed=2)
    killed.finish()
    assert "was finished before" in killed.finish()
    kept = []
    for name in ("whole", "killed"):
        found = {which: shas(folder / name / which) for which in ("best", "last")}
        states = {which: json.loads((folder / name / which / "training_state.json").read_text()) for which in found}
        for which in found:
            del found[which]["training_state.json"], states[which]["seconds"]
        names = sorted(path.name for path in (folder / name / "checkpoints").iterdir())
        kept.append((found, states, names, (folder / name / "training.jsonl").read_text()))
    assert "model.safetensors" in kept[0][0]["best"]
    assert "optimizer.safetensors" in kept[0][0]["last"]
    assert kept[0] == kept[1]
    assert killed.in_write >= 3


BUILTIN_DATASET = ["data.num_train=60", "data.num_val=10", "data.num_test=800"]


def a_run(folder: Path) -> Path:
    """A small run on Picturebook, for evaluation and prediction."""
    loop = ["train.max_steps=30", "train.num_validations=1"]
    arguments = ["train_text_only.py", *BUILTIN_DATASET, *loop, *SETTINGS, f"output={folder / 'run'}", f"runs={folder}"]
    cache = {"CLOSE_TRANSFER_CACHE": str(folder / "cache")}
    Work(arguments, lambda: 0, 0, lambda: False, cache).finish()
    return folder / "run"


def evaluation(folder: Path, run: Path) -> None:
    settings = [f"run={run}", "batch_size=1", "num_beams=2", "num_bootstrap=20", "device=cpu"]

    def work(name: str) -> Work:
        return Work(
            ["eval_image.py", *settings, f"output={folder / name}"],
            progress=lambda: num_lines(folder / name / "predictions.jsonl.journal"),
            end=801,
            writes_all_along=False,
            writing=lambda: half_written(folder / name),
            environment={"CLOSE_TRANSFER_CACHE": str(folder / f"cache-{name}")},
        )

    whole, killed = work("whole"), work("killed")
    whole.finish()
    killed.kill_often(seed=3)
    killed.kill_at_the_end((0.1, 2.0))
    killed.finish()
    kept = []
    for name in ("whole", "killed"):
        files = {path.name: path.read_text() for path in (folder / name).iterdir()}
        told = json.loads(files.pop("results.json"))
        for path in ("output", "embedding_cache"):
            del told["config"]["eval"][path]
        page = files.pop("report.html").replace(f"cache-{name}", "").replace(str(folder / name), "")
        assert num_lines(folder / name / "predictions.jsonl") == 800
        kept.append((files, told, page))
    assert kept[0] == kept[1]
    embeddings = [shas(folder / f"cache-{name}" / "embeddings") for name in ("whole", "killed")]
    assert embeddings[0] == embeddings[1]


def prediction(folder: Path, run: Path) -> None:
    pictures = folder / "images"
    for number, scene in enumerate(scenes("test", 800)):
        path = pictures / f"{number % 7}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 50:
            draw_scene(scene, 48).save(path)
        else:
            path.write_bytes(b"no image")
    settings = [f"run={run}", f"images={pictures}", "batch_size=1", "num_return=2", "num_beams=3", "device=cpu"]

    def work(name: str) -> Work:
        output = folder / name / "answers.jsonl"
        return Work(
            ["predict.py", *settings, f"output={output}"],
            progress=lambda: num_lines(output.with_name("answers.jsonl.journal")),
            end=801,
            writes_all_along=False,
            writing=lambda: half_written(folder / name),
        )

    whole, killed = work("whole"), work("killed")
    whole.finish()
    killed.kill_often(seed=4)
    killed.kill_at_the_end(())
    killed.finish()
    left = shas(folder / "killed")
    assert left == shas(folder / "whole")
    assert set(left) == {"answers.jsonl", "answers.jsonl.unreadable.jsonl"}
    assert num_lines(folder / "whole" / "answers.jsonl") == 784
    assert num_lines(folder / "whole" / "answers.jsonl.unreadable.jsonl") == 16


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """The four kinds of work, two at a time."""
    folder = tmp_path_factory.mktemp("kills")
    run = a_run(folder)
    works = {
        "encoding": lambda: encoding(folder / "encoding"),
        "training": lambda: training(folder / "training"),
        "evaluation": lambda: evaluation(folder / "evaluation", run),
        "prediction": lambda: prediction(folder / "prediction", run),
    }
    for name in works:
        (folder / name).mkdir()
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(work) for name, work in works.items()}


@pytest.mark.parametrize("stage", ["encoding", "training", "evaluation", "prediction"])
def test_twenty_kills_change_nothing(stages, stage):
    stages[stage].result()
