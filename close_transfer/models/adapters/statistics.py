"""Statistics that `compute_statistics.py` measures and adapters read: means and covariances of unit vectors.

Saved as `statistics.safetensors` (the arrays, float64) and `statistics.json` (facts about their data).

Shapes: d width of the vectors.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from typing_extensions import TypedDict  # pydantic takes typing's own from Python 3.12 on

from close_transfer.core.arrays import Float64Array
from close_transfer.core.atomic_files import atomic_path, fingerprint_file
from close_transfer.core.checksums import read_checked_json, write_checked_json
from close_transfer.core.errors import UserError
from close_transfer.core.schema import Natural, describe_first_problem

_ARRAYS, _FACTS = "statistics.safetensors", "statistics.json"
_FORMAT = 1
# The least data that each array needs.
DATA_REGIMES_OF_STATISTICS = {
    "text_mean": "T0",
    "text_covariance": "T0",
    "image_mean": "T1",
    "image_covariance": "T1",
    "difference_mean": "T4",
    "difference_covariance": "T4",
    "linear_weight": "T4",
    "linear_bias": "T4",
}


class _Facts(TypedDict):
    """Types of the facts that are read again; statistics that were measured in Python may lack them."""

    sha256: str
    data: NotRequired[str]
    split: NotRequired[str]
    num_texts: NotRequired[Natural]
    num_scenes: NotRequired[Natural]
    num_images: NotRequired[Natural]
    paired: NotRequired[bool]
    chain: NotRequired[list[dict[str, Any]]]
    noise_behind: NotRequired[list[dict[str, Any]]]
    encoder: NotRequired[str]
    encoder_fingerprint: NotRequired[str]
    data_fingerprint: NotRequired[str]
    noise: NotRequired[dict[str, dict[str, Any]]]


_FACT_TYPES = TypeAdapter(_Facts)


@dataclass(frozen=True)
class Statistics:
    """Moments of unit vectors.

    Attributes:
        arrays: by name, float64: `text_mean`, `image_mean` (d,), `text_covariance`, `image_covariance`
            (d, d); for pairs `difference_mean` (d,) and `difference_covariance` (d, d) of image minus text,
            `linear_weight` (d, d) and `linear_bias` (d,) of the ridge regression from text to image. A name
            that begins with `ADAPTER/` describes vectors as that adapter gets them in a chain.
        facts: counts, data, encoder and seed that they were measured with.
    """

    arrays: Mapping[str, Float64Array]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Return the width of the vectors."""
        return len(next(iter(self.arrays.values())))

    @property
    def data_regime(self) -> str:
        """Return the data that all arrays needed: "T0" text, "T1" unpaired images too, "T4" pairs."""
        return max((DATA_REGIMES_OF_STATISTICS[_strip_stage(name)] for name in self.arrays), default="T0")

    def array(self, name: str) -> Float64Array:
        """Return one of the arrays.

        Raises:
            UserError: if it was not measured, with the command that measures it.
        """
        if name not in self.arrays:
            stage, _, base_name = name.rpartition("/")
            source = {"T0": "texts", "T1": "images (images=true)", "T4": "pairs (pairs=true)"}[
                DATA_REGIMES_OF_STATISTICS[base_name]
            ]
            chain = f" with the run's adapter=[...,{stage},...], because {stage} is not the first" if stage else ""
            raise UserError(
                f"the adapter needs {name}, which these statistics lack. Fit them on {source}{chain}: "
                "python scripts/compute_statistics.py"
            )
        return self.arrays[name]

    def save(self, folder: Path) -> None:
        """Write both files; the facts come last, so that their presence means complete.

        Raises:
            WriteError: if they cannot be written.
        """
        with atomic_path(folder / _ARRAYS) as temporary:
            save_file({name: np.ascontiguousarray(value) for name, value in self.arrays.items()}, temporary)
        facts = {"format": _FORMAT, "data_regime": self.data_regime, "dim": self.dim, "arrays": sorted(self.arrays)}
        write_checked_json(folder / _FACTS, facts | {"sha256": fingerprint_file(folder / _ARRAYS)} | dict(self.facts))

    @classmethod
    def load(cls, folder: Path, dim: int) -> "Statistics":
        """Read and check both files.

        Raises:
            UserError: if they are missing or damaged, or their vectors' width is not `dim`.
        """
        if not (folder / _FACTS).is_file():
            raise UserError(
                f"statistics={folder}: there is no {_FACTS}. Make it: python scripts/compute_statistics.py output={folder}"
            )
        facts = _read_facts(folder)
        try:
            if facts["sha256"] != fingerprint_file(folder / _ARRAYS):
                raise ValueError(f"{_ARRAYS} is not the file that {_FACTS} describes")
            arrays = load_file(folder / _ARRAYS)
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            raise UserError(
                f"statistics={folder}: cannot be read ({str(error)[:120]}). Fit the statistics again"
            ) from error
        if not arrays:
            raise UserError(f"statistics={folder}: {_ARRAYS} holds no array. Fit the statistics again")
        for name, array in arrays.items():
            if array.dtype != np.float64 or not np.isfinite(array).all():
                raise UserError(
                    f"statistics={folder}: {name} ({array.dtype}) is not an array of finite 64-bit floats. Fit the statistics again"
                )
            if _strip_stage(name) not in DATA_REGIMES_OF_STATISTICS:
                raise UserError(f"statistics={folder}: {name[:100]!r} is not one of the statistics. Fit them again")
            shape = (dim, dim) if name.endswith(("_covariance", "_weight")) else (dim,)
            if array.shape != shape:
                raise UserError(
                    f"statistics={folder}: {name} has shape {array.shape} instead of {shape}, because the encoder's vectors have "
                    f"width {dim}. Fit the statistics with this encoder"
                )
        return cls(arrays, facts)


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = read_checked_json(folder / _FACTS)
        _FACT_TYPES.validate_python(facts, strict=True)
    except ValidationError as error:
        raise UserError(
            f"statistics={folder}: {_FACTS} is damaged ({describe_first_problem(error)}). Fit the statistics again"
        ) from None
    except (UserError, OSError) as error:
        raise UserError(f"statistics={folder}: {_FACTS} is damaged. Fit the statistics again") from error
    return facts


