"""Trains on text alone, for pictures at test time.

    python scripts/train_text_only.py noise=0.1
    python scripts/train_text_only.py task=snli-ve
    python scripts/train_text_only.py data=table data.path=captions.jsonl clip=open_clip lm=t5-small
    python scripts/train_text_only.py resume=latest

All settings: configs/train.yaml and the groups beside it.
"""

import sys

from close_transfer.cli import command
from close_transfer.config.train import TrainConfig
from close_transfer.pipelines.console import training_ended
from close_transfer.pipelines.train import train


@command("train", TrainConfig)
def main(config: TrainConfig) -> None:
    folder, outcome = train(config, regime="text")
    print(training_ended(config, folder, outcome, script="train_text_only"))
    if outcome.stopped_early:
        sys.exit(outcome.exit_status)


if __name__ == "__main__":
    main()
