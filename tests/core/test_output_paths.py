import os
import time

import pytest

from close_transfer.cli import compose_config
from close_transfer.config.train import TrainConfig
from close_transfer.core.atomic_files import atomic_path, write_text
from close_transfer.core.errors import UserError
from close_transfer.core.output_paths import is_standard_output
from tests.commands import run_command

PREDICT = ["images=photos", "run=nothing", "device=cpu"]


@pytest.fixture
def pipe(tmp_path):
    """Return a named pipe, which stands for a device: a test must not risk a real one."""
    path = tmp_path / "device"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("script", "settings"),
    [
        ("predict", PREDICT),
        ("draw_picturebook", ["columns=1", "rows=1"]),
        ("write_picturebook_text", ["data.num_train=2"]),
        ("eval_image", ["run=nothing"]),
        ("train_text_only", []),
        ("measure_gap", []),
        ("pretrain_lm", ["text=texts.txt"]),
        ("synthesize_captions", ["num_texts=2"]),
        ("export_grammar", []),
        ("sweep_noise", []),
    ],
)
def test_no_command_replaces_a_device(pipe, script, settings):
    ended = run_command(script, *settings, f"output={pipe}")
    assert ended.status == 2, ended.err
    assert f"output={pipe}: is a named pipe, not a f" in ended.err
    assert pipe.is_fifo()


def test_a_page_does_not_replace_a_device(tmp_path):
    os.mkfifo(tmp_path / "page.md")
    with pytest.raises(UserError, match=r"page\.md: is a named pipe, not a file\. Give the path of a file"):
        write_text(tmp_path / "page.md", "text")
    assert (tmp_path / "page.md").is_fifo()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("script", ["draw_picturebook", "measure_gap"])
def test_a_link_to_nothing_is_not_replaced(tmp_path, script):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    ended = run_command(script, f"output={link}")
    assert ended.status == 2
    assert f"output={link}: is a link to {tmp_path / 'gone'}, which does not exist. Remove the link" in ended.err
    assert link.is_symlink()


def test_a_link_to_a_folder_is_an_output_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert compose_config("train", TrainConfig, [f"output={tmp_path / 'link'}"]).output == str(tmp_path / "link")


def test_a_file_is_not_an_output_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: is a file, not a folder\. Give the path of a folder"):
        compose_config("train", TrainConfig, [f"output={tmp_path / 'file'}"])


def test_temporary_files_of_killed_writers_are_removed(tmp_path):
    old, young, other = (tmp_path / name for name in (".a.json.0a1b.tmp", ".a.json.2c3d.tmp", ".b.json.4e5f.tmp"))
    for path in (old, young, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    with atomic_path(tmp_path / "a.json") as temporary:
        temporary.write_text("{}")
    # The young one may belong to a process that is writing now, and the other one to another file.
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, other.name, "a.json"]


def test_a_minus_is_standard_output():
    assert [is_standard_output(output) for output in ("-", "/dev/stdout", "a-", "/dev/null")] == [
        True,
        True,
        False,
        False,
    ]
    ended = run_command("write_picturebook_text", "data.num_train=2", "output=-")
    assert ended.status == 0
    assert [line[:10] for line in ended.out.splitlines()] == ['{"group": '] * 10
