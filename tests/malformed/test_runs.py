"""Tests of whole commands with damaged files of runs, of cached vectors and of evaluations.

A command must exit with status 2 and name the file, or encode the vectors again and say so. It never prints a traceback.
"""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.commands import run_command
from tests.conftest import SMALL_DATA, SMALL_LOOP, SMALL_MODEL
from tests.malformed.damage import DEEP, DIGITS, cut, flip
from tests.malformed.damage_commands import refused, train, vectors
from tests.markers import mostly_slow


def damaged(content, how):
    """Return the damaged content; `how` is "flip", "cut", the new content, or None to remove the file."""
    rng = np.random.default_rng([6, len(content)])
    return {"flip": flip, "cut": cut}[how](content, rng) if isinstance(how, str) else how


def damage(path, how):
    content = damaged(path.read_bytes(), how)
    path.unlink() if content is None else path.write_bytes(content)


OBJECTS = [b"", b"null", b"[1]", b"[" * DEEP, b"\0" * 99, '{"a": 1}'.encode("utf-16"), b"{}", b"\xff"]
SETTINGS_FILE = [
    *OBJECTS,
    b"noise: [",
    b"!!python/object/apply:os.system ['true']",
    f"seed: {DIGITS}".encode(),
    "cut",
    b"task: &a [*a]",
]
CHECKPOINT = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
LOADED = [
    *(("config.yaml", how) for how in SETTINGS_FILE), *(("facts.json", how) for how in [*OBJECTS, "cut", "flip", None]),
    *((f"best/{name}", how) for name in CHECKPOINT for how in ("flip", "cut", b"")), *(("best/checksums.json", how) for how in OBJECTS),
]  # fmt: skip
RESUMED = [
    *((name, how) for name in ("config.yaml", "facts.json") for how in OBJECTS), *((f"last/{name}", how) for name in CHECKPOINT for how in ("flip", "cut", None)),
    *(("last/training_state.json", how) for how in [*OBJECTS, "flip", None, b'{"step": 7, "best_step": 6, "best_loss": 1, "seconds": 1}']),
    *(("last/optimizer.safetensors", how) for how in ("flip", "cut", b"", None)),
]  # fmt: skip


def copied(finished_runs):
    """Copy the run of VQA, so that it can be resumed for two more steps; return the copy."""
    run = Path(shutil.copytree((finished_runs / "vqa" / "latest").resolve(), "run", symlinks=True))
    settings = run / "config.yaml"
    settings.write_text(settings.read_text().replace("max_steps: 6", "max_steps: 8"))
    return run


def evaluated(run, *settings):
    given = [f"run={run}", "task=vqa", "device=cpu", "num_beams=1", "scene=text", "max_examples=3", "num_bootstrap=2"]
    return run_command("eval_image", *given, *settings)


@pytest.mark.parametrize(("name", "how"), mostly_slow(LOADED, every=6), ids=range(len(LOADED)))
def test_damaged_runs_are_not_used(finished_runs, name, how):
    run = copied(finished_runs)
    damage(run / name, how)
    predicted = run_command(
        "predict", f"run={run}", "task=vqa", f"embeddings={vectors()}", "prompt=what?", "device=cpu"
    )
    assert refused(predicted, Path(name).name)
    assert refused(evaluated(run), Path(name).name)
    assert not Path("predictions.jsonl").exists()


@pytest.mark.parametrize(("name", "how"), mostly_slow(RESUMED, every=6), ids=range(len(RESUMED)))
def test_damaged_runs_are_not_resumed(finished_runs, name, how):
    run = copied(finished_runs)
    damage(run / name, how)
    resumed = [*SMALL_DATA, *SMALL_MODEL, *SMALL_LOOP, "train.max_steps=8", "device=cpu", f"resume={run}"]
    file = "no last checkpoint" if (name, how) == ("last/config.json", None) else Path(name).name
    assert refused(run_command("train_text_only", "task=vqa", *resumed), file)
    assert (run / "last").resolve().name == "step-000006"


STORED = [
    *(("manifest.json", how) for how in [*OBJECTS, "flip", "cut", None]),
    *((name, how) for name in ("*.vectors.npy", "*.keys.npy") for how in ("flip", "cut", b"", None)),
]


@pytest.mark.parametrize(("name", "how"), mostly_slow(STORED, every=6), ids=range(len(STORED)))
def test_damaged_vectors_are_encoded_again(name, how):
    settings = ["data.num_train=5", "data.num_val=2", "embedding_cache.folder=store"]
    _, _, facts = train(*settings, "output=first")
    file = sorted(Path("store").rglob(name))[-1]
    whole = file.read_bytes()
    damage(file, how)
    second, _, again = train(*settings, "output=second")
    assert not refused(second)
    assert re.search(r"note: .* in store/\S+ were incomplete or damaged; encoding [1-9]\d* texts", second.err)
    assert again == facts
    assert Path("first/training.jsonl").read_bytes() == Path("second/training.jsonl").read_bytes()
    assert file.read_bytes() == whole


@pytest.fixture(scope="module")
def evaluation(finished_runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated") / "first"
    assert not refused(evaluated((finished_runs / "vqa" / "latest").resolve(), f"output={folder}"))
    return folder


@pytest.mark.parametrize("how", mostly_slow([*OBJECTS, "cut", b"NaN", b"9" * 5000]), ids=range(11))
@pytest.mark.parametrize("name", ["results.json", "scores.jsonl", "predictions.jsonl"])
def test_damaged_evaluations_are_not_compared(finished_runs, evaluation, name, how):
    shutil.copytree(evaluation, "first")
    shutil.copytree(evaluation, "second")
    damage(Path("second", name), how)
    compared = run_command("compare_results", "results=[first,second]", "compare=[first,second]", "output=table")
    assert refused(compared, f"second/{name}") == (name != "predictions.jsonl")  # which it does not read
    if name != "scores.jsonl":
        beside = evaluated(copied(finished_runs), "compare=[second]", "output=third")
        assert refused(beside, f"second/{name}")
