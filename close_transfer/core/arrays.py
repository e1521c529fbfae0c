"""Array types, and scaling of vectors to unit length."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from close_transfer.core.errors import UserError

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]


def normalize_rows(vectors: ArrayLike, *, keep_zeros: bool = False) -> Float64Array:
    """Scale each vector to unit length, in float64.

    Args:
        vectors: vectors, shape (..., dim).
        keep_zeros: True leaves zero vectors unchanged; False rejects them, because they have no direction.

    Raises:
        UserError: if a vector is zero and `keep_zeros` is False.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    if not keep_zeros and not lengths.all():
        raise UserError(f"{int((lengths == 0).sum())} vectors are zero and have no direction. Encode them again")
    return rows / np.where(lengths == 0, 1.0, lengths)
