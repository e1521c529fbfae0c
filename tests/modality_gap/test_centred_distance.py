"""The distance of two clouds without their means, against laws whose distance is known."""

import numpy as np
import pytest

from close_transfer.modality_gap.measurement import measure
from close_transfer.modality_gap.spectra import factorize, measure_centred_squared, measure_overlap, take_signed_root
from close_transfer.modality_gap.vectors import GroupedVectors

EVEN = "even"
FALLING = "falling"


def deviations(kind, dim):
    """Standard deviations along the axes; variances sum to 0.7, about that of texts in a CLIP."""
    variances = np.ones(dim) if kind == EVEN else 1 / np.arange(1, dim + 1)
    return np.sqrt(0.7 * variances / variances.sum())


def clouds(text_kind, image_kind, num_scenes, dim, seed=0, shared=0.6):
    """Texts and images of scenes, paired by a share of what varies."""
    rng = np.random.default_rng([seed, num_scenes, dim])
    scene, text, image = rng.normal(size=(3, num_scenes, dim))
    own = np.sqrt(1 - shared**2)
    texts = (shared * scene + own * text) * deviations(text_kind, dim)
    images = (shared * scene + own * image) * deviations(image_kind, dim)
    return GroupedVectors(texts, np.arange(num_scenes), images)


def distance(vectors, num_splits=3):
    return take_signed_root(
        measure_centred_squared(vectors, np.ones(vectors.num_scenes), num_splits, np.random.default_rng(0)),
    )


def raw_distance(vectors):
    """2-Wasserstein between the clouds as they are, all of one against all of the other."""
    one, other = (factorize(x, np.ones(len(x))) for x in (vectors.texts, vectors.images))
    return np.sqrt(np.square(one).sum() + np.square(other).sum() - 2 * measure_overlap(one, other))


def test_overlap_is_that_of_frechets_distance():
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(500, 8)) * rng.random(8), rng.normal(size=(500, 8)) @ rng.normal(size=(8, 8))
    a, b = (np.cov(x.T, bias=True) for x in (one, other))
    golden = np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    even = np.ones(500)
    assert measure_overlap(factorize(one, even), factorize(other, even)) == pytest.approx(golden, rel=1e-8)
    assert measure_overlap(factorize(one, even), factorize(one + 9, even)) == pytest.approx(np.trace(a), rel=1e-8)
    few = np.bincount(rng.integers(0, 500, size=6), minlength=500).astype(float)
    assert np.square(factorize(one, few)).sum() == pytest.approx(np.trace(np.cov(one.T, bias=True, fweights=few)))


@pytest.mark.parametrize("kind", [EVEN, FALLING])
@pytest.mark.parametrize(("num_scenes", "dim"), [(300, 64), (300, 256), (400, 512), (2000, 64), (1500, 256)])
def test_one_law_is_at_no_distance(kind, num_scenes, dim):
    vectors = clouds(kind, kind, num_scenes, dim)
    assert abs(distance(vectors)) < 0.1
    if num_scenes < 2 * dim:
        assert raw_distance(vectors) > 0.25  # what would be reported without taking chance off


@pytest.mark.parametrize(("num_scenes", "dim"), [(300, 64), (300, 256), (400, 512), (2000, 64), (1500, 256)])
def test_other_spectra_are_as_far_as_their_laws(num_scenes, dim):
    law = np.linalg.norm(deviations(EVEN, dim) - deviations(FALLING, dim))  # one set of axes
    assert law > 0.45
    assert distance(clouds(EVEN, FALLING, num_scenes, dim)) == pytest.approx(law, abs=0.06)


def test_chance_is_taken_off_without_leaning_to_either_side():
    found = [
        measure_centred_squared(clouds(FALLING, FALLING, 60, 64, seed), np.ones(60), 2, np.random.default_rng(seed))
        for seed in range(40)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(40)
    assert min(found) < 0 < max(found)


def test_means_are_forgotten():
    vectors = clouds(EVEN, FALLING, 200, 32)
    moved = GroupedVectors(vectors.texts + 3, vectors.scene_of_text, vectors.images - vectors.images.mean(axis=0))
    assert distance(moved) == pytest.approx(distance(vectors), rel=1e-9)
    same = GroupedVectors(vectors.texts, vectors.scene_of_text, vectors.texts + 3)
    assert distance(same) == pytest.approx(0, abs=1e-6)


def test_one_text_a_scene_is_looked_at():
    """Five texts a scene tell its cloud better than one image does; that makes no distance."""
    rng = np.random.default_rng(3)
    scenes = np.repeat(np.arange(300), 5)
    texts, images = rng.normal(size=(1500, 200)), rng.normal(size=(300, 200))
    assert abs(distance(GroupedVectors(texts, scenes, images))) < 0.1 * np.sqrt(200)


def test_intervals_hold_zero_for_one_law_alone():
    one = measure(clouds(FALLING, FALLING, 200, 48), [], 40)
    low, high = one.intervals["centred_distance"]
    assert low < 0 < high
    assert high - low < 0.3
    two = measure(clouds(EVEN, FALLING, 200, 48), [], 40)
    low, high = two.intervals["centred_distance"]
    assert 0.3 < low < two.metrics["centred_distance"] < high < 0.6
    again = measure(clouds(EVEN, FALLING, 200, 48), [], 40)
    assert again.intervals["centred_distance"] == (low, high)


def test_too_few_scenes_to_halve_go_without():
    assert "centred_distance" not in measure(clouds(EVEN, FALLING, 3, 8), [], 10).metrics
    few = measure(clouds(EVEN, FALLING, 4, 8), [], 200)  # some resamples are of one scene
    assert np.isfinite(few.intervals["centred_distance"]).all()
