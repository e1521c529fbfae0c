"""Images of datasets of Hugging Face: in the rows or in files, never decoded before they are needed."""

from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from pyarrow.parquet import ParquetFile

from close_transfer.core.errors import UserError
from close_transfer.data.sources import huggingface
from tests.data.sources.huggingface_folders import _own_cache, parquet, read, saved  # noqa: F401 (a fixture)
from tests.data.sources.made import data_config, picture, write


@pytest.mark.parametrize("make", [saved, parquet])
def test_images_are_those_of_the_rows(make):
    examples = read(make(), "image_column=image").examples
    assert [e.image.open().size for e in examples] == [(10, 10), (11, 10), (12, 10)]
    assert np.asarray(examples[0].image.open())[0, 0].tolist() == [255, 0, 0]
    assert len({e.image.digest() for e in examples}) == 3
    assert len({e.image.key for e in examples}) == 3


def test_images_of_an_image_folder_stay_files():
    picture("folder/train/one.png")
    write("folder/train/metadata.jsonl", '{"file_name": "one.png", "text": "A dog."}\n')
    (example,) = read("folder", "image_column=image").examples
    assert example.image.open().size == (40, 30)
    assert len(example.image.digest()) == 64


def test_training_on_text_opens_no_image(monkeypatch):
    saved()
    monkeypatch.setattr(datasets.Image, "decode_example", lambda *_: pytest.fail("an image was opened"))
    assert len(read("saved", "image_column=image").examples) == 3


def test_rows_of_one_image_are_one_scene():
    colours = ("red", "blue", "red", "red", "green")
    pictures = [Image.new("RGB", (9, 9), colour) for colour in colours]
    rows = {"text": [f"Caption {n}." for n in range(5)], "image": [*pictures[:4], None]}
    dataset = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    dataset.save_to_disk("flat")
    loaded = read("flat", "image_column=image", split="test")
    assert [e.references for e in loaded.examples] == [
        ("Caption 0.", "Caption 2.", "Caption 3."),
        ("Caption 1.",),
        ("Caption 4.",),
    ]
    assert loaded.notes[0].startswith("5 rows name 3 images: the rows of an image are one scene")
    assert [np.asarray(e.image.open())[0, 0].tolist() for e in loaded.examples[:2]] == [[255, 0, 0], [0, 0, 255]]
    for split in ("train", "val"):
        assert any("5 rows name 3 images" in note for note in read("flat", "image_column=image", split=split).notes)
    assert len(read("flat", "image_column=image", "group_column=text", split="test").examples) == 5


def test_images_in_files_are_compared_by_their_paths():
    rows = {"text": ["A dog.", "A cat.", "A hound."], "image": [f"pictures/{n}.png" for n in "aba"]}
    dataset = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    data = data_config("huggingface", "path=paths")
    assert huggingface._Images(dataset, "image", data, "test").find_first_rows() == [0, 1, 0]
    assert huggingface._Images(dataset.select([1, 0, 2]), "image", data, "test").find_first_rows() == [0, 1, 1]


def test_only_images_of_equal_length_are_read_to_compare_them(monkeypatch):
    saved()
    monkeypatch.setattr(huggingface._Images, "_read_content", lambda *_: pytest.fail("an image was read"))
    assert len(read("saved", "image_column=image").examples) == 3


def test_rows_without_an_image_are_refused_when_it_is_needed():
    rows = datasets.Dataset.from_dict({"text": ["A dog."], "image": [None]}).cast_column("image", datasets.Image())
    rows.save_to_disk("none")
    (example,) = read("none", "image_column=image").examples
    with pytest.raises(UserError, match=r"none, row 0: field 'image' holds no image"):
        example.image.digest()


def test_a_column_of_images_is_not_decoded_as_text(monkeypatch):
    saved()
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(
        UserError, match=r"data\.references_column=image: holds Image.*, not text\. Give a column of texts"
    ):
        read("saved", "references_column=image")


def test_columns_of_parquet_that_no_setting_names_are_not_read():
    file = Path(parquet()) / "train.parquet"
    content = bytearray(file.read_bytes())
    chunks = [ParquetFile(file).metadata.row_group(0).column(number) for number in range(5)]
    for chunk in chunks:
        if chunk.path_in_schema.startswith("image."):  # damaged, so that reading it fails
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    file.write_bytes(content)
    assert [e.texts for e in read("folder").examples] == [("A dog.",), ("A hound.",), ("A cat.",)]
    assert [e.id for e in read("folder", "text_column=te*", "group_column=name").examples] == ["a", "b"]
    with pytest.raises(UserError, match=r"has no such column\. Use one of text, scene, name, image"):
        read("folder", "text_column=caption")
    with pytest.raises(UserError, match=r"data\.path=folder \(split train\): cannot be loaded"):
        read("folder", "image_column=image")
