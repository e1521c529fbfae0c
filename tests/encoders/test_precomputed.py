import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import save_file

from close_transfer.cli import compose_config
from close_transfer.config.components import PrecomputedConfig
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.core.errors import UserError
from close_transfer.encoders.build import build_encoder
from close_transfer.encoders.precomputed import PrecomputedEncoder
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.train import train
from tests.conftest import small_config

TEXTS = ["a dog", "a cat", "a dog"]


def encoder(text=None, image=None, num_lines=3, texts=TEXTS):
    return PrecomputedEncoder(
        PrecomputedConfig(kind="precomputed", text_embeddings=text, image_embeddings=image), num_lines, texts
    )


@pytest.fixture
def matrix():
    return np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)


def test_rows_belong_to_lines(matrix):
    np.save("t.npy", matrix)
    np.testing.assert_array_equal(encoder("t.npy").text_matrix[encoder("t.npy").find_text_rows(["a cat"])], matrix[1:2])


def test_safetensors_and_npy_are_the_same(matrix):
    np.save("t.npy", matrix)
    save_file({"anything": matrix}, "t.safetensors")
    np.testing.assert_array_equal(encoder("t.npy").text_matrix, encoder("t.safetensors").text_matrix)


@pytest.mark.parametrize("metric", ["IndexFlatIP", "IndexFlatL2"])
def test_archives_and_flat_indices_hold_the_same_vectors(matrix, metric):
    faiss = pytest.importorskip("faiss")
    index = getattr(faiss, metric)(8)
    index.add(matrix)
    faiss.write_index(index, "t.index")
    np.savez_compressed("t.npz", vectors=matrix)
    np.savez("f.npz", np.asfortranarray(matrix))
    for name in ("t.index", "t.npz", "f.npz"):
        np.testing.assert_array_equal(encoder(name).text_matrix, matrix)
    lossy = faiss.index_factory(8, "SQ8")
    lossy.train(matrix)
    lossy.add(matrix)
    faiss.write_index(lossy, "lossy.faiss")
    with pytest.raises(
        UserError, match=r"lossy\.faiss: is not a flat faiss index .* Give the vectors that it was made of"
    ):
        encoder("lossy.faiss")
    whole = Path("t.index").read_bytes()
    for place in (*range(4, 45), len(whole) - 1):
        for content in (whole[:place], whole[:place] + b"\xff\xff\xff" + whole[place + 3 :]):
            Path("bad.index").write_bytes(content)
            try:
                assert encoder("bad.index").text_matrix.shape == (3, 8)
            except UserError as error:
                assert "bad.index" in str(error)


