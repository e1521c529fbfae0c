"""Train Picturebook's own CLIP on the `clip` split, and measure it on `test`.

    python scripts/train_picturebook_clip.py output=my_clip
    python scripts/train_picturebook_clip.py learn_temperature=true output=my_clip

Use it with clip.model=local-dir:my_clip. All settings: configs/train_picturebook_clip.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "train_picturebook_clip")
