"""Compare results in tables, as Markdown and HTML: seeds averaged, grouped by data regime, two systems paired.

    python scripts/compare_results.py results='runs/**/results.json'
    python scripts/compare_results.py results='[runs/**/results.json,scored/*/results.json]' output=tables/today
    python scripts/compare_results.py results='runs/**/results.json' compare='[FOLDER_A,FOLDER_B]'

All settings: configs/compare_results.yaml.
"""

from close_transfer.core.startup import start

if __name__ == "__main__":
    start("close_transfer.cli", "compare_results")
