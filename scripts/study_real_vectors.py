"""Train on real CLIP vectors of text and test on image vectors: noise, folds, seeds, confidence intervals.

    python scripts/study_real_vectors.py                    # the keyword probe, a few minutes
    python scripts/study_real_vectors.py language_model=my_lm       # also captions, with a model of pretrain_lm.py

A few hundred pairs show a direction, not a published number. All settings: studies/configs/study_real_vectors.yaml.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the installed package

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("studies.commands", "study_real_vectors")
