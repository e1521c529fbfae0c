"""Units of noise and their conversion.

Gaussian noise is added to a unit vector, which is then scaled back to unit length (CLOSE,
arXiv 2211.09778, section 3). CLOSE states the standard deviation per coordinate, CapDec
(arXiv 2211.00575) the variance. Both depend on the encoder's width; the expected length and cosine do not.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class NoiseScale:
    """Gaussian noise of standard deviation `std` per coordinate, on unit vectors of width `dim`."""

    std: float
    dim: int

    @classmethod
    def from_cosine(cls, cosine: float, dim: int) -> "NoiseScale":
        """Return the scale with this expected cosine, in (0, 1]: std = sqrt((1 / cosine**2 - 1) / dim)."""
        return cls(math.sqrt((1 / cosine**2 - 1) / dim), dim)

    @property
    def variance(self) -> float:
        """Return the variance per coordinate, CapDec's unit."""
        return self.std**2

    @property
    def length(self) -> float:
        """Return the expected length of the noise vector, about std * sqrt(dim); the signal has length 1."""
        return self.std * math.sqrt(self.dim)

    @property
    def cosine(self) -> float:
        """Return the expected cosine of a vector with its noised self, about 1 / sqrt(1 + std**2 * dim)."""
        return 1 / math.sqrt(1 + self.std**2 * self.dim)

    def as_dict(self) -> dict[str, float]:
        """Return all units by name, for results.json and the model's config."""
        return {"std": self.std, "variance": self.variance, "length": self.length, "cosine": self.cosine}

    def __str__(self) -> str:
        if self.std == 0:
            return "none"
        return (
            f"{self.std:.4g} per coordinate (variance {self.variance:.4g}, "
            f"length {self.length:.2f}, cosine {self.cosine:.2f} at width {self.dim})"
        )


def describe_adapters(names: Iterable[str], std: float) -> str:
    """Describe a chain of adapters in a few words: the adapters other than plain Gaussian noise, then the noise."""
    others = [name for name in names if name != "gaussian"]
    return ", ".join([*others, f"noise {std:.3g}" if std else "no noise"])
