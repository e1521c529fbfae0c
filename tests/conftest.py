"""Shared fixtures: settings of a run that takes seconds, and finished runs."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from close_transfer.core.console import show_log

# Set before any library reads them, because tests use no network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
# The models are too small for two threads, which would wait for each other and for those of other workers.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

show_log()  # as every command does

REPOSITORY = Path(__file__).parent.parent

# Settings of a run of a few seconds: real parts, few examples, a narrow language model.
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


def pytest_configure(config):
    """Hide the GPU, from child processes too, unless the tests that need one are selected by `-m gpu`.

    Most tests compare bits, which hold on a CPU only. A test that forgets device=cpu would fail on a machine with a GPU
    alone, and its author may have none.
    """
    if config.option.markexpr.strip() != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # PyTorch reads it when it first asks for a device, after this


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items):
    from tests.markers import mark

    mark(items)


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """Return a folder that all workers of a session share: pytest gives each worker a folder below it."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(autouse=True)
def _own_folder(tmp_path_factory, monkeypatch):
    """Run every test in an empty folder; the tests of a worker share the cached vectors.

    Workers do not share them, because one that waits for another prints a note, and tests compare the output.
    """
    monkeypatch.setenv("CLOSE_TRANSFER_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


def small_config(*overrides: str):
    """Return settings of `train_text_only.py` at test size."""
    from close_transfer.cli import compose_config
    from close_transfer.config.train import TrainConfig

    return compose_config("train", TrainConfig, [*SMALL, *overrides])


def die_at(monkeypatch, call):
    """Interrupt the `call`-th call of `Decoder.answer`; return the list that collects the ids of each call."""
    from close_transfer.inference.decoding import Decoder

    predict_batch, calls = Decoder.predict_batch, []

    def counted(self, ids, *args):
        calls.append(tuple(ids))
        if len(calls) == call:
            raise KeyboardInterrupt
        return predict_batch(self, ids, *args)

    monkeypatch.setattr(Decoder, "predict_batch", counted)
    return calls


def act_before_steps(monkeypatch, act):
    """Call `act` before each step of training, with the number of steps done in this process and the model."""
    from close_transfer.training import step_runner

    step, calls = step_runner.train_step, []

    def acting(model, *args, **settings):
        calls.append(None)
        act(len(calls) - 1, model)
        return step(model, *args, **settings)

    monkeypatch.setattr(step_runner, "train_step", acting)


@pytest.fixture
def train_small():
    """Return a function that trains a small run in this process and returns its folder and outcome."""
    from close_transfer.pipelines.train import train

    def run(*overrides: str, input_modality: str = "text"):
        return train(small_config(*overrides), input_modality)

    return run


@pytest.fixture(scope="session")
def finished_runs(session_folder, tmp_path_factory):
    """Return the `runs` folder of small runs of every task, trained once per session; no test may change it."""
    from close_transfer.pipelines.train import train

    folder = session_folder / "finished"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"), pytest.MonkeyPatch.context() as patch:
        if not (folder / "finished").exists():
            patch.setenv("CLOSE_TRANSFER_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
            for task in ("captioning", "captioning-multi", "snli-ve", "vqa"):
                train(small_config(f"task={task}", f"runs={folder / 'runs'}"), "text")
            (folder / "finished").touch()
    return folder / "runs"
