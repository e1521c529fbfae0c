"""Trains and tests several systems on several tasks with several seeds, and sets them against one of them.

    python scripts/compare_systems.py study=shifts      # a constant added to texts, as the paper's table
    python scripts/compare_systems.py study=adapters    # every adapter
    python scripts/compare_systems.py study=adapters tasks=[vqa] seeds=1

Started again, it goes on from what is finished. Systems are in configs/study/; all settings:
configs/compare_systems.yaml.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the package
from close_transfer.cli import command
from studies.config import StudyConfig
from studies.systems import study


@command("compare_systems", StudyConfig)
def main(config: StudyConfig) -> None:
    print(study(config))


if __name__ == "__main__":
    main()
