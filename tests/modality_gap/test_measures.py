"""Every measure of the gap against a second, plainer computation or a case whose answer is known."""

import numpy as np
import pytest

from close_transfer.core.arrays import normalize_rows
from close_transfer.core.errors import UserError
from close_transfer.modality_gap.cosines import compute_cosine_metrics
from close_transfer.modality_gap.measurement import measure
from close_transfer.modality_gap.neighbours import find_recall_hits, measure_neighbourhoods
from close_transfer.modality_gap.spectra import Moments, compute_spectral_metrics, find_directions
from close_transfer.modality_gap.vectors import GroupedVectors

SCENES = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3])


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    images = normalize_rows(rng.normal(size=(4, 6)) + 1)
    texts = normalize_rows(images[SCENES] + 0.5 * rng.normal(size=(10, 6)) - 0.7)
    return GroupedVectors(texts, SCENES, images)


def weights_of(*drawn):
    return np.bincount(drawn, minlength=4).astype(float)[None]


@pytest.mark.parametrize("drawn", [(0, 1, 2, 3), (0, 0, 2, 3), (3, 3, 3, 1)])
def test_cosines_are_means_over_pairs(vectors, drawn):
    """Scene by scene and pair by pair, with each drawn scene as often as it was drawn."""
    copies = [(scene, [vectors.texts[i] for i in np.flatnonzero(scene == SCENES)]) for scene in drawn]
    told = {
        "unrelated_text_cosine": [a @ b for s, one in copies for t, two in copies if s != t for a in one for b in two],
        "same_scene_text_cosine": [
            one[i] @ one[j] for _, one in copies for i in range(len(one)) for j in range(len(one)) if i != j
        ],
        "paired_cosine": [vectors.images[s] @ a for s, one in copies for a in one],
        "unrelated_image_cosine": [vectors.images[s] @ vectors.images[t] for s in drawn for t in drawn if s != t],
        "unrelated_cross_cosine": [vectors.images[t] @ a for s, one in copies for t in drawn if s != t for a in one],
    }
    metrics = compute_cosine_metrics(vectors)(weights_of(*drawn))
    for name, cosines in told.items():
        assert metrics[name][0] == pytest.approx(np.mean(cosines)), name
    text_mean = np.mean([a for _, one in copies for a in one], axis=0)
    image_mean = np.mean([vectors.images[s] for s in drawn], axis=0)
    assert metrics["mean_distance"][0] == pytest.approx(np.linalg.norm(text_mean - image_mean))
    assert metrics["text_mean_length"][0] == pytest.approx(np.linalg.norm(text_mean))


def test_caption_spread_is_the_noise_that_was_put_in():
    """Texts made by noise of a known scale around their scenes: the measure gives the scale back."""
    rng = np.random.default_rng(1)
    scenes = np.repeat(np.arange(400), 5)
    centres = normalize_rows(rng.normal(size=(400, 256)))[scenes]
    texts = normalize_rows(centres + 0.02 * rng.normal(size=centres.shape))
    spread = compute_cosine_metrics(GroupedVectors(texts, scenes))(np.ones((1, 400)))["caption_spread"][0]
    # Bringing the noised vectors back to unit length shrinks them by their expected length.
    assert spread == pytest.approx(0.02 / np.sqrt(1 + 0.02**2 * 256), rel=0.02)


def test_shapes_whose_spectrum_is_known():
    rng = np.random.default_rng(3)
    flat = Moments.from_rows(rng.normal(size=(200_000, 5)), np.ones(200_000))
    assert flat.effective_dimension == pytest.approx(5, rel=0.01)
    assert flat.std == pytest.approx(1, rel=0.01)
    line = Moments.from_rows(np.outer(rng.normal(size=1000), np.ones(5)), np.ones(1000))
    assert line.effective_dimension == pytest.approx(1)
    assert find_directions(line.spectrum(), 0.9) == 1
    assert find_directions(np.array([0.5, 0.3, 0.15, 0.05]), 0.9) == 3


def test_a_constant_gap_is_all_mean_and_no_directions():
    rng = np.random.default_rng(4)
    texts = rng.normal(size=(50, 7))
    gap = GroupedVectors(texts, np.arange(50), texts + 3)
    metrics = compute_spectral_metrics(gap, np.ones(50))
    assert metrics["difference_mean_share"] == pytest.approx(1)
    assert metrics["difference_std"] == pytest.approx(0, abs=1e-12)
    assert metrics["difference_length"] == pytest.approx(3 * np.sqrt(7))


