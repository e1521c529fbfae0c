"""The rules that choose noise from texts: they follow what texts do, and a constant would fail."""

import numpy as np
import pytest

from close_transfer.gap.noise_rules import RULES, cosine_rule, largest_coordinate_rule, related_pairs
from close_transfer.gap.vectors import SceneVectors, unit
from close_transfer.noise import NoiseScale

DIM, NUM_SCENES = 64, 300


def texts_with_spread(std, texts_a_scene=4, seed=0):
    """Scenes in a 12-dimensional part of the space; their texts lie around them with this spread."""
    rng = np.random.default_rng(seed)
    scenes = np.repeat(np.arange(NUM_SCENES), texts_a_scene)
    centres = unit(rng.normal(size=(NUM_SCENES, 12)) @ rng.normal(size=(12, DIM)) + 3)
    return SceneVectors(unit(centres[scenes] + std * rng.normal(size=(len(scenes), DIM))), scenes)


@pytest.mark.parametrize("rule", RULES)
def test_choices_grow_with_the_spread_within_scenes(rule):
    chosen = [RULES[rule](texts_with_spread(std), 0).std for std in (0.005, 0.03, 0.12)]
    assert chosen[0] < chosen[1] < chosen[2]
    assert RULES[rule](texts_with_spread(0.03), 0).std == chosen[1]


def test_the_cosine_rule_gives_back_the_noise_between_two_texts():
    """Two texts with noise s each have the expected cosine of one noise of 1 / cosine(s)**2."""
    scale = NoiseScale(0.03, DIM)
    choice = cosine_rule(texts_with_spread(0.03))
    assert choice.evidence["cosine"] == pytest.approx(scale.cosine**2, abs=0.01)
    assert NoiseScale(choice.std, DIM).cosine == pytest.approx(choice.evidence["cosine"])


def test_the_largest_coordinate_is_that_of_normal_numbers():
    choice = largest_coordinate_rule(texts_with_spread(0.02))
    drawn = np.random.default_rng(9).normal(size=(20_000, DIM)) * 0.02 * np.sqrt(2)
    expected = np.abs(drawn).max(axis=1).mean() * NoiseScale(0.02, DIM).cosine
    assert choice.std == pytest.approx(expected, rel=0.05)


def test_single_texts_are_paired_with_their_nearest():
    vectors = texts_with_spread(0.01, texts_a_scene=1)
    one, other, grouped = related_pairs(vectors)
    assert not grouped
    cosines = vectors.texts @ vectors.texts.T - 2 * np.eye(NUM_SCENES)
    assert (other == cosines[one].argmax(axis=1)).all()
    for rule in RULES.values():
        choice = rule(vectors, 0)
        assert not choice.grouped
        assert choice.std > 0
