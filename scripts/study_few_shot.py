"""Evaluate captioners with a frozen language model on few-shot visual question answering, as LiMBeR does.

    python scripts/study_few_shot.py runs=[runs/frozen,runs/blind]
    python scripts/study_few_shot.py runs=[runs/of_my_captions] data=vqa2

All settings: studies/configs/study_few_shot.yaml.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the installed package

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("studies.commands", "study_few_shot")
