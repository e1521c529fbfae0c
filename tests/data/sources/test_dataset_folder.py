"""Dataset folders of others: nothing outside of the folder is read, and no code runs."""

import json
import lzma
import zipfile
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from close_transfer.core.errors import UserError
from close_transfer.core.readers import open_file
from close_transfer.data.sources import dataset_folder
from close_transfer.data.sources.dataset_folder import find_image
from close_transfer.data.sources.images import explain_missing
from tests.data.sources.huggingface_folders import _own_cache, read, saved  # noqa: F401 (a fixture)
from tests.data.sources.made import json_lines, picture, write


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


IMAGE_COLUMN = (
    "---\ndataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: text\n    dtype: string\n---\n"
)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("name", [
    "../secret.png", "sub/../../secret.png", "CWD/secret.png", "file://CWD/secret.png", "https://127.0.0.1:1/secret.png",
    "zip://a.png::CWD/secret.zip",
])  # fmt: skip
def test_metadata_cannot_name_images_outside_their_folder(form, name):
    picture("secret.png")
    picture("folder/train/a.png")
    name = name.replace("CWD", str(Path.cwd()))
    rows = [{"file_name": "a.png", "text": "A dog."}, {"file_name": name, "text": "A cat."}]
    lines = "".join(f"{row['file_name']},{row['text']}\n" for row in rows)
    write(f"folder/train/metadata.{form}", json_lines(rows) if form == "jsonl" else f"file_name,text\n{lines}")
    with pytest.raises(UserError, match=r"secret\.(png|zip)"):
        read("folder", "image_column=image").examples[1].image.open()


@pytest.mark.parametrize("name", ["../secret.png", "secret.png", "CWD/secret.png", "folder/../secret.png"])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rows_cannot_name_images_outside_their_folder(form, name):
    picture("secret.png")
    picture("folder/a.png", "blue")
    name = name.replace("CWD", str(Path.cwd()))
    if form == "jsonl":
        rows = [{"image": name, "text": "A dog."}, {"image": "folder/a.png", "text": "A cat."}]
        write("folder/train.jsonl", json_lines(rows))
        write("folder/README.md", IMAGE_COLUMN)
    else:
        features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
        images = [{"bytes": None, "path": name}, {"bytes": None, "path": "folder/a.png"}]
        table = pa.Table.from_pydict({"image": images, "text": ["A dog.", "A cat."]}, features.arrow_schema)
        parquet.write_table(table, "folder/train.parquet")
    Path("folder/a.png").rename("a.png")  # or it would be an image folder
    outside, inside = (example.image for example in read("folder", "image_column=image").examples)
    Path("a.png").rename("folder/a.png")
    for use in (outside.open, outside.digest):
        with pytest.raises(UserError, match=r"a row names the image .*secret\.png, which is outside the dataset\. Put"):
            use()
    assert inside.open().getpixel((0, 0)) == (0, 0, 255)
    assert explain_missing(outside) != ""


def test_images_in_an_archive():
    picture("a.png", "blue")
    with zipfile.ZipFile(write("folder/train.zip", ""), "w") as archive:
        archive.write("a.png")
        archive.writestr("metadata.jsonl", json_lines([{"file_name": "a.png", "text": "A dog."}]))
    (example,) = read("folder", "image_column=image").examples
    assert example.image.open().getpixel((0, 0)) == (0, 0, 255)
    assert explain_missing(example.image) == ""


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_archives_of_images_are_sentences(method):
    picture("a.png")
    with zipfile.ZipFile(write("folder/images.zip", ""), "w", method) as archive:
        archive.write("a.png")
    good = Path("folder/images.zip").read_bytes()
    assert find_image("zip://a.png::folder/images.zip", "folder") == Path("a.png").read_bytes()
    num_refused = 0
    for place in range(0, len(good), 3):
        write("folder/images.zip", good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        try:
            content = find_image("zip://a.png::folder/images.zip", "folder")
        except UserError:
            num_refused += 1
        else:
            assert content == Path("a.png").read_bytes()
    assert num_refused > len(good) // 6


def test_images_in_an_archive_unpack_to_a_limit(monkeypatch):
    monkeypatch.setattr(open_file, "_MIN_UNPACK_LIMIT", 2**20)
    with zipfile.ZipFile(write("folder/images.zip", ""), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(2**22))
    with pytest.raises(UserError, match=r"^folder/images\.zip: unpacks to more than 100 times its size"):
        find_image("zip://a.png::folder/images.zip", "folder")


def test_an_archive_with_several_named_members_is_checked_once(monkeypatch):
    with zipfile.ZipFile(write("folder/all.zip", ""), "w") as archive:
        for name in "ab":
            archive.writestr(f"{name}.csv", "text\nA dog.\n")
    write(
        "folder/README.md",
        f"---\nconfigs:\n- config_name: default\n  data_files: zip://*.csv::{Path.cwd()}/folder/all.zip\n---\n",
    )
    builder = datasets.load_dataset_builder("folder")
    assert len(builder.config.data_files["train"]) == 2
    checked = []
    monkeypatch.setattr(dataset_folder, "check_packed_file", checked.append)
    dataset_folder.check_sizes(builder, None)
    assert [path.name for path in checked] == ["all.zip"]


def test_files_of_a_folder_unpack_to_a_limit(monkeypatch):
    monkeypatch.setattr(open_file, "_MIN_UNPACK_LIMIT", 2**20)
    write("folder/train.csv.xz", lzma.compress(b"text\n" + b"a dog runs\n" * 200_000))
    with pytest.raises(UserError, match=r"train\.csv\.xz: unpacks to more than 100 times its size"):
        read("folder")


def test_images_in_parquet_unpack_to_a_limit():
    image = pa.array([bytes(range(256)) * 4096])
    images = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), 200), image)
    columns = [pa.StructArray.from_arrays([images], ["bytes"]), pa.array(["A dog."] * 200)]
    table = pa.Table.from_arrays(columns, ["image", "text"])
    parquet.write_table(table, write("folder/train.parquet", ""), dictionary_pagesize_limit=2**30)
    with pytest.raises(UserError, match=r"train\.parquet: unpacks to more than 100 times its size"):
        read("folder", "image_column=image")
    assert len(read("folder").examples) == 200  # the images are not read
