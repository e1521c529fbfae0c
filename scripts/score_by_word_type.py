"""How well captions of Picturebook tell kinds of things, colours, sizes, numbers, relations, places and times.

python scripts/score_by_word_type.py runs/study/relatives/captioning/*/seed-0/test-*
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the installed package

from studies.commands import run

if __name__ == "__main__":
    run("score_by_word_type")
