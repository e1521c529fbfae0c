"""The rules that choose noise from texts: they follow what texts do, and a constant would fail."""

import numpy as np
import pytest

from close_transfer.core.arrays import normalize_rows
from close_transfer.core.errors import UserError
from close_transfer.modality_gap.noise_selection import TEXT_RULES, choose_from_texts
from close_transfer.modality_gap.noise_selection.image_rules import choose_paired, choose_unpaired
from close_transfer.modality_gap.noise_selection.pairs import find_related_pairs
from close_transfer.modality_gap.noise_selection.shifted_validation import choose_by_shifted_validation, shift_randomly
from close_transfer.modality_gap.noise_selection.text_rules import choose_by_cosine, choose_by_largest_coordinate
from close_transfer.modality_gap.vectors import GroupedVectors
from close_transfer.models.noise_scale import NoiseScale

DIM, NUM_SCENES = 64, 300
SPREAD_RULES = ("largest_coordinate", "cosine")


def texts_with_spread(std, texts_per_scene=4, seed=0):
    """Scenes in a 12-dimensional part of the space; their texts lie around them with this spread."""
    rng = np.random.default_rng(seed)
    scenes = np.repeat(np.arange(NUM_SCENES), texts_per_scene)
    centres = normalize_rows(rng.normal(size=(NUM_SCENES, 12)) @ rng.normal(size=(12, DIM)) + 3)
    return GroupedVectors(normalize_rows(centres[scenes] + std * rng.normal(size=(len(scenes), DIM))), scenes)


@pytest.mark.parametrize("rule", SPREAD_RULES)
def test_choices_grow_with_the_spread_within_scenes(rule):
    chosen = [TEXT_RULES[rule](texts_with_spread(std), 0).std for std in (0.005, 0.03, 0.12)]
    assert chosen[0] < chosen[1] < chosen[2]
    assert TEXT_RULES[rule](texts_with_spread(0.03), 0).std == chosen[1]


def test_the_cosine_rule_gives_back_the_noise_between_two_texts():
    """Two texts with noise s each have the expected cosine of one noise of 1 / cosine(s)**2."""
    scale = NoiseScale(0.03, DIM)
    choice = choose_by_cosine(texts_with_spread(0.03))
    assert choice.evidence["cosine_of_two_texts"] == pytest.approx(scale.cosine**2, abs=0.01)
    assert NoiseScale(choice.std, DIM).cosine == pytest.approx(choice.evidence["cosine_of_two_texts"])


def test_the_largest_coordinate_is_that_of_normal_numbers():
    choice = choose_by_largest_coordinate(texts_with_spread(0.02))
    drawn = np.random.default_rng(9).normal(size=(20_000, DIM)) * 0.02 * np.sqrt(2)
    expected = np.abs(drawn).max(axis=1).mean() * NoiseScale(0.02, DIM).cosine
    assert choice.std == pytest.approx(expected, rel=0.05)


def test_single_texts_are_paired_with_their_nearest():
    vectors = texts_with_spread(0.01, texts_per_scene=1)
    one, other, grouped = find_related_pairs(vectors)
    assert not grouped
    cosines = vectors.texts @ vectors.texts.T - 2 * np.eye(NUM_SCENES)
    assert (other == cosines[one].argmax(axis=1)).all()
    for rule in SPREAD_RULES:
        choice = TEXT_RULES[rule](vectors, 0)
        assert not choice.grouped
        assert choice.std > 0


def test_the_interval_covers_what_other_scenes_of_the_same_world_choose():
    choice = choose_by_largest_coordinate(texts_with_spread(0.03))
    low, high = choice.interval
    assert low < choice.std < high < 1.05 * low
    others = [choose_by_largest_coordinate(texts_with_spread(0.03, seed=seed)).std for seed in range(1, 30)]
    assert sum(low < other < high for other in others) >= 20


def test_sensitivity_tells_what_more_noise_does():
    seen = choose_from_texts("largest_coordinate", texts_with_spread(0.02), 0).sensitivity
    assert [one.std / seen[1].std for one in seen] == pytest.approx([0.5, 1, 2])
    assert seen[0].own_scene > seen[1].own_scene > seen[2].own_scene
    assert seen[1].cosine == pytest.approx(NoiseScale(seen[1].std, DIM).cosine)


def test_texts_without_spread_are_told():
    vectors = texts_with_spread(0.0)
    with pytest.raises(UserError, match=r"largest_coordinate chose noise 0.0 .* do not differ .* noise=0\.1"):
        choose_from_texts("largest_coordinate", vectors, 0)


