"""Zero-shot classification: the class whose texts are most similar to an image, or likeliest given the image.

Similarity is that of an encoder of texts and images (CLIP), likelihood that of a captioner (arXiv 2306.07915).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from close_transfer.core.arrays import Float32Array, Float64Array, IntArray, normalize_rows


def write_class_texts(
    classes: Sequence[str], templates: Sequence[str], given: Mapping[str, tuple[str, ...]]
) -> list[list[str]]:
    """Return the texts of each class: those that are given, else the templates with the class's name in place of {}.

    Each text is there once, because a sum over a class's texts would count a repeated one twice.

    Args:
        classes: names of the classes; an underscore in a name counts as a space.
        templates: texts with {}.
        given: texts by class; empty if there are none.
    """
    return [
        list(dict.fromkeys(given.get(name) or [text.replace("{}", name.replace("_", " ")) for text in templates]))
        for name in classes
    ]


def average_class_vectors(text_vectors: Sequence[Float32Array]) -> Float64Array:
    """Return a unit vector per class: the mean of its texts' unit vectors (CLIP's ensemble of templates).

    Args:
        text_vectors: raw vectors of each class's texts, shape (texts, dim) each.

    Returns:
        Vectors of shape (classes, dim).
    """
    return normalize_rows([normalize_rows(vectors).mean(axis=0) for vectors in text_vectors])


def predict_zero_shot(image_vectors: Float32Array, class_vectors: Float64Array) -> IntArray:
    """Return the class with the highest cosine for each raw image vector, shape (images,)."""
    # The image's length does not change the order of the classes.
    classes: IntArray = (image_vectors @ class_vectors.T).argmax(axis=1)
    return classes


def sum_class_likelihoods(log_likelihoods: Float32Array, num_texts: Sequence[int]) -> Float64Array:
    """Return the log-likelihood of each class, shape (images, classes): that an image's caption is any of its texts.

    This is the log of the sum of the texts' likelihoods. Of a class with one text, it is that of the text.

    Args:
        log_likelihoods: of each text, the texts of a class next to each other, shape (images, texts).
        num_texts: number of texts of each class.
    """
    by_class = np.split(log_likelihoods.astype(np.float64), np.cumsum(num_texts)[:-1], axis=1)
    return np.stack([np.logaddexp.reduce(scores, axis=1) for scores in by_class], axis=1)
