"""The noise under which words learned from one text are best found in another that was displaced.

An image's vector is not where its captions are: it lies elsewhere as a whole, and what they have in common
points in partly other directions. Neither can be seen in texts, so both are played: another caption of the
same scene is moved by a random vector as long as CLIP's gap, and half of what sets it apart from other
texts is turned in random directions. A linear probe for words is trained under noise on the first caption and
asked of the displaced one; the noise at which it ranks words best is chosen.

The constants are not estimated from any image: the gap's length is that of published CLIPs (CLOSE, arXiv
2211.09778, table on shifts: 0.8; Liang et al., arXiv 2203.02053: 0.82), the turn is by equal parts.
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

_GAP_LENGTH = 0.8
_TURNED = 0.5  # share of the variance that points elsewhere
_NUM_DRAWS = 8  # of gap and turn, over which precision is averaged
_COSINES = (0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
_MOST_TEXTS = 3_000
_LEAST_SCENES, _MOST_SHARE = 10, 0.4  # a keyword is a word of so many scenes at least, of this share at most


def shift_randomly(vectors: Float64Array, mean: Float64Array, seed: int) -> Float64Array:
    """Vectors as another modality might have them; shape (n, d) both.

    Args:
        vectors: unit vectors of texts.
        mean: of many texts, shape (d,).
        seed: of the gap's direction and of the turn.
    """
    rng = np.random.default_rng(seed)
    dim = vectors.shape[1]
    turn, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    drawn = rng.standard_normal(dim)
    gap = _GAP_LENGTH * drawn / np.linalg.norm(drawn)
    deviations = vectors - mean
    return normalize_rows(mean + np.sqrt(1 - _TURNED) * deviations + np.sqrt(_TURNED) * deviations @ turn + gap)


def _pair_texts_by_scene(vectors: GroupedVectors, seed: int) -> tuple[Ints, Ints, bool]:
    """Two texts of each scene, or each text and its nearest where scenes have one."""
    first, second, grouped = find_related_pairs(vectors, seed)
    if not grouped:
        return first, second, False
    _, positions = np.unique(vectors.scene_of_text[first], return_index=True)
    return first[positions], second[positions], True


def choose_by_shifted_validation(vectors: GroupedVectors, seed: int = 0) -> NoiseChoice:
    """The scale with the best mean average precision of words in displaced other texts.

    Raises:
        UserError: if the texts themselves are not known, or share too few words to learn any.
    """
    if not vectors.strings:
        raise UserError("noise_rule=shifted_validation needs the texts and not their vectors alone")
    sample = limit_scenes(vectors, _MOST_TEXTS, seed)
    first, second, grouped = _pair_texts_by_scene(sample, seed)
    captions = [(sample.strings[i],) for i in first]
    words, labels = build_keyword_matrix(captions, _LEAST_SCENES, max(_LEAST_SCENES, int(_MOST_SHARE * len(captions))))
    if len(words) < 2:
        raise UserError(
            f"noise_rule=shifted_validation: {len(captions)} scenes have {len(words)} words in {_LEAST_SCENES} scenes or "
            "more; give more texts, or another noise_rule"
        )
    has_keyword = labels.any(axis=1)
    mean = sample.texts.mean(axis=0)
    shifted = np.concatenate([shift_randomly(sample.texts[second], mean, seed + draw) for draw in range(_NUM_DRAWS)])
    rows, targets = np.tile(has_keyword, _NUM_DRAWS), np.tile(labels, (_NUM_DRAWS, 1))
    precisions = {}
    for cosine in _COSINES:
        std = NoiseScale.of_cosine(cosine, sample.dim).std
        scores = score_probe(sample.texts[first], labels, shifted, check_noise_only(sample.dim, std), seed)
        precisions[std] = float(compute_average_precisions(scores[rows], targets[rows]).mean())
    best_std = max(precisions, key=lambda std: precisions[std])
    evidence = {
        "keywords": float(len(words)),
        **{f"precision_at_{std:.3g}": value for std, value in precisions.items()},
    }
    return NoiseChoice("shifted_validation", "T0", best_std, evidence, grouped)
