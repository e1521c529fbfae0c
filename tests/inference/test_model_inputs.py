"""What `TransferModel` takes and refuses, each in one sentence; and that nothing is taken for something else."""

import numpy as np
import pytest
from PIL import Image

from close_transfer import TransferModel
from close_transfer.cli import compose_config
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.predict import PredictConfig
from close_transfer.core.errors import UserError
from close_transfer.inference.model_inputs import check_embeddings
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.predict import predict_files

GRID = {"name": "beit", "dim": 4, "config": {"kind": "timm", "features": "grid"}}
POOLED = {"name": "clip", "dim": 4, "config": {"kind": "open_clip", "features": "pooled"}}


@pytest.fixture(scope="module")
def captioner(finished_runs):
    return TransferModel.from_pretrained(finished_runs / "captioning/latest", device="cpu")


@pytest.fixture(scope="module")
def answerer(finished_runs):
    return TransferModel.from_pretrained(finished_runs / "vqa/latest", device="cpu")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"embeddings": np.full((2, 128), np.nan)}, r"2 of 2 rows hold NaN or infinity.*first row 0"),
        ({"embeddings": np.full((1, 128), 1e300)}, r"1 of 1 rows hold NaN or infinity, as numbers of 32 bits"),
        (
            {"embeddings": np.eye(3, 128) * [[1], [0], [1]]},
            r"1 of 3 rows are zero, which has no direction, first row 1",
        ),
        ({"embeddings": np.ones(128)}, r"embeddings of shape \(128,\): .* gives \(rows, 128\)"),
        ({"embeddings": np.ones((2, 3, 128))}, r"embeddings of shape \(2, 3, 128\): .* gives \(rows, 128\)$"),
        ({"embeddings": np.empty((0, 128))}, "there is none; give at least one"),
        ({"embeddings": [["a"] * 128]}, "should be real numbers"),
        (
            {"embeddings": np.ones((1, 128)), "input_modality": "audio"},
            "input_modality=audio: allowed are image and text",
        ),
        (
            {"texts": ["a dog"], "input_modality": "image"},
            "input_modality=image: is of embeddings, and texts were given",
        ),
        ({"texts": "a dog"}, r"texts='a dog': is one of them; give a list, such as texts=\[\.\.\.\]"),
        ({"texts": ["a dog", 3]}, "texts hold 3 of type int"),
        ({"images": "photo.png"}, "images='photo.png': is one of them; give a list"),
        ({"images": 3}, "images of type int: give a list of them"),
        ({"images": [b"bytes"]}, "an image is of type bytes; give a path, a PIL.Image, or an array of uint8"),
        ({"images": [np.ones((4, 4, 3))]}, r"an image is an array of float64 of shape \(4, 4, 3\); give a path"),
        ({"images": [np.ones((4, 4), np.uint8)]}, r"an array of uint8 of shape \(4, 4\); give a path"),
        ({"texts": ["a"], "top_p": 0}, "top_p=0: should be above 0 and at most 1"),
        ({"texts": ["a"], "top_p": 1.5}, "top_p=1.5: should be above 0 and at most 1"),
        ({"texts": ["a"], "temperature": 0.5}, "temperature=0.5 is of sampling; give top_p too"),
        ({"texts": ["a"], "top_p": 0.9, "temperature": 0}, "temperature=0: should be a number above 0"),
        ({"texts": ["a"], "num_beams": 0}, "num_beams=0: should be a whole number from 1"),
        ({"texts": ["a"], "num_beams": 2.5}, "num_beams=2.5: should be a whole number from 1"),
        ({"texts": ["a"], "num_return": 0}, "num_return=0: should be a whole number from 1"),
        ({"texts": ["a"], "batch_size": 0}, "batch_size=0: should be a whole number from 1"),
        ({"texts": ["a"], "top_p": 0.9, "seed": -1}, "seed=-1: should be a whole number from 0"),
        ({"texts": ["a"], "prompt": "Why?"}, "prompt=Why.: task=captioning takes no prompt; leave it out"),
        ({"texts": ["a"], "prompt": 3}, "prompt=3: should be a text"),
    ],
)
def test_what_cannot_be_meant_is_refused(captioner, given, said):
    with pytest.raises(UserError, match=said):
        captioner.write(**given)


def test_grids_are_of_encoders_that_give_them():
    assert check_embeddings(np.ones((2, 9, 4)), GRID).shape == (2, 9, 4)
    with pytest.raises(UserError, match=r"\(2, 4\): beit gives \(rows, cells, 4\)"):
        check_embeddings(np.ones((2, 4)), GRID)
    assert check_embeddings(np.ones((2, 4)), POOLED).dtype == np.float32
    elsewhere = {"name": "precomputed", "dim": 4, "config": {"kind": "precomputed"}}
    assert check_embeddings(np.ones((2, 4)), elsewhere).ndim == 2
    assert check_embeddings(np.ones((2, 9, 4)), elsewhere).ndim == 3


