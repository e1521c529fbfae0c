"""Train the encoders that captioners are compared with: by classes, by masked patches, or random.

    python scripts/train_image_encoder.py output=runs/encoders/classes
    python scripts/train_image_encoder.py output=runs/encoders/masked objective=masked_patches
    python scripts/train_image_encoder.py output=runs/encoders/untrained objective=none

All settings: configs/train_image_encoder.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "train_image_encoder")
