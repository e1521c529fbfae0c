"""Train a text tower by CLIP's loss, together with an image tower or against a frozen encoder (LiT), for clip=open_clip.

    python scripts/train_text_tower.py image_tower=trained captioner=small output=runs/clip_star
    python scripts/train_text_tower.py image_tower=locked clip=captioner clip.model=runs/cappa output=runs/lit
    python scripts/train_text_tower.py image_tower=trained captioner=small output=runs/clip_star resume=true

All settings: configs/train_text_tower.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "train_text_tower")
