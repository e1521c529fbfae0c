"""Measure and plot the gap between text and image vectors.

    python scripts/measure_gap.py
    python scripts/measure_gap.py data=coco split=val clip=open_clip clip.model=ViT-B-32 clip.pretrained=openai
    python scripts/measure_gap.py clip=captioner clip.model=FOLDER
    python scripts/measure_gap.py data=file data.path=captions.txt split=train images=false

All settings: configs/measure_gap.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "measure_gap")
