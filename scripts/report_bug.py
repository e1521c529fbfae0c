"""Print the versions, the machine and a run's settings for a bug report, without local paths and keys.

    python scripts/report_bug.py
    python scripts/report_bug.py run=runs/vqa/latest

All settings: configs/report_bug.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "report_bug")