def test_candidates_are_not_dropped_in_silence(captioner, answerer):
    picture = Image.new("RGB", (64, 64), "red")
    for use in (
        lambda: captioner.caption(picture, num_return=3),
        lambda: captioner.from_embedding(np.ones(128), num_return=3),
        lambda: answerer.answer(picture, "Where?", num_return=3),
    ):
        with pytest.raises(UserError, match=r"num_return=3: a single text is given back here; use write"):
            use()
    with pytest.raises(UserError, match=r"question='': should be a text"):
        answerer.answer(picture, "")


def test_arrays_are_pictures_alone_and_in_numbers(captioner):
    array = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    told = captioner.caption(Image.fromarray(array))
    assert captioner.caption(array) == told
    assert captioner.caption([array, array.copy()]) == captioner.caption(np.stack([array, array])) == [told, told]


@pytest.fixture(scope="module")
def centred(finished_runs):
    """A model whose adapter treats texts and images differently."""
    from close_transfer.models.adapters import AdapterChain, AdapterContext, Statistics

    model = TransferModel.from_pretrained(finished_runs / "captioning/latest", device="cpu")
    means = {"text_mean": np.eye(128)[0] * 0.9, "image_mean": -np.eye(128)[0] * 0.9}
    model.network.adapter = AdapterChain([{"name": "remove_mean"}], AdapterContext(128, 0.0, Statistics(means)))
    return model


def test_vectors_of_texts_are_treated_as_those_of_texts(centred):
    vector = centred.encoder.encode_texts(["a red dog in the snow"])
    (as_text,) = centred.write(texts=["a red dog in the snow"])
    (said,) = centred.write(embeddings=vector, input_modality="text")
    (unsaid,) = centred.write(embeddings=vector)
    assert said == as_text
    assert unsaid.scores != as_text.scores
    assert centred.from_embedding(vector[0], input_modality="text") == as_text.text


def test_predict_takes_vectors_of_texts(finished_runs):
    np.save("texts.npy", np.random.default_rng(0).standard_normal((2, 128)))
    run = [f"run={finished_runs}/captioning/latest", "device=cpu"]
    told = predict_files(compose_config("predict", PredictConfig, [*run, "embeddings=texts.npy", "scene=text"]))
    assert told.num_predictions == 2
    with pytest.raises(UserError, match="scene=text: is of embeddings=FILE, and images= are given"):
        compose_config("predict", PredictConfig, [*run, "images=x", "scene=text"])


def test_a_saved_model_has_no_checkpoints(captioner, tmp_path):
    captioner.save_pretrained(tmp_path / "saved")
    with pytest.raises(
        UserError, match=r"checkpoint=last: .*saved is no run but one saved model; leave checkpoint out"
    ):
        TransferModel.from_pretrained(tmp_path / "saved", device="cpu", checkpoint="last")
    with pytest.raises(UserError, match="checkpoint=first: allowed are best and last"):
        TransferModel.from_pretrained(tmp_path / "saved", device="cpu", checkpoint="first")


def test_predict_takes_a_saved_model_and_other_commands_say_what_it_is(finished_runs, tmp_path):
    model = TransferModel.from_pretrained(finished_runs / "vqa/latest", device="cpu")
    model.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved/.cache").mkdir()  # as the hub's client leaves one
    Image.new("RGB", (80, 60), "red").save("photo.png")
    asked = ["task=vqa", "prompt=Where?", "device=cpu", "images=photo.png"]

    def predicted(*settings):
        return predict_files(compose_config("predict", PredictConfig, [*asked, *settings])).first_lines

    assert predicted(f"run={tmp_path}/saved") == predicted(f"run={finished_runs}/vqa/latest")
    for settings, said in (
        (["checkpoint=last"], "checkpoint=last: run=.*saved is one saved model; leave checkpoint out"),
        (["text_memory=train"], "text_memory=train: the training texts are not with a saved model"),
        (["task=vqa-e"], "task=vqa-e: the model at .*saved was trained for task=vqa; give that task"),
    ):
        with pytest.raises(UserError, match=said):
            predicted(f"run={tmp_path}/saved", *settings)
    with pytest.raises(UserError, match=r"saved: is one saved model and no run.*predict.py and TransferModel"):
        evaluate(compose_config("evaluate", EvaluateConfig, [f"run={tmp_path}/saved", "task=vqa", "device=cpu"]))
