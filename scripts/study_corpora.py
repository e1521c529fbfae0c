"""Train captioners on growing parts of text corpora and test them on images: learning curves and a measure of style.

    python scripts/study_corpora.py
    python scripts/study_corpora.py corpora=[corpus.jsonl] sizes=[1000,10000] output=runs/study/mine

All settings: studies/configs/study_corpora.yaml. Corpora: scripts/synthesize_captions.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the installed package

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("studies.commands", "study_corpora")
