"""Train the same model on images: the upper bound for text-only training.

    python scripts/train_on_images.py
    python scripts/train_on_images.py task=snli-ve

All settings: configs/train.yaml and its groups.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "train_on_images")
