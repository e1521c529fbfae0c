"""What several tests share: settings of a run that takes seconds, and finished runs."""

import hashlib
import os
from pathlib import Path

import pytest
from filelock import FileLock

from close_transfer.core.console import show_log

# Before any library reads them. Tests use no network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
# Models here are too small for two threads, which would wait for each other and for the other workers'.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

show_log()  # as every command does

REPOSITORY = Path(__file__).parent.parent

# A run of a few seconds: all parts real, few examples, a narrow language model.
SMALL_DATA = ["data.num_train=40", "data.num_val=10", "data.num_test=12", "data.num_test_novel=10"]
SMALL_MODEL = [
    "lm.vocab_size=400",
    "lm.config.d_model=32",
    "lm.config.d_kv=8",
    "lm.config.d_ff=64",
    "lm.config.num_heads=2",
]
SMALL_LOOP = ["train.max_steps=6", "train.batch_size=16", "train.num_validations=2", "train.log_every=1"]
SMALL = [*SMALL_DATA, *SMALL_MODEL, *SMALL_LOOP, "device=cpu"]


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items):
    from tests.markers import mark

    mark(items)


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """A folder that all workers of a session share: pytest gives each worker a folder below it."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(autouse=True)
def _own_folder(session_folder, tmp_path_factory, monkeypatch):
    """Every test works in an empty folder; vectors are shared by all tests of a session."""
    monkeypatch.setenv("CLOSE_TRANSFER_CACHE", str(session_folder / "cache"))
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


def small_config(*overrides: str):
    """The settings of `train_text_only.py` at test size."""
    from close_transfer.cli import compose_config
    from close_transfer.config.train import TrainConfig

    return compose_config("train", TrainConfig, [*SMALL, *overrides])


def die_at(monkeypatch, call):
    """The `call`-th batch is never answered."""
    from close_transfer.inference.decoding import Decoder

    predict_batch, calls = Decoder.predict_batch, []

    def counted(self, ids, *args):
        calls.append(tuple(ids))
        if len(calls) == call:
            raise KeyboardInterrupt
        return predict_batch(self, ids, *args)

    monkeypatch.setattr(Decoder, "predict_batch", counted)
    return calls


@pytest.fixture
def train_small():
    """Trains a small run in this process; gives its folder and outcome."""
    from close_transfer.pipelines.train import train

    def run(*overrides: str, input_modality: str = "text"):
        return train(small_config(*overrides), input_modality)

    return run


@pytest.fixture(scope="session")
def train_once(session_folder):
    """Trains a small run unless a test of any worker has trained it; gives its folder, which no test may change."""
    from close_transfer.pipelines.train import train

    def run(*overrides: str, input_modality: str = "text") -> Path:
        key = hashlib.sha256("\n".join([input_modality, *overrides]).encode()).hexdigest()[:16]
        folder = session_folder / "trained" / key / "run"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / "lock"), pytest.MonkeyPatch.context() as patch:
            if not (folder.parent / "finished").exists():
                patch.setenv("CLOSE_TRANSFER_CACHE", str(session_folder / "cache"))
                train(small_config(*overrides, f"output={folder}", f"runs={folder.parent}"), input_modality)
                (folder.parent / "finished").touch()
        return folder

    return run


@pytest.fixture(scope="session")
def finished_runs(session_folder):
    """A finished small run of every task, under one `runs` folder; trained once a session, and not changed."""
    from close_transfer.pipelines.train import train

    folder = session_folder / "finished"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"), pytest.MonkeyPatch.context() as patch:
        if not (folder / "finished").exists():
            patch.setenv("CLOSE_TRANSFER_CACHE", str(session_folder / "cache"))
            for task in ("captioning", "captioning-multi", "snli-ve", "vqa"):
                train(small_config(f"task={task}", f"runs={folder / 'runs'}"), "text")
            (folder / "finished").touch()
    return folder / "runs"
