"""Rules that choose the scale of the noise, from texts alone or with images.

noise=auto            T0, from the training texts
noise=auto-unpaired   T1, from statistics= that saw images of other scenes
noise=auto-paired     T4, from statistics= that saw pairs
"""

from close_transfer.modality_gap.noise_selection.choice import NoiseChoice, Sensitivity, add_sensitivity
from close_transfer.modality_gap.noise_selection.image_rules import choose_paired, choose_unpaired
from close_transfer.modality_gap.noise_selection.text_rules import TEXT_RULES
from close_transfer.modality_gap.vectors import GroupedVectors

__all__ = [
    "TEXT_RULES",
    "NoiseChoice",
    "Sensitivity",
    "add_sensitivity",
    "choose_from_texts",
    "choose_paired",
    "choose_unpaired",
]


# Rules that measure the distance of texts of one scene; averages of several texts are closer to each other.
_OF_SPREAD = ("largest_coordinate", "cosine")


def choose_from_texts(rule: str, vectors: GroupedVectors, seed: int, texts_per_input: float = 1.0) -> NoiseChoice:
    """Return the choice of a rule in `TEXT_RULES`, with its sensitivity.

    Args:
        rule: name of the rule.
        vectors: single texts by scene.
        seed: seed of draws.
        texts_per_input: number of texts averaged into one input (CLOSE's scenes for VQA: all captions of an
            image); averages of n differ by 1 / sqrt(n) of the difference of single texts.

    Raises:
        UserError: if the rule cannot choose from these texts.
    """
    choice = TEXT_RULES[rule](vectors, seed)
    if rule in _OF_SPREAD and texts_per_input != 1:
        choice = choice.rescale_to_averages(texts_per_input)
    return add_sensitivity(choice, vectors, seed)
