"""Report of a modality gap: gap.html, a self-contained file, and a summary for the terminal."""

import base64
from pathlib import Path
from typing import Any

from close_transfer.config.measure_gap import MeasureGapConfig
from close_transfer.modality_gap.measurement import Gap
from close_transfer.models.noise_scale import NoiseScale
from close_transfer.reports import gap_figures
from close_transfer.reports.template_pages import write_template_page

_METRIC_MEANINGS = {
    "paired_cosine": "cosine: an image and its own text",
    "unrelated_cross_cosine": "cosine: an image and another scene's text",
    "unrelated_text_cosine": "cosine: two texts of different scenes",
    "same_scene_text_cosine": "cosine: two texts of the same scene",
    "unrelated_image_cosine": "cosine: two images",
    "mean_distance": "distance between the mean image and the mean text",
    "centred_distance": "distance of images and texts without their means, corrected for chance",
    "difference_mean_share": "image minus text: share (squared) that is the same for all pairs",
    "difference_std": "rest of that difference: standard deviation per coordinate",
    "difference_effective_directions": "rest of that difference: effective directions (participation ratio)",
    "difference_directions_90": "rest of that difference: directions that carry 90% of it",
    "caption_spread": "texts of one scene: standard deviation per coordinate",
    "text_effective_dimension": "effective dimension of the texts",
    "image_effective_dimension": "effective dimension of the images",
    "recall@1": "recall@1, image to text",
    "recall@5": "recall@5, image to text",
    "recall@10": "recall@10, image to text",
    "text_to_image_recall@1": "recall@1, text to image",
    "text_to_image_recall@5": "recall@5, text to image",
    "text_to_image_recall@10": "recall@10, text to image",
}
_DRAWN_NOISE = 0.1  # the figure shows the measured scale nearest to it


def format_number(value: float) -> str:
    """Return a metric's value with three decimals, or one if it is 10 or more."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def format_verdict(gap: Gap) -> str:
    """Describe the gap in two sentences; empty without images."""
    metrics = gap.metrics
    if "paired_cosine" not in metrics:
        return ""
    paired, unrelated = metrics["paired_cosine"], metrics["unrelated_text_cosine"]
    comparison = "less" if paired < unrelated else "more"
    return (
        f"An image is {comparison} similar to its own text ({paired:.2f}) than two unrelated texts are to each other "
        f"({unrelated:.2f}). Removing the mean difference removes {metrics['difference_mean_share']:.0%} of the squared "
        f"difference; the rest spans about {metrics['difference_effective_directions']:.0f} of {gap.vectors.dim} directions."
    )


def describe(gap: Gap) -> str:
    """Return the metrics with their intervals, one per line."""
    lines = [f"{gap.vectors.num_scenes:,} scenes, {len(gap.vectors.texts):,} texts, {gap.vectors.dim} dimensions"]
    for name, meaning in _METRIC_MEANINGS.items():
        if name in gap.metrics:
            low, high = gap.intervals[name]
            value = gap.metrics[name]
            lines.append(f"  {meaning:<70} {format_number(value):>7}   [{format_number(low)}, {format_number(high)}]")
    lines += [
        f"  {f'noise chosen by {choice.rule} ({choice.data_regime})':<70} {choice.std:>7.3f}" for choice in gap.choices
    ]
    return "\n".join([*lines, format_verdict(gap)]).rstrip()


def build_data_uri(svg: bytes) -> str:
    """Return a figure as the address of an image in a page."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _build_noise_rows(gap: Gap) -> list[dict[str, Any]]:
    rows = []
    for neighbourhood in gap.neighbourhoods:
        scale = None if neighbourhood.noise is None else NoiseScale(neighbourhood.noise, gap.vectors.dim)
        rows.append({"scale": scale, **neighbourhood.as_dict()})
    return rows


def write_page(gap: Gap, config: MeasureGapConfig) -> Path:
    """Write gap.html next to gap.json, and return its path."""
    noise = min(config.noises, key=lambda std: abs(std - _DRAWN_NOISE), default=_DRAWN_NOISE)
    path = Path(config.output) / "gap.html"
    write_template_page(
        path,
        "modality_gap.html",
        gap=gap,
        facts=gap.provenance,
        verdict=format_verdict(gap),
        rows=[
            (name, meaning, format_number(gap.metrics[name]), *map(format_number, gap.intervals[name]))
            for name, meaning in _METRIC_MEANINGS.items()
            if name in gap.metrics
        ],
        noise_rows=_build_noise_rows(gap),
        cosines=build_data_uri(gap_figures.plot_cosine_histograms(gap.vectors, config.seed)),
        clouds=build_data_uri(gap_figures.plot_clouds(gap.vectors, noise, config.num_drawn, config.seed)),
        spectra=build_data_uri(gap_figures.plot_spectra(gap.spectra, gap.vectors.dim)),
        noise_curves=build_data_uri(gap_figures.plot_noise_curves(gap)) if config.noises else None,
        is_builtin=gap.provenance.get("data") == "picturebook",
    )
    return path
