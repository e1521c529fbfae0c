"""CLIPScore and RefCLIPScore (Hessel et al. 2021, arXiv 2104.08718, section 3) from vectors of any encoder.

The paper's numbers are those of CLIP ViT-B/32 in half precision. Scores of another encoder are comparable only with
each other, so report the encoder with them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from close_transfer.core.arrays import Float64Array, normalize_rows
from close_transfer.metrics.extra_metric import ExtraMetric, MetricInputs

CLIPSCORE_PREFIX = "A photo depicts "
"""Prefix of every encoded text, references included, as in the authors' code."""

CLIPSCORE_WEIGHT = 2.5
"""Factor from the paper, which stretches CLIP's cosines of 0 to 0.4 to about 0..1."""


class ClipScore(ExtraMetric):
    """CLIPScore and RefCLIPScore, times 100."""

    score_names = ("CLIPScore", "RefCLIPScore")
    needs_images = True

    def score(self, inputs: MetricInputs) -> dict[str, Float64Array]:
        assert inputs.encoder is not None
        images = inputs.encoder.encode_images()
        captions = [CLIPSCORE_PREFIX + caption for caption in inputs.captions]
        references = [[CLIPSCORE_PREFIX + text for text in group] for group in inputs.references]
        texts = [*captions, *(text for group in references for text in group)]
        vectors = inputs.encoder.encode_texts(texts)
        ends = np.cumsum([len(captions), *map(len, references)])
        caption_vectors, *reference_vectors = np.split(vectors, ends[:-1])
        return {
            "CLIPScore": 100 * compute_clip_score(images, caption_vectors),
            "RefCLIPScore": 100 * compute_ref_clip_score(images, caption_vectors, reference_vectors),
        }


def _normalize_matrix(vectors: ArrayLike) -> Float64Array:
    """Return the rows of a matrix at unit length; zero rows stay zero.

    Raises:
        ValueError: if it is not a matrix.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"vectors have shape {rows.shape}, expected (rows, dim)")
    return normalize_rows(rows, keep_zeros=True)


def compute_clip_score(image_vectors: ArrayLike, caption_vectors: ArrayLike) -> Float64Array:
    """Compute CLIPScore of each caption: 2.5 * max(cos(caption, image), 0), shape (examples,).

    Papers print the mean over examples, some of them times 100.

    Args:
        image_vectors: one vector of any length per example, shape (examples, dim).
        caption_vectors: vectors of `CLIPSCORE_PREFIX` + caption, of the same shape.

    Raises:
        ValueError: if the shapes differ.
    """
    images, captions = _normalize_matrix(image_vectors), _normalize_matrix(caption_vectors)
    if images.shape != captions.shape:
        raise ValueError(f"image vectors have shape {images.shape}, caption vectors {captions.shape}")
    return CLIPSCORE_WEIGHT * np.maximum((images * captions).sum(axis=1), 0.0)


def compute_ref_clip_score(
    image_vectors: ArrayLike, caption_vectors: ArrayLike, reference_vectors: Sequence[ArrayLike]
) -> Float64Array:
    """Compute RefCLIPScore of each caption, shape (examples,).

    It is the harmonic mean of CLIPScore, including its weight of 2.5, and of the largest cosine between the caption
    and any of its references, unweighted and not below 0. It is zero if either of them is zero.

    Args:
        image_vectors: one vector of any length per example, shape (examples, dim).
        caption_vectors: vectors of `CLIPSCORE_PREFIX` + caption, of the same shape.
        reference_vectors: vectors of each example's references, shape (references, dim) each; examples may have
            different numbers of references.

    Raises:
        ValueError: if the shapes do not match, or an example has no reference.
    """
    by_image = compute_clip_score(image_vectors, caption_vectors)
    captions = _normalize_matrix(caption_vectors)
    if len(reference_vectors) != len(captions):
        raise ValueError(f"{len(captions)} captions, but references for {len(reference_vectors)}")
    by_reference = np.zeros(len(captions))
    for row, (caption, group) in enumerate(zip(captions, reference_vectors, strict=True)):
        references = _normalize_matrix(group)
        if not len(references):
            raise ValueError(f"example {row} has no reference")
        by_reference[row] = max((references @ caption).max(), 0.0)
    sums = by_image + by_reference
    return 2 * by_image * by_reference / np.where(sums == 0, 1.0, sums)
