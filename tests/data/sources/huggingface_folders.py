"""Small folders of the `datasets` library, and their loading."""

import datasets
import pytest
from PIL import Image

from tests.data.sources.made import load, write

ROWS = {"text": ["A dog.", "A hound.", "A cat."], "scene": [1, 1, 2], "name": ["a", "a", "b"]}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True, raising=False)
    datasets.disable_progress_bars()


def with_pictures():
    colours = ("red", "green", "blue")
    rows = ROWS | {"image": [Image.new("RGB", (10 + n, 10), colour) for n, colour in enumerate(colours)]}
    return datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())


def read(path, *overrides, split="train"):
    return load("huggingface", "captioning", split, f"path={path}", *overrides)


def saved(path="saved"):
    datasets.DatasetDict({"train": with_pictures(), "validation": with_pictures().select([2])}).save_to_disk(path)
    return path


def parquet():
    with_pictures().to_parquet(write("folder/train.parquet", ""))
    return "folder"
