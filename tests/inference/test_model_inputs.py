"""Arguments of `TransferModel`: accepted types, and messages about mistakes."""

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
        ({"embeddings": np.full((1, 128), 1e300)}, r"1 of 1 rows hold NaN or infinity as float32"),
        (
            {"embeddings": np.eye(3, 128) * [[1], [0], [1]]},
            r"1 of 3 rows are zero and have no direction, first row 1\. Encode",
        ),
        (
            {"embeddings": np.ones(128)},
            r"embeddings of shape \(128,\) do not fit .* Give an array of shape \(rows, 128\)$",
        ),
        (
            {"embeddings": np.ones((2, 3, 128))},
            r"embeddings of shape \(2, 3, 128\) do not fit .* Give an array of shape \(rows, 128\)$",
        ),
        ({"embeddings": np.empty((0, 128))}, r"hold no vector\. Give at least one"),
        ({"embeddings": [["a"] * 128]}, "are not real numbers"),
        (
            {"embeddings": np.ones((1, 128)), "input_modality": "audio"},
            r"input_modality=audio is not a modality\. Give image or text",
        ),
        (
            {"texts": ["a dog"], "input_modality": "image"},
            "input_modality=image only applies to embeddings, and texts were given",
        ),
        ({"texts": "a dog"}, r"texts='a dog' is a single one\. Give a list, such as texts=\[\.\.\.\]"),
        ({"texts": ["a dog", 3]}, "texts holds 3 of type int"),
        ({"images": "photo.png"}, r"images='photo\.png' is a single one\. Give a list"),
        ({"images": 3}, r"images is of type int\. Give a list of images"),
        ({"images": [b"bytes"]}, r"an image is of type bytes\. Give a path, a PIL\.Image, or a uint8 array"),
        ({"images": [np.ones((4, 4, 3))]}, r"an image is an array of float64 of shape \(4, 4, 3\)\. Give a path"),
        ({"images": [np.ones((4, 4), np.uint8)]}, r"an array of uint8 of shape \(4, 4\)\. Give a path"),
        ({"texts": ["a"], "top_p": 0}, r"top_p=0 is out of range\. Give a number above 0 and at most 1"),
        ({"texts": ["a"], "top_p": 1.5}, r"top_p=1\.5 is out of range\. Give a number above 0 and at most 1"),
        ({"texts": ["a"], "temperature": 0.5}, r"temperature=0\.5 only applies to sampling\. Give top_p too"),
        ({"texts": ["a"], "top_p": 0.9, "temperature": 0}, r"temperature=0 is out of range\. Give a number above 0"),
        (
            {"texts": ["a"], "num_beams": 0},
            r"num_beams=0 is out of range or not a whole number\. Give a whole number from 1",
        ),
        (
            {"texts": ["a"], "num_beams": 2.5},
            r"num_beams=2.5 is out of range or not a whole number\. Give a whole number from 1",
        ),
        (
            {"texts": ["a"], "num_return": 0},
            r"num_return=0 is out of range or not a whole number\. Give a whole number from 1",
        ),
        (
            {"texts": ["a"], "batch_size": 0},
            r"batch_size=0 is out of range or not a whole number\. Give a whole number from 1",
        ),
        (
            {"texts": ["a"], "top_p": 0.9, "seed": -1},
            r"seed=-1 is out of range or not a whole number\. Give a whole number from 0",
        ),
        ({"texts": ["a"], "prompt": "Why?"}, r"prompt=Why.: task=captioning takes no prompt\. Leave it out"),
        ({"texts": ["a"], "prompt": 3}, r"prompt=3 is not a text\. Give a string"),
    ],
)
def test_wrong_arguments_are_refused(captioner, given, said):
    with pytest.raises(UserError, match=said):
        captioner.write(**given)


