"""Record of the probes of an encoder: predictions and accuracies, as results.json and predictions.jsonl."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from close_transfer.config.probe_encoder import ProbeEncoderConfig
from close_transfer.core.arrays import Float64Array, IntArray
from close_transfer.core.atomic_files import remove_stale, write_json, write_text
from close_transfer.data.classification import Classification
from close_transfer.data.examples import fingerprint_examples
from close_transfer.encoders import AnyEncoder
from close_transfer.evaluation.provenance import get_git_commit, get_package_versions
from close_transfer.evaluation.results import Results
from close_transfer.metrics.bootstrap import average_scores


@dataclass
class ProbeRecord:
    """Predictions of all probes of one classification.

    Attributes:
        task: images and classes.
        training_labels, labels: classes of the training and test images, shape (images,) each.
        predictions: predicted classes by probe, shape (seeds, test images).
        choices: values that probes chose, by name.
        notes: facts about the probes, one sentence each.
    """

    task: Classification
    training_labels: IntArray
    labels: IntArray
    predictions: dict[str, IntArray] = field(default_factory=dict)
    choices: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def compute_correct(self) -> dict[str, Float64Array]:
        """Return, by probe, the share of seeds that are right about each test image, in percent, shape (images,).

        `majority` always predicts the most frequent class of the training images.
        """
        majority = np.bincount(self.training_labels).argmax()
        predictions = {"majority": np.full((1, len(self.labels)), majority), **self.predictions}
        return {name: 100.0 * (chosen == self.labels).mean(axis=0) for name, chosen in predictions.items()}

    def describe_seeds(self) -> dict[str, Any]:
        """Return accuracy by seed, with mean and standard error, for probes with several seeds."""
        tables = {}
        for name, chosen in self.predictions.items():
            if len(chosen) > 1:
                by_seed = 100.0 * (chosen == self.labels).mean(axis=1)
                error = by_seed.std(ddof=1) / np.sqrt(len(by_seed))
                tables[name] = {"by_seed": by_seed.tolist(), "standard_error": float(error)}
        return tables


def build_probe_results(
    config: ProbeEncoderConfig,
    records: Sequence[ProbeRecord],
    encoder: AnyEncoder,
    notes: Sequence[str],
    system: dict[str, Any],
) -> Results:
    """Return the content of results.json; a metric is named <target>/<probe>.

    Args:
        config: settings.
        records: predictions of each classification.
        encoder: encoder that was probed.
        notes: facts for readers, one sentence each.
        system: fields that name the system: the run, or the encoder; with `config`, settings by command.
    """
    metrics: dict[str, float] = {}
    intervals: dict[str, list[float]] = {}
    for record in records:
        values, ranges = average_scores(record.compute_correct(), config.num_bootstrap)
        metrics |= {f"{record.task.name}/{name}": value for name, value in values.items()}
        intervals |= {f"{record.task.name}/{name}": list(ends) for name, ends in ranges.items()}
    tables = {
        record.task.name: {
            "num_classes": len(record.task.classes),
            "num_training": len(record.task.training),
            "num_test": len(record.task.testing),
            "seeds": record.describe_seeds(),
            **record.choices,
        }
        for record in records
    }
    tested = [example for record in records for example in record.task.testing]
    return Results(
        metrics=metrics,
        intervals=intervals,
        num_examples=len({example.id for example in tested}),
        tables=tables,
        notes=list(notes),
        task="probes",
        data=Path(config.images).name if config.images else config.data.name,
        split=config.used_split,
        scene="image",
        data_fingerprint=fingerprint_examples(tested),
        encoder=encoder.name,
        versions=get_package_versions(),
        git_commit=get_git_commit(),
        **system | {"config": system["config"] | {"probe": config.model_dump(mode="json")}},
    )


def _format_predictions(records: Sequence[ProbeRecord]) -> str:
    lines = []
    for record in records:
        classes = record.task.classes
        for row, example in enumerate(record.task.testing):
            chosen = {name: [classes[seed[row]] for seed in each] for name, each in record.predictions.items()}
            lines.append({"id": example.id, "target": record.task.name, "class": example.category, **chosen})
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def write_probes(
    config: ProbeEncoderConfig,
    records: Sequence[ProbeRecord],
    encoder: AnyEncoder,
    notes: Sequence[str],
    system: dict[str, Any],
) -> Results:
    """Write predictions.jsonl and results.json to the output folder, and return the results; see `build_probe_results`."""
    folder = Path(config.output)
    remove_stale(folder)
    results = build_probe_results(config, records, encoder, notes, system)
    write_text(folder / "predictions.jsonl", _format_predictions(records))
    write_json(folder / "results.json", results.as_dict())
    return results
