"""Scores what needs no training: the answer of the nearest training text, or the encoder choosing among candidates.

    python scripts/eval_baseline.py task=captioning output=runs/nearest
    python scripts/eval_baseline.py task=vqa baseline=zero-shot output=runs/zero-shot
    python scripts/eval_baseline.py data=table data.path=test.jsonl data.image_column=file data@training=table training.path=captions.jsonl output=runs/nearest

All settings: configs/baseline.yaml.
"""

from pathlib import Path

from close_transfer.cli import command
from close_transfer.config.baseline import BaselineConfig
from close_transfer.core.atomic_files import read_json
from close_transfer.pipelines.baseline import evaluate_baseline
from close_transfer.reports.evaluation_report import leakage_in_words


@command("baseline", BaselineConfig)
def main(config: BaselineConfig) -> None:
    scores = evaluate_baseline(config)
    for name, value in scores.metrics.items():
        low, high = scores.intervals[name]
        print(f"  {name:<24} {value:.1f} ({low:.1f} to {high:.1f})")
    leakage = read_json(Path(config.output) / "results.json")["leakage"]
    if leakage.get("num_identical") or leakage.get("num_near") or not leakage["checked"]:
        print(f"leakage: {leakage_in_words(leakage)}")
    print(f"in {config.output}")


if __name__ == "__main__":
    main()
