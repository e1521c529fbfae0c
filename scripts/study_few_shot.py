"""Asks captioners with a frozen language model questions about pictures, behind a few answered ones (LiMBeR's evaluation).

    python scripts/study_few_shot.py runs=[runs/frozen,runs/blind]
    python scripts/study_few_shot.py runs=[runs/of_my_captions] data=vqa2

All settings: configs/study_few_shot.yaml.
"""

from close_transfer.cli import command
from close_transfer.config import FewShotConfig
from close_transfer.studies.few_shot import study


@command("study_few_shot", FewShotConfig)
def main(config: FewShotConfig) -> None:
    print(study(config))


if __name__ == "__main__":
    main()
