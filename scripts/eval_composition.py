"""Test whether a CLIP or a captioner tells apart captions that differ in composition only.

    python scripts/eval_composition.py clip=picturebook
    python scripts/eval_composition.py run=latest

All settings: configs/eval_composition.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "eval_composition")
