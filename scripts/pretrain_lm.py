"""Pretrain a small language model from scratch on any text, for lm=FOLDER of the other commands.

    python scripts/pretrain_lm.py text=captions.txt output=my_lm
    python scripts/pretrain_lm.py text=[a.jsonl.gz,b.csv] text_column=caption exclude=test.txt output=my_lm
    python scripts/pretrain_lm.py text=captions.txt output=my_lm resume=true

All settings: configs/pretrain_lm.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "pretrain_lm")