def test_grids_are_accepted_only_from_encoders_of_grids():
    assert check_embeddings(np.ones((2, 9, 4)), GRID).shape == (2, 9, 4)
    with pytest.raises(
        UserError, match=r"\(2, 4\) do not fit the model's encoder beit\. Give an array of shape \(rows, cells, 4\)"
    ):
        check_embeddings(np.ones((2, 4)), GRID)
    assert check_embeddings(np.ones((2, 4)), POOLED).dtype == np.float32
    elsewhere = {"name": "precomputed", "dim": 4, "config": {"kind": "precomputed"}}
    assert check_embeddings(np.ones((2, 4)), elsewhere).ndim == 2
    assert check_embeddings(np.ones((2, 9, 4)), elsewhere).ndim == 3


def test_several_candidates_are_refused_by_methods_that_return_one(captioner, answerer):
    image = Image.new("RGB", (64, 64), "red")
    for use in (
        lambda: captioner.caption(image, num_return=3),
        lambda: captioner.from_embedding(np.ones(128), num_return=3),
        lambda: answerer.answer(image, "Where?", num_return=3),
    ):
        with pytest.raises(UserError, match=r"num_return=3: this method returns a single text\. Use write"):
            use()
    with pytest.raises(UserError, match=r"question='' is empty or not a text\. Give question as a string"):
        answerer.answer(image, "")


def test_arrays_are_images_alone_and_stacked(captioner):
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


def test_text_vectors_pass_the_text_adapters(centred):
    vector = centred.encoder.encode_texts(["a red dog in the snow"])
    (as_text,) = centred.write(texts=["a red dog in the snow"])
    (said,) = centred.write(embeddings=vector, input_modality="text")
    (unsaid,) = centred.write(embeddings=vector)
    assert said == as_text
    assert unsaid.scores != as_text.scores
    assert centred.from_embedding(vector[0], input_modality="text") == as_text.text


def test_predict_accepts_text_vectors(finished_runs):
    np.save("texts.npy", np.random.default_rng(0).standard_normal((2, 128)))
    run = [f"run={finished_runs}/captioning/latest", "device=cpu"]
    told = predict_files(compose_config("predict", PredictConfig, [*run, "embeddings=texts.npy", "scene=text"]))
    assert told.num_predictions == 2
    with pytest.raises(UserError, match="scene=text: only applies with embeddings, but images are given"):
        compose_config("predict", PredictConfig, [*run, "images=x", "scene=text"])


def test_a_saved_model_has_no_checkpoints(captioner, tmp_path):
    captioner.save_pretrained(tmp_path / "saved")
    with pytest.raises(
        UserError, match=r"checkpoint=last only applies to a run, and .*saved is a saved model\. Leave checkpoint out"
    ):
        TransferModel.from_pretrained(tmp_path / "saved", device="cpu", checkpoint="last")
    with pytest.raises(UserError, match=r"checkpoint=first is not a checkpoint of a run\. Give best or last"):
        TransferModel.from_pretrained(tmp_path / "saved", device="cpu", checkpoint="first")


def test_predict_accepts_a_saved_model_and_evaluate_refuses_it(finished_runs, tmp_path):
    model = TransferModel.from_pretrained(finished_runs / "vqa/latest", device="cpu")
    model.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved/.cache").mkdir()  # as the hub's client leaves one
    Image.new("RGB", (80, 60), "red").save("photo.png")
    asked = ["task=vqa", "prompt=Where?", "device=cpu", "images=photo.png"]

    def predicted(*settings):
        return predict_files(compose_config("predict", PredictConfig, [*asked, *settings])).first_lines

    assert predicted(f"run={tmp_path}/saved") == predicted(f"run={finished_runs}/vqa/latest")
    for settings, said in (
        (["checkpoint=last"], "checkpoint=last: run=.*saved is one saved model. Leave checkpoint out"),
        (["text_memory=train"], "text_memory=train: a saved model does not hold its training texts"),
        (["task=vqa-e"], "task=vqa-e: the model at .*saved was trained for task=vqa. Give that task"),
    ):
        with pytest.raises(UserError, match=said):
            predicted(f"run={tmp_path}/saved", *settings)
    with pytest.raises(
        UserError, match=r"saved: is a saved model, which has no settings.*predict.py and TransferModel"
    ):
        evaluate(compose_config("evaluate", EvaluateConfig, [f"run={tmp_path}/saved", "task=vqa", "device=cpu"]))
