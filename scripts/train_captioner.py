"""Pretrain an image encoder by captioning (Cap and CapPa), for run=FOLDER and clip=captioner of the other commands.

    python scripts/train_captioner.py output=runs/cappa
    python scripts/train_captioner.py output=runs/cap objective=cap
    python scripts/train_captioner.py output=runs/cappa resume=true

All settings: configs/train_captioner.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "train_captioner")
