"""Tests with damaged saved models: refused in a sentence at once, or with the same predictions; and the rights of saved files."""

import json
import os
import re
import shutil
import stat
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from close_transfer import TransferModel
from close_transfer.core.atomic_files import atomic_path
from close_transfer.core.checksums import check_checksums, write_checksums
from close_transfer.core.errors import UserError
from close_transfer.encoders.weight_files import limit_parameters
from tests.commands import run_command
from tests.families import tiny_family
from tests.malformed.test_hostile_models import TEXTS, change, load_in_textgen, load_lm

VECTORS = np.random.default_rng(5).standard_normal((4, 128)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(finished_runs, tmp_path_factory):
    """Return a saved model that no test may change."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    TransferModel.from_pretrained(finished_runs / "captioning" / "latest", "cpu").save_pretrained(folder)
    return folder


def copy(exported, checksums=False):
    folder = Path(shutil.copytree(exported, "model"))
    if not checksums:  # as in a folder that somebody else made
        (folder / "checksums.json").unlink()
    return folder


def refuse(folder, reason):
    start = time.monotonic()
    with pytest.raises(UserError, match=reason):
        TransferModel.from_pretrained(folder, "cpu")
    assert time.monotonic() - start < 5  # a model of a million layers would take minutes to build


def set_part(folder, part, **values):
    config = json.loads((folder / "config.json").read_text())
    config[part] |= values
    (folder / "config.json").write_text(json.dumps(config))


def predict(folder):
    return TransferModel.from_pretrained(folder, "cpu").write(embeddings=VECTORS)


def flip_bit(path, rng):
    content = bytearray(path.read_bytes())
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(content))


def test_files_are_checked_before_loading(exported):
    listed = json.loads((exported / "checksums.json").read_text())
    assert set(listed) == {path.name for path in exported.iterdir()} - {"checksums.json", "README.md"}
    assert listed["config.json"]["size"] == (exported / "config.json").stat().st_size
    folder = copy(exported, checksums=True)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refuse(folder, r"model\.safetensors: is missing, or damaged \(its size or SHA-256")
    (folder / "model.safetensors").unlink()
    refuse(folder, r"model\.safetensors: is missing")
    ended = run_command("predict", f"run={folder}", "images=x", "task=captioning")
    assert (ended.status, "Traceback" in ended.err) == (2, False)
    assert "model.safetensors: is missing" in ended.err


def test_unchanged_model_predicts_the_same_and_a_missing_list_is_noted(exported, caplog):
    before = predict(exported)
    assert not [record for record in caplog.records if "checksums" in record.getMessage()]
    assert predict(copy(exported)) == before
    assert [record for record in caplog.records if "has no checksums.json" in record.getMessage()]


@pytest.mark.parametrize(
    "content", ["", "[]", "null", '{"config.json": "0"}', '{"../x": {"size": 1, "sha256": ""}}', "{}"]
)
def test_damaged_list_of_checksums(exported, content):
    folder = copy(exported)
    (folder / "checksums.json").write_text(content)
    refuse(folder, r"checksums\.json: is damaged")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_flipped_bit_is_refused_or_has_no_effect(exported, seed):
    rng = np.random.default_rng([17, seed])
    folder = copy(exported, checksums=True)
    flip_bit(sorted(folder.iterdir())[seed % len(list(folder.iterdir()))], rng)
    try:
        predictions = predict(folder)
    except UserError:
        return
    assert predictions == predict(exported)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_flipped_bit_without_checksums_is_no_traceback(exported, seed):
    rng = np.random.default_rng([18, seed])
    folder = copy(exported)
    flip_bit(folder / ("config.json", "tokenizer.json", "tokenizer_config.json", "about.json")[seed % 4], rng)
    try:
        TransferModel.from_pretrained(folder, "cpu")
    except UserError:
        return


@pytest.mark.parametrize(
    ("part", "values", "reason"),
    [
        ("lm", {"num_layers": 10**6}, r"config\.json: describes a larger model than its weights"),
        ("lm", {"num_decoder_layers": 10**6}, r"config\.json: describes a larger model than its weights"),
        ("lm", {"d_model": 10**6}, "but config.json describes"),
        ("lm", {"vocab_size": 10**12}, "but config.json describes"),
        ("lm", {"vocab_size": 10**30}, r"config\.json: is damaged"),
        ("lm", {"d_model": "32"}, r"config\.json: is damaged"),
        ("lm", {"num_labels": 10**9}, "num_labels=1000000000 is too large"),
        ("lm", {"model_type": "other"}, r"config\.json: is damaged"),
        ("mapper", {"num_tokens": 10**9}, "but config.json describes"),
        ("mapper", {"name": "other"}, r"config\.json: is damaged"),
        ("encoder", {"dim": 10**9}, "but config.json describes"),
        ("task", {"num_beams": -3}, "task.num_beams"),
        ("task", {"labels": ["x"], "language": "x" * 9}, "the settings of this model's task"),
        ("text_format", {"before": [10**6]}, "text_format.before"),
    ],
)
def test_config_that_does_not_fit_the_weights(exported, part, values, reason):
    folder = copy(exported)
    set_part(folder, part, **values)
    refuse(folder, reason)


def halve(tensors):
    return dict(list(tensors.items())[::2])


def add(tensors):
    return {**tensors, "more": torch.zeros(3)}


def to_integers(tensors):
    return {name: tensor.int() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change_tensors", "reason"),
    [(halve, r"it lacks \d+ tensors"), (add, "holds the tensor more"), (to_integers, "numbers of type I32")],
)
def test_weights_with_other_tensors(exported, change_tensors, reason):
    folder = copy(exported)
    weights = folder / "model.safetensors"
    save_file(change_tensors(load_file(weights)), weights, metadata={"format": "pt"})
    refuse(folder, rf"model\.safetensors: is damaged \(.*{reason}")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff" * 99])
def test_damaged_files(exported, name, content):
    folder = copy(exported)
    (folder / name).write_bytes(content)
    refuse(folder, rf"{re.escape(name)}: is damaged")


def test_weights_that_a_checkpoint_of_lora_lacks(tmp_path):
    tiny_family("gpt2", Path("lm"), TEXTS)
    change(Path("lm/config.json"), n_layer=10**6)
    with pytest.raises(UserError, match="describes a larger model than its weights"):
        load_lm("lm")
    change(Path("lm/config.json"), n_layer=3)
    with pytest.raises(UserError, match=r"its weights lack \d+ tensors"):
        load_lm("lm")


def test_language_model_with_a_damaged_file():
    tiny_family("gpt2", Path("lm"), TEXTS)
    write_checksums(Path("lm"), [path.name for path in Path("lm").iterdir()])
    load_lm("lm")
    flip_bit(Path("lm/model.safetensors"), np.random.default_rng(0))
    with pytest.raises(UserError, match="is missing, or damaged"):
        load_lm("lm")


def put_into_cache(monkeypatch):
    """Write a language model into an empty cache of the hub, as a download does, and return its folder there."""
    cache, commit = Path("cache").absolute(), "a" * 40
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    repository = cache / "models--someone--lm"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    tiny_family("gpt2", repository / "snapshots" / commit, TEXTS)
    return repository / "snapshots" / commit


@pytest.mark.parametrize("load", [load_lm, load_in_textgen])
def test_language_model_of_the_hub_larger_than_its_weights(load, monkeypatch):
    folder = put_into_cache(monkeypatch)
    (folder / "adapter_model.safetensors").write_bytes(b"not counted")
    load("someone/lm")
    change(folder / "config.json", n_layer=10**6)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"someone/lm/config\.json: describes a larger model .* hold 28 tensors"):
        load("someone/lm")
    assert time.monotonic() - start < 5
    change(folder / "config.json", n_layer=2, attn_implementation="someone/attention")
    with pytest.raises(UserError, match=r"attn_implementation=someone/attention: needs Python code of others"):
        load("someone/lm")


def test_weights_of_the_hub_are_counted_after_their_download():
    counts = iter([1, 500])  # part of the weights was in the cache, from an interrupted download
    with limit_parameters(lambda: next(counts), "config.json"):
        torch.nn.Sequential(*[torch.nn.Linear(1, 1) for _ in range(100)])
    counts = iter([None, 1])
    with pytest.raises(UserError, match="which hold 1 tensors"), limit_parameters(lambda: next(counts), "config.json"):
        torch.nn.Sequential(*[torch.nn.Linear(1, 1) for _ in range(100)])


OTHER_SIZES = [
    (
        {"n_layer": 10**6},
        r"lm/config\.json: describes a larger model than its weights, which hold 28 tensors\. Restore",
    ),
    ({"n_layer": 1}, r"describes fewer layers than its weights hold, for example transformer\.h\.1\..*\. Restore"),
    ({"n_layer": 0}, r"describes fewer layers than its weights hold\. Restore"),
    ({"n_embd": 10**6}, r"\(its weights have other sizes than config\.json describes\)"),
    ({"vocab_size": 10**12}, r"\(its weights have other sizes than config\.json describes\)"),
    ({"n_head": 0}, r"lm.*cannot (be loaded|load it) \(integer division or modulo by zero\)"),
    ({"n_layer": "many"}, r"lm.*cannot (be loaded|load it) \(.*'n_layer' expected int"),
]


@pytest.mark.parametrize("load", [load_lm, load_in_textgen])
@pytest.mark.parametrize(("values", "reason"), OTHER_SIZES)
def test_language_model_with_other_sizes_than_its_weights(load, values, reason):
    tiny_family("gpt2", Path("lm"), TEXTS)
    load(Path("lm"))
    change(Path("lm/config.json"), **values)
    start = time.monotonic()
    with pytest.raises(UserError, match=reason):
        load(Path("lm"))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_saved_files_follow_the_umask(exported, umask):
    before = os.umask(umask)
    try:
        TransferModel.from_pretrained(exported, "cpu").save_pretrained("model")
        with atomic_path(Path("tensors")) as temporary:
            save_file({"a": torch.zeros(2)}, temporary)
    finally:
        os.umask(before)
    rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [*Path("model").iterdir(), Path("tensors")]}
    assert rights == dict.fromkeys(rights, 0o666 & ~umask)


def test_files_of_a_run_have_the_same_rights(finished_runs):
    run = (finished_runs / "captioning" / "latest").resolve()
    files = [path for path in run.rglob("*") if path.is_file() and not path.is_symlink() and path.suffix != ".lock"]
    assert {path.name for path in files} >= {"model.safetensors", "optimizer.safetensors", "config.yaml"}
    rights = {str(path): stat.S_IMODE(path.stat().st_mode) for path in files}
    assert set(rights.values()) == {stat.S_IMODE((run / "config.yaml").stat().st_mode)}, rights
    check_checksums((run / "last").resolve())