def test_displaced_texts_lie_elsewhere_and_keep_half_of_what_sets_them_apart():
    texts = texts_with_spread(0.02).texts
    mean = texts.mean(axis=0)
    moved = shift_randomly(texts, mean, seed=3)
    assert np.linalg.norm(moved, axis=1) == pytest.approx(1)
    assert np.linalg.norm(moved.mean(axis=0) - mean) > 0.4
    own, other = normalize_rows(texts - mean), normalize_rows(moved - moved.mean(axis=0))
    assert 0.5 < np.mean((own * other).sum(axis=1)) < 0.9


def test_validation_on_displaced_texts_needs_noise_and_finds_a_scale():
    """Words are in the scene's directions, so a probe can learn them; without texts there are no words."""
    vectors = texts_with_spread(0.02)
    centres = np.stack([vectors.texts[vectors.scene_of_text == scene].mean(axis=0) for scene in range(NUM_SCENES)])
    _, _, axes = np.linalg.svd(centres - centres.mean(axis=0))
    along = (centres - centres.mean(axis=0)) @ axes[:6].T
    said = along > np.quantile(along, 0.7, axis=0)
    told = [" ".join(f"word{'abcdef'[i]}" for i in np.flatnonzero(one)) for one in said]
    strings = tuple(told[scene] for scene in vectors.scene_of_text)
    choice = choose_by_shifted_validation(GroupedVectors(vectors.texts, vectors.scene_of_text, None, strings), 0)
    found = {float(name.rpartition("_")[2]): value for name, value in choice.evidence.items() if "_at_" in name}
    assert found[min(found, key=lambda std: abs(std - choice.std))] == max(found.values())
    assert choice.std > min(found)
    with pytest.raises(UserError, match="needs the texts themselves"):
        choose_by_shifted_validation(vectors, 0)


def pictures_of(vectors, std, seed=1):
    """An image a scene: its mean text, moved and noised."""
    rng = np.random.default_rng(seed)
    centres = normalize_rows(vectors.sum_by_scene(vectors.texts))
    return normalize_rows(centres + std * rng.normal(size=centres.shape))


@pytest.mark.parametrize("std", [0.05, 0.15])
def test_unpaired_pictures_that_are_noised_texts_give_their_noise_back(std):
    """With one text per scene, a text of another scene is as far away as the noise moves it."""
    vectors = texts_with_spread(0.0, texts_per_scene=1)
    half = NUM_SCENES // 2
    rest = GroupedVectors(vectors.texts[:half], vectors.scene_of_text[:half])
    choice = choose_unpaired(rest, pictures_of(vectors, std)[half:], 0)
    assert choice.std == pytest.approx(std, rel=0.15)
    assert choice.data_regime == "T1"
    assert choice.interval[0] <= choice.std <= choice.interval[1]


def test_pictures_among_the_texts_need_no_noise_and_it_is_said():
    vectors = texts_with_spread(0.02)
    with pytest.raises(UserError, match=r"no noise takes texts as far as these images are"):
        choose_unpaired(vectors, vectors.texts[:50], 0)


def test_pairs_give_the_noise_between_picture_and_text():
    vectors = texts_with_spread(0.0, texts_per_scene=1)
    pairs = GroupedVectors(vectors.texts, vectors.scene_of_text, pictures_of(vectors, 0.1))
    assert choose_paired(pairs).std == pytest.approx(0.1, rel=0.05)
    assert choose_paired(pairs).data_regime == "T4"
    with pytest.raises(UserError, match=r"mean cosine of -"):
        choose_paired(GroupedVectors(vectors.texts, vectors.scene_of_text, -vectors.texts))


def test_a_few_grouped_captions_do_not_outvote_single_ones():
    """One scene of 301 has two texts, which are nearly the same; the others still go by their nearest."""
    single = texts_with_spread(0.03, texts_per_scene=1)
    twice = normalize_rows(single.texts[-1:] + 1e-4)
    texts = np.concatenate([single.texts, twice])
    both = GroupedVectors(texts, np.append(single.scene_of_text, NUM_SCENES - 1))
    for rule in SPREAD_RULES:
        one, other = TEXT_RULES[rule](single, 0), TEXT_RULES[rule](both, 0)
        assert not other.grouped
        assert other.std == pytest.approx(one.std, rel=0.02)


def test_fewer_than_ten_scenes_have_no_interval():
    vectors = texts_with_spread(0.03)
    few = GroupedVectors(vectors.texts[:36], vectors.scene_of_text[:36])
    assert choose_by_largest_coordinate(few).interval is None
