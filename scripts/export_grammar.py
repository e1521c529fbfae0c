"""Derive a grammar for textgen from the captions of Picturebook's `train` split, and from no other text.

    python scripts/export_grammar.py
    python scripts/export_grammar.py num_train=4000 output=grammar.yaml

It then prints a comparison of the grammar's texts with the captions. All settings: studies/configs/export_grammar.yaml.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the installed package

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("studies.commands", "export_grammar")
