import numpy as np
import pytest

from close_transfer.metrics.clipscore import CLIPSCORE_PREFIX, compute_clip_score, compute_ref_clip_score

# Cosines of caption and image: 0.6, 1, -0.8, 0. Lengths differ, as encoders give them.
IMAGES = [[1, 0], [0, 2], [1, 0], [1, 0]]
CAPTIONS = [[3, 4], [0, 0.5], [-0.8, 0.6], [0, 1]]
# Cosines of caption and references: (0.6, 0.8), (1,), (-0.6,), (0.8, 1).
REFERENCES = [[[2, 0], [0, 7]], [[0, 3]], [[0, -1]], [[3, 4], [0, 1]]]


def test_clip_score_is_the_cosine_stretched_and_cut():
    np.testing.assert_allclose(compute_clip_score(IMAGES, CAPTIONS), [2.5 * 0.6, 2.5, 0, 0], atol=1e-12)


def test_ref_clip_score_is_the_harmonic_mean_with_the_nearest_reference():
    expected = [
        2 * 1.5 * 0.8 / (1.5 + 0.8),  # the stretched image score and the plain cosine: 1.0434...
        2 * 2.5 * 1.0 / (2.5 + 1.0),
        0,  # neither image nor reference is near
        0,  # the reference is, the image is not
    ]
    references = [np.array(group, dtype=np.float32) for group in REFERENCES]
    np.testing.assert_allclose(compute_ref_clip_score(IMAGES, CAPTIONS, references), expected, rtol=1e-6, atol=1e-12)


def test_half_precision_and_zero_vectors_are_allowed():
    half = np.array(IMAGES, dtype=np.float16) * 100
    np.testing.assert_allclose(compute_clip_score(half, CAPTIONS), compute_clip_score(IMAGES, CAPTIONS), atol=1e-12)
    assert compute_clip_score([[0, 0]], [[1, 0]]).tolist() == [0]
    assert compute_ref_clip_score([[0, 0]], [[1, 0]], [[[0, 0]]]).tolist() == [0]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(3, 2\)"):
        compute_clip_score(IMAGES, CAPTIONS[:3])
    with pytest.raises(ValueError, match="4 captions, but references for 3"):
        compute_ref_clip_score(IMAGES, CAPTIONS, REFERENCES[:3])
    with pytest.raises(ValueError, match="example 1 has no reference"):
        compute_ref_clip_score(IMAGES, CAPTIONS, [REFERENCES[0], np.zeros((0, 2)), *REFERENCES[2:]])


def test_texts_are_encoded_with_the_prefix_of_the_paper():
    assert f"{CLIPSCORE_PREFIX}two cats" == "A photo depicts two cats"
