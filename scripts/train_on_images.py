"""Train the same model on images: the upper bound for text-only training.

    python scripts/train_on_images.py
    python scripts/train_on_images.py task=snli-ve

All settings: configs/train.yaml and its groups.
"""

from close_transfer.cli import run

if __name__ == "__main__":
    run("train_on_images")
