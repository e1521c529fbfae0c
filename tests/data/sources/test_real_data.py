"""The published files themselves, where CLOSE_TRANSFER_DATA says that they are; counts are those that the data's README gives."""

import os
from pathlib import Path

import numpy as np
import pytest

from close_transfer.core.errors import UserError
from close_transfer.encoders.precomputed import read_array
from tests.data.sources.made import load

DATA = os.environ.get("CLOSE_TRANSFER_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="CLOSE_TRANSFER_DATA is unset: it names the folder of the real data")


def real(choice, task, split, *overrides, **more):
    folder = {"coco-2017": "coco", "flickr30k-jsonl": "flickr30k", "snli-ve": "snli_ve"}.get(choice, choice)
    return load(choice, task, split, f"root={DATA}/{folder}", *overrides, **more)


def test_coco_val2017_has_5000_images_and_25014_captions():
    loaded = real("coco-2017", "captioning", "test")
    assert len(loaded.examples) == 5000
    assert sum(len(e.texts) for e in loaded.examples) == 25_014
    assert loaded.num_skipped == 0


@pytest.mark.parametrize(("split", "count"), [("train", 29_000), ("val", 1014), ("test", 1000)])
def test_flickr30k_has_five_captions_an_image(split, count):
    loaded = real("flickr30k-jsonl", "captioning", split)
    assert len(loaded.examples) == count
    assert {len(e.texts) for e in loaded.examples} == {5}
    assert loaded.num_skipped == 0


@pytest.mark.parametrize(
    ("choice", "split", "count"),
    [("snli", "val", 9842), ("snli", "test", 9824), ("snli-ve", "val", 13_977), ("snli-ve", "test", 14_186)],
)
def test_pairs_with_a_label(choice, split, count):
    loaded = real(choice, "snli-ve", split)
    assert len(loaded.examples) + loaded.skipped["pairs without a gold label (-)"] == count
    assert loaded.skipped.keys() <= {"pairs without a gold label (-)"}
    assert {e.category for e in loaded.examples} == {"entailment", "neutral", "contradiction"}
    assert all((e.image is not None) == (choice == "snli-ve") for e in loaded.examples)


VQA = [
    "files={train: v2_questions_train_subset.json, val: v2_questions_valid_subset.json}",
    "annotations={train: v2_annotations_train_subset.json, val: v2_annotations_valid_subset.json}",
    "captions={train: captions_val2017.json, val: captions_val2017.json}",
]


def vqa(split, *overrides, **more):
    return real("vqa2", "vqa", split, *VQA, f"captions_root={DATA}/coco", *overrides, **more)


@pytest.mark.parametrize(("split", "count"), [pytest.param("train", 48_061, marks=pytest.mark.slow), ("val", 8977)])
def test_vqa_questions_have_ten_answers(split, count):
    loaded = vqa(split, texts_needed=False)
    assert len(loaded.examples) == count
    assert loaded.num_skipped == 0
    assert {len(e.references) for e in loaded.examples} == {10}
    assert {e.category for e in loaded.examples} == {"yes/no", "number", "other"}


def test_vqa_scene_text_from_captions_of_other_images_is_refused_with_the_count():
    with pytest.raises(UserError, match=r"of the 48,061 questions|of 48,061 questions"):
        vqa("train")


def test_clip_vectors_belong_to_captions_line_by_line():
    folder = Path(DATA, "coco_clip_vit_b16")
    loaded = load(
        "file",
        "captioning",
        "test",
        f"path={folder}/captions.jsonl",
        "text_column=caption",
        "references_column=references",
    )
    assert [e.image.row for e in loaded.examples] == list(range(500))
    assert all(len(e.references) == 5 for e in loaded.examples)
    for name in ("image_embeddings", "caption_embeddings"):
        vectors = read_array(folder / f"{name}.npy", name)
        assert vectors.shape == (500, 512)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
