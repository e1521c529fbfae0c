"""Train on text over a grid of noise and seeds, test on images and on text, and plot scores against noise.

    python scripts/sweep_noise.py task=vqa
    python scripts/sweep_noise.py task=snli-ve noises=[0,0.05,0.1] seeds=1 train_overrides="data.num_train=1000 train.epochs=4"

The same command resumes an interrupted sweep. All settings: studies/configs/sweep_noise.yaml.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the installed package

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("studies.commands", "sweep_noise")
