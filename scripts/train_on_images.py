"""Trains the same model on pictures: the upper bound that text-only training is held against.

    python scripts/train_on_images.py
    python scripts/train_on_images.py task=snli-ve

All settings: configs/train.yaml and the groups beside it.
"""

import sys

from close_transfer.cli import command
from close_transfer.config.train import TrainConfig
from close_transfer.pipelines.console import training_ended
from close_transfer.pipelines.train import train


@command("train", TrainConfig)
def main(config: TrainConfig) -> None:
    folder, outcome = train(config, regime="images")
    print(training_ended(config, folder, outcome, script="train_on_images"))
    if outcome.stopped_early:
        sys.exit(outcome.exit_status)


if __name__ == "__main__":
    main()