def test_hostile_archives_are_sentences(matrix):
    np.savez("two.npz", a=matrix, b=matrix)
    np.savez("objects.npz", np.array([{"a": 1}], dtype=object))
    np.savez_compressed("bomb.npz", np.zeros((2**18, 100), dtype=np.float32))
    with zipfile.ZipFile("huge.npz", "w") as archive, archive.open("a.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**20)}
        np.lib.format.write_array_header_1_0(file, header)
    Path("text.npz").write_bytes(b"PK no archive")
    for name, reason in {
        "two.npz": r"holds 2 arrays \('a', 'b'\)", "objects.npz": "holds Python objects", "bomb.npz": "unpacks to more than 100",
        "huge.npz": "is damaged .*its header describes", "text.npz": "the file is damaged or has another format",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=name.replace(".", r"\.") + ".*" + reason):
            encoder(name)


def test_mistakes_name_both_numbers(matrix):
    np.save("t.npy", matrix)
    np.save("wide.npy", np.zeros((3, 9), dtype=np.float32))
    bad = matrix.copy()
    bad[1, 2] = np.nan
    np.save("bad.npy", bad)
    np.save("flat.npy", np.zeros(3, dtype=np.float32))
    np.save("int.npy", np.zeros((3, 8), dtype=np.int64))
    save_file({"a": matrix, "b": matrix}, "two.safetensors")
    with open("torn.npy", "wb") as file, open("t.npy", "rb") as whole:
        file.write(whole.read()[:-9])
    with pytest.raises(UserError, match=r"t\.npy holds 3 rows, but the data file has 5 lines"):
        encoder("t.npy", num_lines=5, texts=[*TEXTS, "x", "y"])
    with pytest.raises(UserError, match=r"are 8 wide and clip\.image_embeddings 9"):
        encoder("t.npy", "wide.npy")
    with pytest.raises(UserError, match=r"bad\.npy: 1 of rows 0 to 2 hold NaN or infinity, first row 1"):
        encoder("bad.npy")
    with pytest.raises(UserError, match=r"float32 of shape \(3,\)"):
        encoder("flat.npy")
    with pytest.raises(UserError, match="holds int64"):
        encoder("int.npy")
    with pytest.raises(UserError, match=r"holds 2 tensors \('a', 'b'\)"):
        encoder("two.safetensors")
    with pytest.raises(UserError, match=r"torn\.npy: the file is damaged"):
        encoder("torn.npy")
    with pytest.raises(UserError, match="no such file"):
        encoder("nowhere.npy")
    with pytest.raises(
        UserError, match=r"Give a file of one of the formats \.npy, \.npz, \.safetensors, \.faiss, \.index"
    ):
        open("t.csv", "w").close()
        encoder("t.csv")
    with pytest.raises(UserError, match=r"Give clip\.text_embeddings=FILE for training"):
        encoder()
    with pytest.raises(UserError, match=r"image vectors are needed here\. Give clip\.image_embeddings"):
        _ = encoder("t.npy").image_matrix


def test_trains_on_text_vectors_and_tests_on_image_vectors():
    rng = np.random.default_rng(0)
    things = ["dog", "cat", "horse", "boat"]
    lines = [{"text": f"a {things[i % 4]} number {i}", "scene": i // 2} for i in range(24)]
    with open("train.jsonl", "w") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    np.save("train.npy", rng.normal(size=(24, 16)).astype(np.float32))
    np.save("images.npy", rng.normal(size=(24, 16)).astype(np.float32))
    data = ["data=file", "data.path=train.jsonl", "data.group_column=scene"]
    config = [o for o in small_overrides() if not o.startswith("data.")]
    folder, _ = train(compose_train([*config, *data, "clip=precomputed", "clip.text_embeddings=train.npy"]), "text")
    settings = [f"run={folder}", *data, "clip=precomputed", "clip.image_embeddings=images.npy", "num_bootstrap=20"]
    evaluation = evaluate(compose_config("evaluate", EvaluateConfig, settings))
    assert len(evaluation.predictions) == 12
    with pytest.raises(UserError, match=r"clip=precomputed: .* data=picturebook is not one\. Use data=file"):
        train(small_config("clip=precomputed", "clip.text_embeddings=train.npy"), "text")


def test_rows_that_are_left_out_keep_the_others_with_their_vectors():
    """clip-retrieval writes Parquet metadata, with null if an image has no caption, next to one vector per row."""
    captions = ["a dog", None, "a cat", "", "a dog", "a horse"]
    parquet.write_table(pa.table({"image_path": [f"{n}.jpg" for n in range(6)], "caption": captions}), "meta.parquet")
    vectors = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    np.save("text.npy", vectors)
    settings = ["data=file", "data.path=meta.parquet", "data.text_column=caption", "clip=precomputed"]
    config = compose_train([*settings, "clip.text_embeddings=text.npy", "data.on_bad_rows=skip"])
    built = build_encoder(config.clip, config.data, "cpu", texts_needed=True)
    rows = built.find_text_rows(["a horse", "a cat", "a dog"])
    np.testing.assert_array_equal(built.text_matrix[rows], vectors[[5, 2, 0]])
    with pytest.raises(UserError, match=r"line 2: field 'caption' .*\n.*line 4: .*\n.*data\.on_bad_rows=skip"):
        config = compose_train([*settings, "clip.text_embeddings=text.npy"])
        build_encoder(config.clip, config.data, "cpu", texts_needed=True)


def small_overrides():
    from tests.conftest import SMALL

    return SMALL


def compose_train(overrides):
    from close_transfer.config.train import TrainConfig

    return compose_config("train", TrainConfig, overrides)
