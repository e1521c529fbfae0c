"""Chooses the scale of the noise: from texts alone, or with images where a user has some.

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


# Rules that measure how far texts of one scene lie apart; an average of several lies nearer to another average.
_OF_SPREAD = ("largest_coordinate", "cosine")


def choose_from_texts(rule: str, vectors: GroupedVectors, seed: int, texts_an_input: float = 1.0) -> NoiseChoice:
    """What a rule of `TEXT_RULES` chooses, with its sensitivity.

    Args:
        rule: its name.
        vectors: single texts by scene.
        seed: of draws.
        texts_an_input: how many texts are averaged into one input (CLOSE's scenes for VQA: all captions of a
            image); averages of n differ by 1 / sqrt(n) of what single texts do.

    Raises:
        UserError: if the rule cannot choose from these texts.
    """
    choice = TEXT_RULES[rule](vectors, seed)
    if rule in _OF_SPREAD and texts_an_input != 1:
        choice = choice.of_averages(texts_an_input)
    return add_sensitivity(choice, vectors, seed)
