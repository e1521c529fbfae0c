"""Score a baseline that needs no training: the nearest training text's answer, or a zero-shot choice by the encoder.

    python scripts/baseline.py task=captioning output=runs/nearest
    python scripts/baseline.py task=vqa baseline=zero-shot output=runs/zero-shot
    python scripts/baseline.py data=file data.path=test.jsonl data.image_column=file data@training=file training.path=captions.jsonl output=runs/nearest

All settings: configs/baseline.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "baseline")