def test_recall_is_counted_as_in_coco(vectors):
    hits = find_recall_hits(vectors)
    for k in (1, 5, 10):
        found = [SCENES[np.argsort(-vectors.texts @ image)[:k]] for image in vectors.images]
        assert hits[f"recall@{k}"].tolist() == [float(s in near) for s, near in enumerate(found)]
        nearest = [np.argsort(-vectors.images @ text)[:k] for text in vectors.texts]
        by_text = np.array([s in near for s, near in zip(SCENES, nearest, strict=True)])
        assert hits[f"text_to_image_recall@{k}"].tolist() == [by_text[s == SCENES].mean() for s in range(4)]


def test_vectors_that_are_all_alike_find_nothing():
    same = np.ones((6, 3)) / np.sqrt(3)
    hits = find_recall_hits(GroupedVectors(same, np.arange(6), same))
    assert not hits["recall@5"].any()


def test_noise_moves_texts_as_far_as_its_unit_says():
    rng = np.random.default_rng(5)
    scenes = np.repeat(np.arange(60), 3)
    images = normalize_rows(rng.normal(size=(60, 200)))
    vectors = GroupedVectors(normalize_rows(images[scenes] + 0.02 * rng.normal(size=(180, 200))), scenes, images)
    none, some, much, images = measure_neighbourhoods(vectors, [0.0, 0.05, 1.0])
    assert none.cosine_to_texts == pytest.approx(1)
    assert none.kept_neighbours == 1
    assert none.own_scene == 1
    assert some.cosine_to_texts == pytest.approx(1 / np.sqrt(1 + 0.05**2 * 200), abs=0.01)
    assert much.kept_neighbours < 0.3
    assert much.own_scene < 0.3
    assert images.noise is None
    assert images.own_scene == 1


def test_intervals_hold_their_values_and_narrow_with_more_scenes():
    def of(num_scenes):
        rng = np.random.default_rng(6)
        images = normalize_rows(rng.normal(size=(num_scenes, 12)) + 0.5)
        texts = normalize_rows(np.repeat(images, 2, axis=0) + 0.3 * rng.normal(size=(2 * num_scenes, 12)))
        return measure(GroupedVectors(texts, np.repeat(np.arange(num_scenes), 2), images), [0.1], 50)

    few, many = of(40), of(640)
    assert few.metrics.keys() == few.intervals.keys()
    for gap in (few, many):
        for name, value in gap.metrics.items():
            low, high = gap.intervals[name]
            assert low <= value <= high, name
    for name in ("paired_cosine", "recall@1", "centred_distance", "text_effective_dimension"):
        widths = [np.subtract(*gap.intervals[name][::-1]) for gap in (few, many)]
        assert widths[1] < 0.6 * widths[0], name


def test_lengths_of_means_lie_amid_their_intervals():
    """Few scenes of clouds without a mean: every resample's mean is longer than that of the data."""
    rng = np.random.default_rng(7)
    texts, images = normalize_rows(rng.normal(size=(20, 100))), normalize_rows(rng.normal(size=(20, 100)))
    gap = measure(GroupedVectors(texts, np.arange(20), images), [], 400)
    means = texts.mean(axis=0), images.mean(axis=0)
    told = {"text_mean_length": means[0], "image_mean_length": means[1], "mean_distance": means[0] - means[1]}
    for name, vector in told.items():
        assert gap.metrics[name] == pytest.approx(np.linalg.norm(vector))
        assert np.mean(gap.intervals[name]) == pytest.approx(gap.metrics[name])
        assert 0 < gap.intervals[name][0] < gap.metrics[name]


def test_one_scene_is_too_few():
    with pytest.raises(UserError, match="the gap needs two scenes or more"):
        measure(GroupedVectors(np.eye(2), np.array([0, 0])), [], 10)


def test_vectors_without_direction_are_refused():
    with pytest.raises(UserError, match="1 vectors are zero"):
        normalize_rows(np.array([[1.0, 0.0], [0.0, 0.0]]))