def _strip_stage(name: str) -> str:
    return name.rpartition("/")[2]


def compute_moments(vectors: NDArray[np.floating]) -> tuple[Float64Array, Float64Array]:
    """Return mean (d,) and covariance (d, d) of unit vectors (n, d), float64, in blocks of rows."""
    dim, num_vectors = vectors.shape[1], len(vectors)
    vector_sum, product_sum = np.zeros(dim), np.zeros((dim, dim))
    for start in range(0, num_vectors, 16_384):
        block = np.asarray(vectors[start : start + 16_384], dtype=np.float64)
        vector_sum += block.sum(axis=0)
        product_sum += block.T @ block
    mean = vector_sum / num_vectors
    return mean, product_sum / num_vectors - np.outer(mean, mean)


def measure_statistics(
    texts: NDArray[np.floating],
    images: NDArray[np.floating] | None = None,
    paired: NDArray[np.floating] | None = None,
    ridge: float = 1e-3,
    facts: Mapping[str, Any] | None = None,
) -> Statistics:
    """Measure statistics of unit vectors.

    Args:
        texts: shape (n, d).
        images: any images, shape (m, d); None: statistics of texts only (T0).
        paired: row i is the image of text i, shape (n, d); `images` is then this array.
        ridge: penalty of the regression, as a share of the mean variance per coordinate.
        facts: facts to keep about the data.
    """
    text_mean, text_covariance = compute_moments(texts)
    arrays = {"text_mean": text_mean, "text_covariance": text_covariance}
    if paired is not None:
        images = paired
    if images is not None:
        arrays["image_mean"], arrays["image_covariance"] = compute_moments(images)
    if paired is not None:
        arrays["difference_mean"], arrays["difference_covariance"] = compute_moments(paired - texts)
        centred = texts - text_mean
        penalty = ridge * np.trace(text_covariance) / len(text_mean)
        cross_covariance = centred.T @ (paired - arrays["image_mean"]) / len(texts)
        weight = np.linalg.solve(text_covariance + penalty * np.eye(len(text_mean)), cross_covariance).T
        arrays["linear_weight"] = weight
        arrays["linear_bias"] = arrays["image_mean"] - weight @ text_mean
    assert all(math.isfinite(float(array.sum())) for array in arrays.values())
    return Statistics(arrays, facts or {})
