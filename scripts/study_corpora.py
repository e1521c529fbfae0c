"""Trains captioners on growing pieces of corpora, and tests them on pictures: a learning curve, and a measure of style.

    python scripts/study_corpora.py
    python scripts/study_corpora.py corpora=[corpus.jsonl] sizes=[1000,10000] output=runs/study/mine

All settings: configs/study_corpora.yaml. Corpora: scripts/synthesize_captions.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # studies/ is not part of the package
from close_transfer.cli import command
from studies.config import CorporaConfig
from studies.corpora import study


@command("study_corpora", CorporaConfig)
def main(config: CorporaConfig) -> None:
    print(study(config))


if __name__ == "__main__":
    main()
