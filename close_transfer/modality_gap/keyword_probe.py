"""Linear probe for words: the information about words that transfers from text vectors to image vectors.

A captioner trained on a few hundred pairs resolves little; a linear probe for single words resolves more. It
learns from a caption's vector, under the method's noise, the words that people used for the scene, and is
tested on the image's vector.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from close_transfer.config.choices import InputModality
from close_transfer.core.arrays import FloatArray
from close_transfer.models.adapters import AdapterChain, AdapterContext, NoiseSource
from close_transfer.models.text_memory import ExactMemory

_WORD = re.compile(r"[a-z]{3,}")
# Each step draws new noise and takes all scenes at once, so a few hundred steps of a convex problem are enough.
_STEPS = 300
_LEARNING_RATE = 0.02
_WEIGHT_DECAY = 1e-4


def build_keyword_matrix(
    references: Sequence[Sequence[str]], least: int, most: int
) -> tuple[list[str], NDArray[np.bool_]]:
    """Return the keywords of some captions, and which scene has which.

    Args:
        references: captions of each scene.
        least, most: a keyword is a word of three letters or more in the captions of at least `least` and at most
            `most` scenes. This leaves out words that are too rare to learn and words that fit every scene.

    Returns:
        The keywords, and a matrix of shape (scenes, keywords).
    """
    scene_words = [set(_WORD.findall(" ".join(group).lower())) for group in references]
    counts = Counter(word for words in scene_words for word in words)
    keywords = sorted(word for word, count in counts.items() if least <= count <= most)
    return keywords, np.array([[word in words for word in keywords] for words in scene_words])


def check_noise_only(dim: int, std: float) -> AdapterChain:
    """Return plain Gaussian noise as an adapter."""
    return AdapterChain([{"name": "gaussian"}], AdapterContext(dim, std))


def score_probe(
    train: FloatArray,
    labels: NDArray[np.bool_],
    test: FloatArray,
    adapter: AdapterChain,
    seed: int,
    input_modality: InputModality = "text",
    text_memory_temperature: float | None = None,
) -> FloatArray:
    """Return logits of every keyword for test vectors, by logistic regression on train vectors under noise.

    Args:
        train: vectors to train on, shape (rows, dim).
        labels: shape (rows, keywords).
        test: vectors of images, shape (others, dim).
        adapter: applied to both; its noise is drawn anew at every full-batch step.
        seed: seed of the noise.
        input_modality: source of `train`, "text" or "image".
        text_memory_temperature: test vectors are projected onto the adapted train vectors with it; None: they are not.

    Returns:
        Shape (others, keywords).
    """
    # scikit-learn's LogisticRegression sees fixed rows, so it cannot draw the noise anew at every step; ten noised
    # copies of every row do not replace that.
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = torch.from_numpy(np.asarray(train, np.float32)), torch.from_numpy(labels).float()
    scale = inputs.shape[1] ** 0.5
    linear = torch.nn.Linear(inputs.shape[1], labels.shape[1])
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.constant_(linear.bias, -3.0)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    for _ in range(_STEPS):
        adapted = adapter(inputs, input_modality, NoiseSource(generator, 0, len(inputs)))
        loss = F.binary_cross_entropy_with_logits(linear(adapted * scale), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    adapter.eval()
    with torch.no_grad():
        adapted = adapter(torch.from_numpy(np.asarray(test, np.float32)), "image")
        if text_memory_temperature is not None:
            adapted = ExactMemory(adapter(inputs, input_modality).numpy(), text_memory_temperature)(adapted)
        logits: torch.Tensor = linear(adapted * scale)
        return logits.numpy()


def compute_average_precisions(scores: FloatArray, labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each scene's average precision over keywords, in 0..1; shape (scenes,).

    Average precision is the mean, over the keywords that the scene has, of the precision among all
    keywords ranked at least as high (Manning et al., Introduction to Information Retrieval, section
    8.4). A mean over scenes, unlike one over keywords, can be resampled by scene without bias.

    Keywords of the same score are ranked in their order. scikit-learn ranks them all last, and gives the
    same numbers to the last bit or two if there are none; it takes fifty times as long.

    Args:
        scores: shape (scenes, keywords).
        labels: the same shape; every scene has a keyword.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    relevant = np.take_along_axis(labels, order, axis=1)
    precision = relevant.cumsum(axis=1) / np.arange(1, labels.shape[1] + 1)
    result: NDArray[np.float64] = (precision * relevant).sum(axis=1) / relevant.sum(axis=1)
    return result
