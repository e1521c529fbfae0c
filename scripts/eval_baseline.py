"""Scores what needs no training: the answer of the nearest training text, or the encoder choosing among candidates.

    python scripts/eval_baseline.py task=captioning output=runs/nearest
    python scripts/eval_baseline.py task=vqa baseline=zero-shot output=runs/zero-shot

All settings: configs/baseline.yaml.
"""

from close_transfer.baselines import evaluate_baseline
from close_transfer.cli import command
from close_transfer.config import BaselineConfig


@command("baseline", BaselineConfig)
def main(config: BaselineConfig) -> None:
    scores = evaluate_baseline(config)
    for name, value in scores.metrics.items():
        low, high = scores.intervals[name]
        print(f"  {name:<24} {value:.1f} ({low:.1f} to {high:.1f})")
    print(f"in {config.output}")


if __name__ == "__main__":
    main()
