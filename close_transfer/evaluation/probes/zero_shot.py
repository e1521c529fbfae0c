"""Zero-shot classification: the class whose texts are most similar to the image, for encoders of both (CLIP)."""

from collections.abc import Mapping, Sequence

from close_transfer.core.arrays import Float32Array, Float64Array, IntArray, normalize_rows


def write_class_texts(
    classes: Sequence[str], templates: Sequence[str], given: Mapping[str, tuple[str, ...]]
) -> list[list[str]]:
    """Return the texts of each class: those that are given, else the templates with the class's name in place of {}.

    Args:
        classes: names of the classes; an underscore in a name counts as a space.
        templates: texts with {}.
        given: texts by class; empty if there are none.
    """
    return [
        list(given[name]) if name in given else [text.replace("{}", name.replace("_", " ")) for text in templates]
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
