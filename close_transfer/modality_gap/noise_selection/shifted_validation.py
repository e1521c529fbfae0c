"""The rule `shifted_validation`: validation of word probes on texts that were displaced like images.

An image's vector differs from those of its captions in two ways: it is displaced as a whole, and the scene's
content points in partly other directions. Texts show neither, so both are simulated: another caption of the
same scene is moved by a random vector as long as CLIP's gap, and half of what distinguishes it from other
texts is turned in random directions. A linear probe for words is trained under noise on the first caption and
tested on the displaced one. The rule chooses the noise with which the probe ranks words best.

No constant is estimated from an image: the gap's length is that of published CLIPs (CLOSE, arXiv
2211.09778, table on shifts: 0.8; Liang et al., arXiv 2203.02053: 0.82), and the turn has equal parts.
"""

import numpy as np

from close_transfer.core.arrays import Float64Array, normalize_rows
from close_transfer.core.errors import UserError
from close_transfer.modality_gap.keyword_probe import (
    build_keyword_matrix,
    check_noise_only,
    compute_average_precisions,
    score_probe,
)
from close_transfer.modality_gap.noise_selection.choice import NoiseChoice, limit_scenes
from close_transfer.modality_gap.noise_selection.pairs import find_related_pairs
from close_transfer.modality_gap.vectors import GroupedVectors, Ints
from close_transfer.models.noise_scale import NoiseScale

_GAP_LENGTH = 0.8  # of published CLIPs; see above
_TURNED = 0.5  # share of the variance that is turned in other directions
_NUM_DRAWS = 8  # draws of gap and turn, over which precision is averaged
# Scales that are tried: the cosine of a text with its noised self.
_COSINES = (0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
_MOST_TEXTS = 3_000  # texts that the probes learn from and are tested on; bounds the cost
_LEAST_SCENES, _MOST_SHARE = 10, 0.4  # a keyword is in at least this number and at most this share of the scenes


def shift_randomly(vectors: Float64Array, mean: Float64Array, seed: int) -> Float64Array:
    """Displace vectors as another modality might have them; shape (n, d) before and after.

    Args:
        vectors: unit vectors of texts.
        mean: mean of many texts, shape (d,).
        seed: seed of the gap's direction and of the turn.
    """
    rng = np.random.default_rng(seed)
    dim = vectors.shape[1]
    turn, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    drawn = rng.standard_normal(dim)
    gap = _GAP_LENGTH * drawn / np.linalg.norm(drawn)
    deviations = vectors - mean
    return normalize_rows(mean + np.sqrt(1 - _TURNED) * deviations + np.sqrt(_TURNED) * deviations @ turn + gap)


def _pair_texts_by_scene(vectors: GroupedVectors, seed: int) -> tuple[Ints, Ints, bool]:
    """Return two texts of each scene, or each text and its nearest if scenes have one."""
    first, second, grouped = find_related_pairs(vectors, seed)
    if not grouped:
        return first, second, False
    _, positions = np.unique(vectors.scene_of_text[first], return_index=True)
    return first[positions], second[positions], True


def choose_by_shifted_validation(vectors: GroupedVectors, seed: int = 0) -> NoiseChoice:
    """Choose the scale with the best mean average precision of words in displaced other texts.

    Raises:
        UserError: if the strings of the texts are not known, or share too few words to learn any.
    """
    if not vectors.strings:
        raise UserError(
            "noise_rule=shifted_validation needs the texts themselves, but only their vectors are known. Choose another noise_rule"
        )
    sample = limit_scenes(vectors, _MOST_TEXTS, seed)
    first, second, grouped = _pair_texts_by_scene(sample, seed)
    captions = [(sample.strings[i],) for i in first]
    words, labels = build_keyword_matrix(captions, _LEAST_SCENES, max(_LEAST_SCENES, int(_MOST_SHARE * len(captions))))
    if len(words) < 2:
        raise UserError(
            f"noise_rule=shifted_validation: {len(captions)} scenes have {len(words)} words in {_LEAST_SCENES} scenes or "
            "more, which is too few. Give more texts, or another noise_rule"
        )
    has_keyword = labels.any(axis=1)
    mean = sample.texts.mean(axis=0)
    shifted = np.concatenate([shift_randomly(sample.texts[second], mean, seed + draw) for draw in range(_NUM_DRAWS)])
    rows, targets = np.tile(has_keyword, _NUM_DRAWS), np.tile(labels, (_NUM_DRAWS, 1))
    precisions = {}
    for cosine in _COSINES:
        std = NoiseScale.from_cosine(cosine, sample.dim).std
        scores = score_probe(sample.texts[first], labels, shifted, check_noise_only(sample.dim, std), seed)
        precisions[std] = float(compute_average_precisions(scores[rows], targets[rows]).mean())
    best_std = max(precisions, key=lambda std: precisions[std])
    evidence = {
        "keywords": float(len(words)),
        **{f"precision_at_{std:.3g}": value for std, value in precisions.items()},
    }
    return NoiseChoice("shifted_validation", "T0", best_std, evidence, grouped)
