"""Trains captioners on growing pieces of corpora, and tests them on pictures: a learning curve, and a measure of style.

    python scripts/study_corpora.py
    python scripts/study_corpora.py corpora=[corpus.jsonl] sizes=[1000,10000] output=runs/study/mine

All settings: configs/study_corpora.yaml. Corpora: scripts/synthesize_captions.py.
"""

from close_transfer.cli import command
from close_transfer.config import CorporaConfig
from close_transfer.studies.corpora import study


@command("study_corpora", CorporaConfig)
def main(config: CorporaConfig) -> None:
    print(study(config))


if __name__ == "__main__":
    main()
