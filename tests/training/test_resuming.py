"""Whatever a kill leaves of a run, the same command ends with the same weights."""

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from accelerate import Accelerator
from safetensors import SafetensorError

from close_transfer.core import new_folders
from close_transfer.core.atomic_files import WriteError
from close_transfer.core.errors import UserError
from close_transfer.pipelines import train as pipelines_train
from close_transfer.pipelines.console import describe_training
from close_transfer.pipelines.train import train
from close_transfer.training import run_folder, runs, step_runner
from close_transfer.training.run_folder import RunFolder
from tests.conftest import small_config
from tests.markers import mostly_slow

SETTINGS = ["train.num_validations=3", "lm.config.dropout_rate=0.1"]


class Killed(BaseException):
    pass


def run(*settings):
    return train(small_config(*SETTINGS, *settings), "text")


def left(folder):
    """Return the files that a run leaves, without its times, its settings and TensorBoard's events."""
    folder = Path(folder)
    names = sorted(path.name for path in folder.iterdir())
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and "tensorboard" not in name and path.name not in ("config.yaml", "training_state.json"):
            files[name] = path.read_bytes()
    state = json.loads((folder / "last" / "training_state.json").read_text())
    del state["seconds"], state["checksum"]
    links = [(folder / which).resolve().name for which in ("best", "last")]
    return names, files, state, links


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:  # the user's own cache may hold vectors that differ in the last digit
        patch.setenv("CLOSE_TRANSFER_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        run(f"output={folder / 'run'}")
    return left(folder / "run")


def dies(patched, name, call):
    """From the `call`-th time on that `run_folder` uses `name`, the process is dead."""
    real, calls = getattr(run_folder, name), []

    def counted(*args, **kwargs):
        calls.append(args)
        if len(calls) >= call:
            raise Killed
        return real(*args, **kwargs)

    patched.setattr(run_folder, name, counted)


# Three saves, each links "last" and perhaps "best", and the later ones remove what is not needed.
@pytest.mark.parametrize(
    ("name", "call"),
    mostly_slow(
        [
            ("save_file", 2),
            ("write_checked_json", 1),
            ("write_checked_json", 3),
            *(("replace_link", n) for n in range(1, 6)),
        ]
    ),
)
def test_a_kill_anywhere_in_a_save(whole, monkeypatch, name, call):
    with monkeypatch.context() as patched:
        dies(patched, name, call)
        with pytest.raises(Killed):
            run("output=run", "resume=auto")
    run("output=run", "resume=auto")
    assert left("run") == whole


def test_a_kill_while_an_old_checkpoint_is_removed(whole, monkeypatch):
    drop, dropped = run_folder.shutil.rmtree, []

    def half(path, **settings):
        if Path(path).exists():
            dropped.append(Path(path))
            next(Path(path).glob("model.safetensors")).unlink()
            raise Killed
        drop(path, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(run_folder.shutil, "rmtree", half)
        with pytest.raises(Killed):
            run("output=run", "resume=auto", "train.num_validations=6")
    assert dropped, "no checkpoint was ever removed"
    assert {path.name for path in Path("run/checkpoints").glob("step-*")} <= {
        "step-000001",
        "step-000002",
        "step-000003",
        "step-000004",
        "step-000005",
        "step-000006",
    }
    run("output=run", "resume=auto", "train.num_validations=6")
    run("output=other", "train.num_validations=6")
    assert left("run") == left("other")


def test_half_written_files_of_a_killed_save_are_removed(whole):
    run("output=run", "train.max_steps=6")
    shutil.copytree("run/last/", "run/checkpoints/.step-000009.tmp")
    Path("run/.training.jsonl.a1b2.tmp").write_text("half")
    Path("run/.last.4711.tmp").symlink_to("nowhere")
    run("output=run", "resume=auto")
    assert not list(Path("run").rglob("*.tmp"))
    assert left("run") == whole


@pytest.mark.parametrize("resume", ["auto", "latest", "killed"])
def test_a_kill_before_the_first_checkpoint_does_not_wedge(whole, monkeypatch, resume):
    with monkeypatch.context() as patched:
        patched.setattr(step_runner, "train_step", lambda *_, **__: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run("output=killed", "resume=auto")
    assert not RunFolder(Path("killed")).has_checkpoint
    with Path("killed/training.jsonl").open("a") as file:
        file.write('{"step": 1, "los')
    _, outcome = run("output=killed", f"resume={resume}")
    assert not outcome.stopped_early
    assert left("killed") == whole


def test_auto_starts_continues_and_says_when_nothing_is_left(whole):
    folder, outcome = run("output=run", "resume=auto")
    assert not outcome.was_finished
    assert left("run") == whole
    folder, outcome = run("output=run", "resume=auto")
    assert (outcome.was_finished, outcome.stopped_early, outcome.exit_status) == (True, False, 0)
    assert "this run finished before, after 6 steps" in describe_training(small_config(), folder, outcome, "x")
    assert left("run") == whole
    with pytest.raises(UserError, match="other settings"):
        run("output=run", "resume=auto", "seed=5")
    with pytest.raises(UserError, match="resume=auto needs the folder of the run to continue or start"):
        run("resume=auto")


def test_two_processes_never_train_in_one_folder():
    run("output=run")
    with RunFolder(Path("run")).lock(), pytest.raises(UserError, match="another process trains in"):
        run("output=run", "resume=auto")


def test_a_run_that_another_process_finished_in_the_meantime_is_not_overwritten(whole, monkeypatch):
    load = pipelines_train.load_training_data

    def load_slowly(*arguments):
        monkeypatch.setattr(pipelines_train, "load_training_data", load)
        run("output=run")
        return load(*arguments)

    monkeypatch.setattr(pipelines_train, "load_training_data", load_slowly)
    with pytest.raises(UserError, match=r"output=run holds a run already\. Give another folder, or continue"):
        run("output=run")
    assert left("run") == whole


def test_two_trainings_of_one_second_get_two_folders(monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls):
            return cls(2026, 11, 27, 12, 30, 15)

    monkeypatch.setattr(new_folders, "datetime", Clock)
    folders = [run("train.max_steps=1")[0] for _ in range(2)]
    assert [folder.name for folder in folders] == ["2026-11-27_12-30-15", "2026-11-27_12-30-15_2"]
    # Both looked for a free name before either had a folder.
    accelerator = Accelerator(cpu=True)
    both = [runs.reserve_folder(small_config(), Path("runs/vqa/now"), accelerator) for _ in range(2)]
    assert [folder.name for folder in both] == ["now", "now_2"]
    assert all(folder.is_dir() for folder in both)


@pytest.mark.parametrize("move", [lambda: shutil.copytree("run", "moved"), lambda: Path("run").rename("moved")])
def test_a_run_that_was_copied_or_moved_resumes(whole, move, monkeypatch):
    with monkeypatch.context() as patched:
        dies(patched, "replace_link", 3)  # after the first checkpoint
        with pytest.raises(Killed):
            run("output=run")
    move()
    assert Path("moved/last").is_dir()
    run("resume=moved")
    assert Path("moved/last").is_symlink()
    assert left("moved") == whole


def test_a_folder_instead_of_a_link_is_never_removed_if_it_holds_something_else():
    run("output=run")
    Path("run/best").unlink()
    Path("run/best").mkdir()
    Path("run/best/mine").touch()
    with pytest.raises(UserError, match=r"run/best: is a folder instead of a link.* Rename or remove it"):
        run("output=run", "resume=auto")
    assert Path("run/best/mine").is_file()
    Path("runs/captioning/latest").unlink()
    Path("runs/captioning/latest").mkdir()
    with pytest.raises(UserError, match="latest: is a folder instead of a link"):
        run("output=other")
    assert not Path("other/config.yaml").exists()


def test_without_an_optimiser_nothing_is_overwritten():
    run("output=run")
    for path in Path("run").rglob("optimizer.safetensors"):
        path.unlink()
    with pytest.raises(UserError, match=r"no checkpoint holds optimizer\.safetensors"):
        run("output=run", "resume=auto")
    assert RunFolder(Path("run")).find_checkpoint("best").is_dir()


def test_a_disk_that_fills_up_in_a_save_costs_nothing(whole, monkeypatch):
    save, calls = run_folder.save_file, []

    def fills_up(tensors, path):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save(tensors, path)

    with monkeypatch.context() as patched:
        patched.setattr(run_folder, "save_file", fills_up)
        with pytest.raises(WriteError) as caught:
            run("output=run")
    told = str(caught.value)
    assert "run/checkpoints/step-000004: could not be written (No space left on device; " in told
    assert "make room, then continue with the same settings and resume=run" in told
    assert not list(Path("run").rglob("*.tmp"))
    assert RunFolder(Path("run")).find_checkpoint("last").name == "step-000002"
    run("resume=run")
    assert left("run") == whole


def test_a_disk_that_fills_up_under_tensorboard_is_a_sentence(monkeypatch):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(self, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(RecordWriter, "write", full)
        patched.setattr("threading.excepthook", lambda failure: None)
        with pytest.raises(WriteError, match=r"tensorboard: could not be written \(No space left on device"):
            run("output=run")
    run("resume=run")
    assert RunFolder(Path("run")).find_checkpoint("last").name == "step-000006"
