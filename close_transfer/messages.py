"""What commands say at their end, so that a user knows where things are and what to type next."""

from collections.abc import Sequence
from pathlib import Path

from close_transfer.config import TrainConfig
from close_transfer.evaluation import Evaluation
from close_transfer.prediction import PredictionSummary
from close_transfer.report import describe_system
from close_transfer.training import Outcome


def training_ended(config: TrainConfig, folder: Path, outcome: Outcome, script: str) -> str:
    """Where the run is, how training ended, the next command."""
    state = outcome.state
    if outcome.stopped_early:
        again = f"python scripts/{script}.py task={config.task.name} resume={folder}"
        return f"stopped and saved after step {state.step}\ngo on with the same settings and: {again}"
    return (
        f"trained {state.step:,} steps in {state.seconds:.0f} s, best validation loss {state.best_loss:.3f} at step {state.best_step:,}\n"
        f"run:  {folder}\n"
        f"next: python scripts/eval_image.py task={config.task.name} run={folder}"
    )


def evaluation_ended(evaluation: Evaluation) -> str:
    """The numbers with their intervals, and where the report is."""
    config = evaluation.config
    lines = [f"{config.task} on {len(evaluation.examples):,} examples of {config.split}, scene={config.scene}:"]
    for name, value in evaluation.scores.metrics.items():
        low, high = evaluation.scores.intervals[name]
        lines.append(f"  {name:<24} {value:6.1f}   [{low:.1f}, {high:.1f}]")
    lines.append(f"report: {evaluation.folder / 'report.html'}")
    return "\n".join(lines)


def prediction_ended(summary: PredictionSummary) -> str:
    """The first answers, how many there are and where, and what could not be read."""
    lines = [f"  {line}" for line in summary.first_lines]
    lines += [f"not read: {path}" for path in summary.unreadable[:10]]
    if len(summary.unreadable) > 10:
        lines.append(f"not read: {len(summary.unreadable) - 10} more")
    lines.append(
        f"{summary.num_predictions:,} predictions, {len(summary.unreadable)} unreadable files: {summary.output}"
    )
    return "\n".join(lines)


def side_by_side(evaluations: Sequence[Evaluation]) -> str:
    """One row a system, the metrics as columns, and where the report of the last one is."""
    names = [describe_system(evaluation.results()) for evaluation in evaluations]
    metrics = [name for name in evaluations[-1].scores.metrics if "/" not in name]
    width = max(map(len, names))
    first = evaluations[-1].config
    lines = [
        f"{first.task} on {len(evaluations[-1].examples):,} examples of {first.split}, scene={first.scene}:",
        " " * (width + 2) + "".join(f"  {metric:>6}" for metric in metrics),
    ]
    for name, evaluation in zip(names, evaluations, strict=True):
        values = "".join(f"  {evaluation.scores.metrics[metric]:>{max(6, len(metric))}.1f}" for metric in metrics)
        lines.append(f"  {name:<{width}}{values}")
    lines.append(f"report: {evaluations[-1].folder / 'report.html'}")
    return "\n".join(lines)
