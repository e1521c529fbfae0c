"""Evaluate a run on images, or on text.

    python scripts/eval_image.py task=snli-ve
    python scripts/eval_image.py task=captioning run=runs/captioning/latest split=test-novel
    python scripts/eval_image.py task=vqa scene=text

All settings: configs/evaluate.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "eval_image")
