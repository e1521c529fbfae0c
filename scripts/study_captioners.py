"""Train captioners (Cap, CapPa) and their controls, test and probe each, and compare them.

    python scripts/study_captioners.py
    python scripts/study_captioners.py only=[cap,cappa] seeds=1 output=runs/study/two-captioners
    python scripts/study_captioners.py report_only=true  # of what is finished

The same command resumes an interrupted study. All settings: studies/configs/study_captioners.yaml.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the installed package

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("studies.commands", "study_captioners")
