"""Score captions by the words that they have.

F1 by type of word, for captions of Picturebook: kinds, colours, sizes, numbers, relations, places and times. Or LiMBeR's
recall of the most frequent nouns, modifiers and relations, for captions of any data:

    python scripts/score_by_word_type.py "evaluations=[runs/study/relatives/captioning/*/seed-0/test-*]"
    python scripts/score_by_word_type.py evaluations=runs/captioning/latest/eval-val-image analysis=properties wordnet=/usr/share/wordnet

All settings: studies/configs/score_by_word_type.yaml.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the installed package

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("studies.commands", "score_by_word_type")
