import random

import numpy as np
import pytest

from close_transfer.core.atomic_files import fingerprint_file
from close_transfer.core.checksums import read_checked_json, write_checked_json
from close_transfer.core.errors import UserError
from close_transfer.models.adapters.statistics import Statistics


@pytest.mark.parametrize("values", [np.full(4, np.nan), np.array([1.0, np.inf, 0.0, 0.0])])
def test_statistics_that_are_not_finite_floats_are_refused(values, tmp_path):
    Statistics({"text_mean": values}).save(tmp_path)
    with pytest.raises(
        UserError, match=r"text_mean \(float64\) is not an array of finite 64-bit floats\. Fit the statistics"
    ):
        Statistics.load(tmp_path, 4)


def save(folder):
    """Write statistics with all facts that are read again, and return the facts."""
    facts = {"data": "x", "split": "train", "num_texts": 3, "num_scenes": 3, "num_images": 0, "paired": False}
    facts |= {"chain": [], "noise_behind": [], "encoder": "e", "encoder_fingerprint": "f", "data_fingerprint": "d"}
    Statistics({"text_mean": np.ones(4), "text_covariance": np.eye(4)}, facts | {"noise": {}}).save(folder)
    return read_checked_json(folder / "statistics.json")


@pytest.mark.parametrize("name", [
    "sha256", "data", "split", "num_texts", "num_scenes", "num_images", "paired", "chain", "noise_behind", "encoder",
    "encoder_fingerprint", "data_fingerprint", "noise",
])  # fmt: skip
def test_facts_of_another_type_are_a_sentence(name, tmp_path):
    facts = save(tmp_path)
    Statistics.load(tmp_path, 4)
    for value in (None, -1, 0.5, "x" if not isinstance(facts[name], str) else 7, [1], {"a": 1}):
        write_checked_json(tmp_path / "statistics.json", facts | {name: value})
        with pytest.raises(UserError, match=rf"statistics\.json is damaged \({name}.*\)\. Fit the statistics again"):
            Statistics.load(tmp_path, 4)


@pytest.mark.parametrize("content", [b"", b"[]", b"1", b"null", b"{", b"\xff", b"{}", b"[" * 100_000, b'{"sha256": 1}'])
def test_facts_that_are_not_facts(content, tmp_path):
    save(tmp_path)
    (tmp_path / "statistics.json").write_bytes(content)
    with pytest.raises(UserError, match=r"statistics\.json is damaged.*\. Fit the statistics again"):
        Statistics.load(tmp_path, 4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"text_mean": np.eye(4)},
            r"text_mean has shape \(4, 4\) instead of \(4,\).*Fit the statistics with this encoder",
        ),
        (
            {"text_covariance": np.ones(4)},
            r"has shape \(4,\) instead of \(4, 4\).*Fit the statistics with this encoder",
        ),
        ({"text_mode": np.ones(4)}, r"'text_mode' is not one of the statistics\. Fit them again"),
    ],
)
def test_arrays_of_another_shape_or_name(arrays, message, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Statistics, "data_regime", "T0")
        Statistics(arrays).save(tmp_path)
    with pytest.raises(UserError, match=message):
        Statistics.load(tmp_path, 4)


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("name", ["statistics.json", "statistics.safetensors"])
def test_damaged_statistics_are_a_sentence(name, tmp_path):
    facts = save(tmp_path)
    content, chance = (tmp_path / name).read_bytes(), random.Random(0)
    for _ in range(1000):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 1, 4])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        (tmp_path / name).write_bytes(damaged[: chance.choice([len(damaged)] * 9 + [chance.randrange(len(damaged))])])
        if name.endswith(".safetensors"):  # also behind a checksum that fits
            write_checked_json(tmp_path / "statistics.json", facts | {"sha256": fingerprint_file(tmp_path / name)})
        try:
            loaded = Statistics.load(tmp_path, 4)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert all(np.isfinite(array).all() for array in loaded.arrays.values())
