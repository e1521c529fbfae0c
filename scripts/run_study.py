"""Trains and tests several systems on several tasks with several seeds, and sets them against one of them.

    python scripts/run_study.py study=shifts      # a constant added to texts, as the paper's table
    python scripts/run_study.py study=adapters    # every adapter
    python scripts/run_study.py study=adapters tasks=[vqa] seeds=1

Started again, it goes on from what is finished. Systems are in studies/configs/study/; all settings:
studies/configs/run_study.yaml.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the installed package

from studies.commands import run

if __name__ == "__main__":
    run("run_study")
