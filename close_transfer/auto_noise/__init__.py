"""Chooses the scale of the noise: from texts alone, or with pictures where a user has some.

noise=auto            T0, from the training texts
noise=auto-unpaired   T1, from statistics= that saw pictures of other scenes
noise=auto-paired     T4, from statistics= that saw pairs
"""

from close_transfer.auto_noise.choice import Choice, Sensitivity, with_sensitivity
from close_transfer.auto_noise.rules import TEXT_RULES
from close_transfer.auto_noise.with_pictures import paired_rule, unpaired_rule
from close_transfer.grouped_vectors import GroupedVectors

__all__ = [
    "TEXT_RULES",
    "Choice",
    "Sensitivity",
    "choose_from_texts",
    "paired_rule",
    "unpaired_rule",
    "with_sensitivity",
]


def choose_from_texts(rule: str, vectors: GroupedVectors, seed: int) -> Choice:
    """What a rule of `TEXT_RULES` chooses, with its sensitivity.

    Raises:
        UserError: if the rule cannot choose from these texts.
    """
    return with_sensitivity(TEXT_RULES[rule](vectors, seed), vectors, seed)
