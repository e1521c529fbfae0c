"""The library as users call it: load, then pictures or vectors in, text out."""

import numpy as np
import pytest
from PIL import Image

from close_transfer import TransferModel
from close_transfer.assembly import train
from close_transfer.errors import UserError
from tests.conftest import small_config


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for task in ("captioning", "vqa", "snli-ve"):
        train(small_config(f"task={task}", "noise=0.1", f"output={folder / task}", f"runs={folder}/all"), "text")
    return folder


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def test_pictures_are_captioned_from_paths_and_from_memory(runs, picture):
    model = TransferModel.from_pretrained(runs / "captioning", device="cpu")
    caption = model.caption(picture)
    assert isinstance(caption, str)
    assert model.caption([str(picture), Image.open(picture)]) == [caption, caption]


def test_questions_are_answered_and_sentences_judged(runs, picture):
    answer = TransferModel.from_pretrained(runs / "vqa", device="cpu").answer(picture, "How many dogs are there?")
    assert isinstance(answer, str)
    judge = TransferModel.from_pretrained(runs / "snli-ve", device="cpu")
    assert judge.judge(picture, "A dog sleeps.") in judge.labels
    (found,) = judge.write([picture], prompt="A dog sleeps.")
    assert len(found.label_scores) == 3


def test_an_embedding_becomes_the_text_of_its_picture(runs, picture):
    model = TransferModel.from_pretrained(runs / "captioning", device="cpu")
    vector = model.encoder.encode_images([Image.open(picture).convert("RGB")])[0]
    assert model.from_embedding(vector) == model.caption(picture)
    assert model.from_embedding(7 * vector) == model.caption(picture)  # of any length
    (found,) = model.write(texts=["a dog"], num_beams=3, num_return=3)
    assert len(found.candidates) == 3


def test_saved_and_loaded_it_says_the_same(runs, picture, tmp_path):
    model = TransferModel.from_pretrained(runs / "vqa", device="cpu", checkpoint="last")
    model.save_pretrained(tmp_path / "saved")
    again = TransferModel.from_pretrained(tmp_path / "saved", device="cpu")
    assert again.answer(picture, "Where?", num_beams=1) == model.answer(picture, "Where?", num_beams=1)


def test_mistakes_say_what_to_do(runs, picture, monkeypatch):
    model = TransferModel.from_pretrained(runs / "captioning", device="cpu")
    with pytest.raises(UserError, match=r"trained for task=captioning and gives no answers"):
        model.answer(picture, "Why?")
    with pytest.raises(UserError, match=r"embeddings of shape \(2, 3\): .* gives \(rows, 128\)"):
        model.write(embeddings=np.zeros((2, 3)))
    with pytest.raises(UserError, match="give exactly one of pictures, texts and embeddings"):
        model.write()
    with pytest.raises(UserError, match="num_return=3 is more than num_beams=2"):
        model.write([picture], num_beams=2, num_return=3)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"nobody/nothing: is no folder here, and cannot be had from the hub"):
        TransferModel.from_pretrained("nobody/nothing")
