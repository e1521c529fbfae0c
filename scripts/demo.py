"""The method in one command: three models, the same test pictures, one report.

    python scripts/demo.py
    python scripts/demo.py task=vqa

Trains on pictures (the upper bound), on text without noise, and on text with noise (the method),
evaluates each on pictures, and puts the numbers side by side. Takes the settings of
train_text_only.py; noise= is that of the third model.
"""

import sys

from close_transfer.cli import command, compose_config
from close_transfer.config.evaluate import EvalConfig
from close_transfer.config.train import TrainConfig, without_noise
from close_transfer.core.errors import UserError
from close_transfer.evaluation.record import Evaluation
from close_transfer.pipelines.console import side_by_side
from close_transfer.pipelines.evaluate import evaluate
from close_transfer.pipelines.train import train
from close_transfer.reports.evaluation_report import Compared, write_report
from close_transfer.training.run_folder import Regime


@command("train", TrainConfig)
def main(config: TrainConfig) -> None:
    if config.output or config.resume:
        raise UserError(
            "the demo trains three runs, so output= and resume= mean nothing here; give runs=FOLDER to choose where"
        )
    quiet = without_noise(config)
    # The method comes last, so that it is what `run=latest` means afterwards.
    systems: list[tuple[Regime, TrainConfig]] = [("images", quiet), ("text", quiet), ("text", config)]
    evaluations: list[Evaluation] = []
    for number, (regime, one) in enumerate(systems, start=1):
        print(f"\n{number} of {len(systems)}")
        folder, outcome = train(one, regime)
        if outcome.stopped_early:
            sys.exit(outcome.exit_status)
        settings = [f"task={config.task.name}", f"run={folder}", f"runs={config.runs}", f"device={config.device}"]
        evaluations.append(evaluate(compose_config("eval", EvalConfig, settings)))
        write_report(evaluations[-1])
    *others, method = evaluations
    write_report(method, [Compared.read(other.folder) for other in reversed(others)])
    print("\n" + side_by_side(evaluations))


if __name__ == "__main__":
    main()
