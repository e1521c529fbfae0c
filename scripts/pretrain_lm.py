"""Trains a small language model from scratch on any text, for lm=FOLDER of the other commands.

    python scripts/pretrain_lm.py text=captions.txt output=my_lm
    python scripts/pretrain_lm.py text=[a.jsonl.gz,b.csv] text_column=caption exclude=test.txt output=my_lm
    python scripts/pretrain_lm.py text=captions.txt output=my_lm resume=true

All settings: configs/pretrain_lm.yaml.
"""

import sys

from close_transfer.cli import command
from close_transfer.config.pretrain_lm import PretrainConfig
from close_transfer.pipelines.pretrain_lm import describe_outcome, pretrain


@command("pretrain_lm", PretrainConfig)
def main(config: PretrainConfig) -> None:
    outcome = pretrain(config)
    print(describe_outcome(outcome))
    sys.exit(outcome.exit_status)


if __name__ == "__main__":
    main()
