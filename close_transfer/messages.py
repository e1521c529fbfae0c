"""What commands say at their end, so that a user knows where things are and what to type next."""

from collections.abc import Sequence
from pathlib import Path

from close_transfer.config import TrainConfig
from close_transfer.evaluation import Evaluation
from close_transfer.metrics.accuracy import QUESTION_TYPE
from close_transfer.prediction import PredictionSummary
from close_transfer.report import describe_system
from close_transfer.training import Outcome


def training_ended(config: TrainConfig, folder: Path, outcome: Outcome, script: str) -> str:
    """Where the run is, how training ended, the next command."""
    state = outcome.state
    if outcome.stopped_early:
        again = f"python scripts/{script}.py task={config.task.name} resume={folder}"
        return f"stopped and saved after step {state.step}\ngo on with the same settings and: {again}"
    if outcome.was_finished:
        return f"this run was finished before, after {state.step:,} steps: {folder}; nothing was done"
    return (
        f"trained {state.step:,} steps in {state.seconds:.0f} s, best validation loss {state.best_loss:.3f} at step {state.best_step:,}\n"
        f"run:  {folder}\n"
        f"next: python scripts/eval_image.py task={config.task.name} run={folder}"
    )


def evaluation_ended(evaluation: Evaluation) -> str:
    """The numbers with their intervals, what training may have seen of the test, and where the report is."""
    config = evaluation.config
    lines = [f"{config.task} on {len(evaluation.examples):,} examples of {config.split}, scene={config.scene}:"]
    if not evaluation.scores.metrics:
        lines.append("  no scores: nobody published the answers to these; send official_results.json to their server")
        return "\n".join([*lines, f"answers: {evaluation.folder}"])
    for name, value in evaluation.scores.metrics.items():
        if QUESTION_TYPE not in name:  # dozens; results.json has them
            low, high = evaluation.scores.intervals[name]
            lines.append(f"  {name:<24} {value:6.1f}   [{low:.1f}, {high:.1f}]")
    lines += [f"skipped: {count:,} {reason}" for reason, count in evaluation.skipped.items()]
    leakage = evaluation.leakage
    if leakage.get("num_identical") or leakage.get("num_near"):
        lines.append(
            f"leakage: {leakage['num_identical']:,} of {leakage['num_training']:,} training texts are identical to evaluation text, "
            f"{leakage['num_near']:,} nearly so; train with without_leaks={config.split} to leave them out"
        )
    lines.append(f"report: {evaluation.folder / 'report.html'}")
    return "\n".join(lines)


def prediction_ended(summary: PredictionSummary) -> str:
    """The first answers, how many there are and where, and what could not be read."""
    lines = [f"  {_on_one_line(line)}" for line in summary.first_lines]
    lines += [_on_one_line(f"not read: {one['id']}: {one['reason']}") for one in summary.first_unreadable]
    if more := summary.num_unreadable - len(summary.first_unreadable):
        lines.append(f"not read: {more:,} more")
    if summary.num_unreadable:
        lines.append(f"all that could not be read: {summary.unreadable_output}")
    if summary.num_other:
        lines.append(f"left out: {summary.num_other:,} files whose names end like no picture's")
    lines.append(
        f"{summary.num_predictions:,} predictions, {summary.num_unreadable:,} unreadable files: {summary.output}"
    )
    return "\n".join(lines)


def _on_one_line(text: str) -> str:
    """The text with line breaks and whatever else a terminal would act on written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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
