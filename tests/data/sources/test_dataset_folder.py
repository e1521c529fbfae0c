"""Dataset folders of others: nothing outside of the folder is read, and no code runs."""

import json
from pathlib import Path

import pytest

from close_transfer.core.errors import UserError
from tests.data.sources.made import write
from tests.data.sources.test_huggingface import _own_cache, read, saved  # noqa: F401 (a fixture)


def write_card(folder, entry):
    write(f"{folder}/README.md", f"---\nconfigs:\n- config_name: default\n  {entry}\n---\n")


@pytest.mark.parametrize("entry", [
    "data_files: ../secret.csv", "data_files: [{split: train, path: sub/../../secret.csv}]", "data_files: CWD/secret.csv",
])  # fmt: skip
def test_a_card_cannot_name_files_outside_its_folder(entry):
    write("secret.csv", "text\nA password.\nAnother.\n")
    write("folder/sub/train.csv", "text\nA dog.\nA cat.\n")
    write_card("folder", entry.replace("CWD", str(Path.cwd())))
    with pytest.raises(
        UserError, match=r"README\.md names .*secret\.csv, which is outside the dataset\. Remove it there"
    ):
        read("folder", "splits.val=null")
    write_card("folder", "data_files: sub/train.csv")
    assert [e.texts for e in read("folder", split="train").examples] == [("A dog.",), ("A cat.",)]


def test_parts_of_a_folder_may_be_links():
    write("elsewhere/data.csv", "text\nA dog.\nA cat.\n")
    write("folder/a.txt", "")
    Path("folder/a.txt").unlink()
    Path("folder/train.csv").symlink_to("../elsewhere/data.csv")
    assert [e.texts for e in read("folder").examples] == [("A dog.",), ("A cat.",)]


def test_a_saved_folder_cannot_name_files_outside_itself():
    saved("elsewhere")
    saved()
    state = json.loads(Path("saved/train/state.json").read_text())
    for name in ("../../elsewhere/train/data-00000-of-00001.arrow", str(Path("elsewhere/train/x.arrow").absolute())):
        write("saved/train/state.json", json.dumps(state | {"_data_files": [{"filename": name}]}))
        with pytest.raises(UserError, match=r"state\.json names .*elsewhere.* outside the dataset"):
            read("saved")
    write("saved/dataset_dict.json", json.dumps({"splits": ["../elsewhere/train"]}))
    with pytest.raises(UserError, match=r"dataset_dict\.json names .* outside the dataset"):
        read("saved")
    write("saved/dataset_dict.json", json.dumps({"splits": 3}))
    with pytest.raises(UserError, match=r"dataset_dict\.json: is damaged"):
        read("saved")


def test_python_of_a_dataset_does_not_run():
    write("folder/folder.py", "from pathlib import Path\nPath('ran').touch()\n")
    write("folder/train.csv", "text\nA dog.\nA cat.\n")
    with pytest.raises(UserError, match="Dataset scripts are no longer supported"):
        read("folder")
    assert not Path("ran").exists()


def test_readers_that_follow_links_inside_a_file_are_refused():
    write("folder/train.xml", "<a><text>A dog.</text></a>")
    with pytest.raises(
        UserError, match=r"need the library's reader xml; allowed are arrow, csv, .* Convert the dataset"
    ):
        read("folder")
