"""Train on text alone, for images at test time.

    python scripts/train_text_only.py noise=0.1
    python scripts/train_text_only.py task=snli-ve
    python scripts/train_text_only.py data=file data.path=captions.jsonl clip=open_clip lm=t5-small
    python scripts/train_text_only.py resume=latest

All settings: configs/train.yaml and its groups.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "train_text_only")
