"""Train and test several systems on several tasks with several seeds, and compare them with one of them.

    python scripts/run_study.py study=shifts      # a constant vector added to texts, as in the paper's table
    python scripts/run_study.py study=adapters    # every adapter
    python scripts/run_study.py study=adapters tasks=[vqa] seeds=1

The same command resumes an interrupted study. Systems: studies/configs/study/. All settings:
studies/configs/run_study.yaml.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the installed package

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("studies.commands", "run_study")
