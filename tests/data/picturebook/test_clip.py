import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest

from close_transfer.core.checksums import check_checksums
from close_transfer.core.errors import UserError
from close_transfer.data.picturebook.captions import captions
from close_transfer.data.picturebook.drawing import draw_scene
from close_transfer.data.picturebook.scenes import scenes
from close_transfer.encoders import OpenClipEncoder, open_clip_loading
from close_transfer.encoders.open_clip_loading import PICTUREBOOK_FOLDER
from close_transfer.metrics.retrieval import compute_paired_cosine, compute_recall_at_k, compute_unrelated_cosine
from close_transfer.models.open_clip_saving import CLIP_FILES
from tests.settings import make_encoder


@pytest.fixture(scope="module")
def vectors():
    """Unit vectors of pictures and first captions of 1,000 test scenes, by the shipped weights."""
    encoder = OpenClipEncoder(make_encoder(batch_size=250))
    chosen = scenes("test", 1000)
    images = encoder.encode_images([draw_scene(scene) for scene in chosen])
    texts = encoder.encode_texts([captions(scene)[0].text for scene in chosen])
    return tuple(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (images, texts))


@pytest.mark.parametrize("name", CLIP_FILES)
def test_a_damaged_file_is_noticed(name, monkeypatch):
    check_checksums(PICTUREBOOK_FOLDER, CLIP_FILES)
    clip = Path(shutil.copytree(PICTUREBOOK_FOLDER, "clip"))
    content = bytearray((clip / name).read_bytes())
    content[len(content) // 2] ^= 1
    (clip / name).write_bytes(content)
    monkeypatch.setattr(open_clip_loading, "PICTUREBOOK_FOLDER", clip)
    with pytest.raises(UserError, match=rf"{name}: is missing, or damaged"):
        OpenClipEncoder(make_encoder())


def test_it_is_small_and_open_clips_own():
    files = list(PICTUREBOOK_FOLDER.iterdir())
    assert sum(path.stat().st_size for path in files) <= 6 * 2**20
    assert {path.suffix for path in files} == {".json", ".safetensors", ".md"}
    model = open_clip.create_model(f"local-dir:{PICTUREBOOK_FOLDER}")
    assert isinstance(model, open_clip.CLIP)
    assert float(model.logit_scale.exp()) == pytest.approx(100, rel=0.01), "the temperature stayed at 0.01"


def test_pictures_and_captions_find_each_other(vectors):
    images, texts = vectors
    assert compute_recall_at_k(images, texts, 5) >= 0.7
    assert compute_recall_at_k(texts, images, 5) >= 0.7


def test_there_is_a_modality_gap_to_bridge(vectors):
    images, texts = vectors
    assert compute_paired_cosine(images, texts) < compute_unrelated_cosine(texts)
