"""Figures of gap.html as SVG: cosines, text and image vectors in two dimensions, spectra, and effects of noise."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from close_transfer.core.arrays import Float64Array, IntArray, normalize_rows
from close_transfer.core.svg import render_svg
from close_transfer.modality_gap.measurement import Gap
from close_transfer.modality_gap.vectors import GroupedVectors

TEXTS, IMAGES, NOISED, QUIET = "#2563a8", "#c2410c", "#7fb0de", "#8a94a3"  # colours
_MAX_COSINES = 20_000  # pairs per histogram; more do not change its shape


def _hide_spines(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _draw_scene_pairs(num_scenes: int, seed: int) -> tuple[IntArray, IntArray]:
    """Draw pairs of different scenes, with replacement."""
    rng = np.random.default_rng(seed)
    count = min(_MAX_COSINES, num_scenes * (num_scenes - 1))
    first = rng.integers(0, num_scenes, count)
    # The offset is between 1 and num_scenes - 1, so the second scene differs from the first.
    return first, (first + rng.integers(1, num_scenes, count)) % num_scenes


def _draw_texts(vectors: GroupedVectors, scenes: IntArray, seed: int) -> IntArray:
    """Draw one text of each scene, as its row."""
    counts = vectors.texts_per_scene().astype(np.int64)
    firsts = np.cumsum(counts) - counts
    return firsts[scenes] + np.random.default_rng(seed).integers(0, counts[scenes])


def plot_cosine_histograms(vectors: GroupedVectors, seed: int = 0) -> bytes:
    """Plot histograms of cosines: between images and their texts, unrelated texts, and unrelated images."""
    scenes = vectors.scene_of_text
    first, second = _draw_scene_pairs(vectors.num_scenes, seed)
    # Two seeds, so that the texts of both sides are drawn independently.
    texts = [vectors.texts[_draw_texts(vectors, side, seed + k)] for k, side in enumerate((first, second))]
    kinds = {"two texts, different scenes": ((texts[0] * texts[1]).sum(axis=1), TEXTS)}
    same_scene_rows = np.flatnonzero(scenes[1:] == scenes[:-1])
    if len(same_scene_rows):
        cosines = (vectors.texts[same_scene_rows] * vectors.texts[same_scene_rows + 1]).sum(axis=1)
        kinds["two texts, one scene"] = (cosines, NOISED)
    if vectors.images is not None:
        images = vectors.images
        kinds["two images"] = ((images[first] * images[second]).sum(axis=1), QUIET)
        kinds["an image and its text"] = ((images[scenes] * vectors.texts).sum(axis=1), IMAGES)
    return _plot_histograms(kinds)


def plot_image_cosines(images: Float64Array, seed: int = 0) -> bytes:
    """Plot a histogram of cosines between unrelated images, unit vectors of shape (scenes, d)."""
    first, second = _draw_scene_pairs(len(images), seed)
    return _plot_histograms({"two images": ((images[first] * images[second]).sum(axis=1), IMAGES)})


def _plot_histograms(kinds: Mapping[str, tuple[Float64Array, str]]) -> bytes:
    """Plot histograms of cosines by name, each with its colour."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    low = min(values.min() for values, _ in kinds.values())
    edges = np.linspace(low, 1, 81)
    for name, (values, colour) in kinds.items():
        axes.hist(values, edges.tolist(), density=True, histtype="stepfilled", alpha=0.55, color=colour, label=name)
    axes.set(xlabel="cosine", yticks=[])
    axes.legend(frameon=False, loc="upper left")
    _hide_spines(axes)
    return render_svg(figure)


def _plot_points(axes: Axes, points: Float64Array, colour: str, name: str) -> None:
    axes.scatter(points[:, 0], points[:, 1], s=7, color=colour, alpha=0.6, linewidths=0, label=name)


def plot_clouds(vectors: GroupedVectors, noise: float, num_drawn: int, seed: int = 0) -> bytes:
    """Plot text and image vectors in two dimensions, without and with noise on the texts.

    The axes of both halves are the first two principal directions of clean texts and images together.
    """
    rng = np.random.default_rng(seed)
    scenes = np.sort(rng.permutation(vectors.num_scenes)[:num_drawn])
    texts = vectors.texts[_draw_texts(vectors, scenes, seed)]
    all_vectors = texts if vectors.images is None else np.concatenate([texts, vectors.images[scenes]])
    centre = all_vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(all_vectors - centre, full_matrices=False)
    noised = normalize_rows(texts + noise * rng.standard_normal(texts.shape))
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    halves = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, points, colour, name, title in (
        (halves[0], texts, TEXTS, "texts", "as encoded"),
        (halves[1], noised, NOISED, "texts with noise", f"noise {noise:g} per coordinate"),
    ):
        if vectors.images is not None:
            _plot_points(axes, (vectors.images[scenes] - centre) @ directions[:2].T, IMAGES, "images")
        _plot_points(axes, (points - centre) @ directions[:2].T, colour, name)
        axes.set_title(title, fontsize=11)
        axes.legend(frameon=False, markerscale=2)
        _hide_spines(axes)
    return render_svg(figure)


def plot_spectra(spectra: Mapping[str, Sequence[float]], dim: int) -> bytes:
    """Plot the share of the variance along each principal direction, of texts, images and their difference.

    Args:
        spectra: shares by cloud, as `Gap.spectra`.
        dim: width of the vectors.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    styles = {"texts": ("texts", TEXTS), "images": ("images", IMAGES), "difference": ("image minus text", "#222")}
    for name, values in spectra.items():
        label, colour = styles[name]
        shares = np.array(values)
        axes.plot(np.arange(1, len(shares) + 1), np.where(shares > 1e-9, shares, np.nan), color=colour, label=label)
    axes.axhline(1 / dim, color=QUIET, lw=0.8, ls=":", label="isotropic noise")
    axes.set(xlabel="principal direction", ylabel="share of the variance", yscale="log", xscale="log")
    axes.legend(frameon=False)
    _hide_spines(axes)
    return render_svg(figure)


def plot_noise_curves(gap: Gap) -> bytes:
    """Plot the neighbourhoods of noised texts by scale of noise, with dotted lines for images."""
    neighbourhood_by_noise = {
        neighbourhood.noise: neighbourhood for neighbourhood in gap.neighbourhoods if neighbourhood.noise is not None
    }
    images = next((neighbourhood for neighbourhood in gap.neighbourhoods if neighbourhood.noise is None), None)
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    for label, colour, field in (
        ("cosine with the clean text", TEXTS, "cosine_to_texts"),
        ("nearest text is of the same scene", "#15803d", "own_scene"),
        ("neighbours kept", QUIET, "kept_neighbours"),
        ("cosine with the image", IMAGES, "cosine_to_image"),
    ):
        values = [getattr(neighbourhood, field) for neighbourhood in neighbourhood_by_noise.values()]
        if None not in values:
            axes.plot([*neighbourhood_by_noise], values, color=colour, marker="o", ms=4, label=label)
        if images is not None and field in ("cosine_to_texts", "own_scene"):
            axes.axhline(getattr(images, field), color=colour, lw=1, ls=":")
    axes.set(xlabel="noise, standard deviation per coordinate", ylim=(min(0, axes.get_ylim()[0]), 1.02))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _hide_spines(axes)
    return render_svg(figure)
