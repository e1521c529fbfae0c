"""demo.py: train on images, on text, and on text with noise; evaluate all three on the same images."""

from close_transfer.config.choices import InputModality
from close_transfer.config.evaluate import EvaluateConfig
from close_transfer.config.train import TrainConfig
from close_transfer.core.command_line import compose_config
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.evaluation.record import Evaluation
from close_transfer.modality_gap.adapter_fitting.requested_noise import remove_noise
from close_transfer.pipelines.console import format_side_by_side
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.train import train
from close_transfer.reports.evaluation_report import ComparedEvaluation, write_report


def main(config: TrainConfig) -> int:
    """Train and evaluate the three systems, and print their metrics side by side."""
    if config.output or config.resume:
        raise UserError(
            "the demo trains three runs, so it cannot use output= or resume=. Give runs=FOLDER to choose where they are written"
        )
    without_noise = remove_noise(config)
    # The method comes last, so that `run=latest` refers to it afterwards.
    systems: list[tuple[InputModality, TrainConfig]] = [
        ("image", without_noise),
        ("text", without_noise),
        ("text", config),
    ]
    evaluations: list[Evaluation] = []
    for number, (input_modality, system_config) in enumerate(systems, start=1):
        show(f"\n{number} of {len(systems)}")
        folder, outcome = train(system_config, input_modality)
        if outcome.stopped_early:
            return outcome.exit_status
        settings = [f"task={config.task.name}", f"run={folder}", f"runs={config.runs}", f"device={config.device}"]
        evaluations.append(evaluate(compose_config("evaluate", EvaluateConfig, settings)))
        write_report(evaluations[-1])
    *others, method = evaluations
    write_report(method, [ComparedEvaluation.read(other.folder) for other in reversed(others)])
    show("\n" + format_side_by_side(evaluations))
    return 0
