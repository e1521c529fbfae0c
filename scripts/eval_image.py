"""Evaluates a run on pictures it has never seen.

    python scripts/eval_image.py task=snli-ve
    python scripts/eval_image.py task=captioning run=runs/captioning/latest split=test-novel
    python scripts/eval_image.py task=vqa scene=text

All settings: configs/eval.yaml.
"""

from pathlib import Path

from close_transfer.cli import command
from close_transfer.config.evaluate import EvalConfig
from close_transfer.pipelines.console import evaluation_ended
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.reports.evaluation_report import Compared, write_report


@command("eval", EvalConfig)
def main(config: EvalConfig) -> None:
    others = [Compared.read(Path(folder)) for folder in config.compare]
    evaluation = evaluate(config)
    if evaluation.scores.metrics:
        write_report(evaluation, others)
    print(evaluation_ended(evaluation))


if __name__ == "__main__":
    main()
