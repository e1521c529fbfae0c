"""Each kind of work is killed twenty times from another process, and ends as if it had not been.

A command is started, watched until its own progress has passed a seeded point, killed by SIGKILL a
seeded moment later, and started again just the same; after the last kill it runs to its end. What it
leaves is compared by SHA-256 with what an uninterrupted process left. Left out are the seconds spent,
paths, and the log of the language model's own library.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from close_transfer.data.picturebook.drawing import draw_scene
from close_transfer.data.picturebook.scenes import scenes
from tests.end_to_end.watched_work import SETTINGS, Work, captions, half_written, num_lines, shas

pytestmark = pytest.mark.slow


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
    assert "this run finished before" in killed.finish()
    kept = []
    for name in ("whole", "killed"):
        found = {which: shas(folder / name / which) for which in ("best", "last")}
        states = {which: json.loads((folder / name / which / "training_state.json").read_text()) for which in found}
        for which in found:
            del found[which]["training_state.json"], states[which]["seconds"], states[which]["checksum"]
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
