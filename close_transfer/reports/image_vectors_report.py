"""Report of images measured alone: gap.html, a self-contained file, and a summary for the terminal."""

from pathlib import Path

from close_transfer.config.measure_gap import MeasureGapConfig
from close_transfer.modality_gap.image_measurement import ImageMeasurement
from close_transfer.reports import gap_figures
from close_transfer.reports.gap_report import build_data_uri, format_number
from close_transfer.reports.template_pages import write_template_page

_METRIC_MEANINGS = {
    "unrelated_image_cosine": "cosine: two images",
    "image_mean_length": "length of the mean image; 1 if all point the same way",
    "image_std": "standard deviation per coordinate",
    "image_effective_dimension": "effective dimension (participation ratio)",
}


def _list_rows(measured: ImageMeasurement) -> list[tuple[str, str, str, str, str]]:
    """Return name, meaning, value, and the ends of the interval of each metric."""
    rows = []
    for name, meaning in _METRIC_MEANINGS.items():
        low, high = measured.intervals[name]
        rows.append((name, meaning, format_number(measured.metrics[name]), format_number(low), format_number(high)))
    return rows


def describe_images(measured: ImageMeasurement) -> str:
    """Return the metrics with their intervals, one per line, and what is missing."""
    num_images, dim = measured.images.shape
    rows = [f"  {meaning:<70} {value:>7}   [{low}, {high}]" for _, meaning, value, low, high in _list_rows(measured)]
    return "\n".join([f"{num_images:,} images, {dim} dimensions", *rows, f"note: {measured.note}"])


def write_image_page(measured: ImageMeasurement, config: MeasureGapConfig) -> Path:
    """Write gap.html next to gap.json, and return its path."""
    path = Path(config.output) / "gap.html"
    num_images, dim = measured.images.shape
    write_template_page(
        path,
        "image_vectors.html",
        facts=measured.provenance,
        num_images=num_images,
        dim=dim,
        note=measured.note,
        rows=_list_rows(measured),
        cosines=build_data_uri(gap_figures.plot_image_cosines(measured.images, config.seed)),
        spectra=build_data_uri(gap_figures.plot_spectra({"images": measured.spectrum}, dim)),
        is_builtin=measured.provenance.get("data") == "picturebook",
    )
    return path
