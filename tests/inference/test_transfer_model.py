"""`TransferModel` as users call it: load it, then write text for images or vectors."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from close_transfer import TransferModel
from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.core.errors import UserError
from close_transfer.pipelines.evaluate import evaluate
from tests.conftest import REPOSITORY
from tests.stand_in_hub import stand_in_hub


@pytest.fixture(scope="module")
def runs(finished_runs, tmp_path_factory):
    """Copies, because the tests evaluate into them."""
    folder = tmp_path_factory.mktemp("runs")
    for task in ("captioning", "vqa", "snli-ve"):
        shutil.copytree((finished_runs / task / "latest").resolve(), folder / task, symlinks=True)
    return folder


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


def test_images_are_captioned_from_paths_and_from_memory(runs, image):
    model = TransferModel.from_pretrained(runs / "captioning", device="cpu")
    caption = model.caption(image)
    assert isinstance(caption, str)
    assert model.caption([str(image), Image.open(image)]) == [caption, caption]


def test_questions_are_answered_and_sentences_judged(runs, image):
    answer = TransferModel.from_pretrained(runs / "vqa", device="cpu").answer(image, "How many dogs are there?")
    assert isinstance(answer, str)
    judge = TransferModel.from_pretrained(runs / "snli-ve", device="cpu")
    assert judge.judge(image, "A dog sleeps.") in judge.labels
    (found,) = judge.write([image], prompt="A dog sleeps.")
    assert len(found.label_scores) == 3


def test_embedding_gives_the_caption_of_its_image(runs, image):
    model = TransferModel.from_pretrained(runs / "captioning", device="cpu")
    vector = model.encoder.encode_images([Image.open(image).convert("RGB")])[0]
    assert model.from_embedding(vector) == model.caption(image)
    assert model.from_embedding(7 * vector) == model.caption(image)  # of any length
    (found,) = model.write(texts=["a dog"], num_beams=3, num_return=3)
    assert len(found.candidates) == 3


def test_saved_and_loaded_model_gives_the_same_answer(runs, image, tmp_path):
    model = TransferModel.from_pretrained(runs / "vqa", device="cpu", checkpoint="last")
    model.save_pretrained(tmp_path / "saved")
    again = TransferModel.from_pretrained(tmp_path / "saved", device="cpu")
    assert again.answer(image, "Where?", num_beams=1) == model.answer(image, "Where?", num_beams=1)


def test_mistakes_say_what_to_do(runs, image, monkeypatch):
    model = TransferModel.from_pretrained(runs / "captioning", device="cpu")
    with pytest.raises(UserError, match=r"trained for task=captioning and does not write answers"):
        model.answer(image, "Why?")
    with pytest.raises(
        UserError, match=r"embeddings of shape \(2, 3\) do not fit .*Give an array of shape \(rows, 128\)"
    ):
        model.write(embeddings=np.zeros((2, 3)))
    with pytest.raises(UserError, match=r"got none of its inputs\. Give exactly one of images, texts and embeddings"):
        model.write()
    with pytest.raises(UserError, match="num_return=3 is more than num_beams=2"):
        model.write([image], num_beams=2, num_return=3)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"nobody/nothing is not a folder here, and cannot be downloaded from the hub"):
        TransferModel.from_pretrained("nobody/nothing")


def test_card_states_training_data_and_scores(runs, tmp_path):
    settings = [f"run={runs}/captioning", "device=cpu", "num_bootstrap=5", "max_examples=8", "num_beams=1"]
    found = evaluate(compose_config("evaluate", EvaluateConfig, settings))
    model = TransferModel.from_pretrained(runs / "captioning", device="cpu")
    model.save_pretrained(tmp_path / "captioner", licence="apache-2.0")
    card = ModelCard.load(tmp_path / "captioner" / "README.md")
    assert card.data.license == "apache-2.0"
    assert {one.metric_type: one.metric_value for one in card.data.eval_results}["CIDEr"] == pytest.approx(
        found.scores.metrics["CIDEr"], abs=0.01
    )
    for told in (
        "captioning",
        "T0: text only; no image was seen in training",
        "0.1 per coordinate",
        "picturebook",
        "apache-2.0",
    ):
        assert told in card.text
    again = TransferModel.from_pretrained(tmp_path / "captioner", device="cpu")
    again.save_pretrained(tmp_path / "copy", name="captioner", licence="apache-2.0")
    assert (tmp_path / "copy/README.md").read_text() == (tmp_path / "captioner/README.md").read_text()
    again.save_pretrained(tmp_path / "free")
    assert "not chosen; the licences of the encoder" in (tmp_path / "free/README.md").read_text()


HUB = """
import sys
from close_transfer import TransferModel
from close_transfer.core.errors import UserError
run, name, image = sys.argv[1:]
try:
    print(TransferModel.from_pretrained(run, device="cpu").push_to_hub(name))
    print(*TransferModel.from_pretrained(name, device="cpu").write([image], prompt="A dog.")[0].label_scores)
except UserError as error:
    print(error)
"""


@pytest.mark.slow
def test_model_is_uploaded_to_the_hub_and_loaded_from_it(runs, image, tmp_path):
    def told(token):
        own = {
            "HF_ENDPOINT": hub.address,
            "HF_TOKEN": token,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",  # there is a hub here, on this machine
        }
        command = [sys.executable, "-c", HUB, runs / "snli-ve", "someone/judge", image]
        ended = subprocess.run(
            command, env=os.environ | own, capture_output=True, text=True, timeout=300, cwd=REPOSITORY
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.splitlines()

    with stand_in_hub("hf_secret") as hub:
        (refused,) = told("hf_wrong")
        assert refused.startswith("push_to_hub=someone/judge: the hub did not accept the model (Client error '401")
        address, scores = told("hf_secret")
    assert address == f"{hub.address}/someone/judge"
    assert hub.private["someone/judge"] is True
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(hub.repositories["someone/judge"])
    (here,) = TransferModel.from_pretrained(runs / "snli-ve", device="cpu").write([image], prompt="A dog.")
    assert [float(one) for one in scores.split()] == pytest.approx(here.label_scores, abs=1e-5)
    assert not [name for name, content in hub.repositories["someone/judge"].items() if b"hf_secret" in content]
