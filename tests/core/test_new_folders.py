"""Folders named by the time: one per job, also for jobs of the same second."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from close_transfer.core.atomic_files import WriteError
from close_transfer.core.composition import reserve_sweep_folder
from close_transfer.core.new_folders import create_new_folder
from tests.commands import run_command


def test_no_two_jobs_get_one_folder():
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(create_new_folder, [Path("runs/now")] * 8))
    assert sorted(path.name for path in created) == ["now", *(f"now_{number}" for number in range(2, 9))]
    assert all(path.is_dir() for path in created)


def test_a_folder_below_a_link_to_nothing_is_an_error():
    Path("runs").symlink_to("gone")
    with pytest.raises(WriteError, match="could not be written"):
        create_new_folder(Path("runs/now"))


@pytest.mark.slow
def test_two_sweeps_of_one_second_get_two_folders(monkeypatch):
    monkeypatch.setattr("close_transfer.core.composition.name_by_time", lambda folder: folder / "now")
    for num in (2, 3):
        ended = run_command("write_picturebook_text", "-m", f"data.num_train={num}", f"output={num}.jsonl")
        assert ended.status == 0, ended.err
    settings = [Path("multirun", name, "multirun.yaml").read_text() for name in ("now", "now_2")]
    assert ["data.num_train=2" in text for text in settings] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "num_reserved"),
    [
        (["--multirun"], 1),
        (["-m", "hydra.sweep.dir=own"], 0),
        (["-m", "++hydra.sweep.dir=own"], 0),
        (["--help", "-m"], 0),
        (["data.num_train=2"], 0),
    ],
)
def test_only_a_sweep_without_a_folder_gets_one(arguments, num_reserved):
    assert len(reserve_sweep_folder(arguments)) == num_reserved
