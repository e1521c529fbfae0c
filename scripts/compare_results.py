"""Sets results side by side: seeds folded, data regimes apart, two systems paired; as Markdown and HTML.

    python scripts/compare_results.py results='runs/**/results.json'
    python scripts/compare_results.py results='[runs/**/results.json,scored/*/results.json]' output=tables/today
    python scripts/compare_results.py results='runs/**/results.json' compare='[FOLDER_A,FOLDER_B]'

All settings: configs/compare_results.yaml.
"""

from close_transfer.cli import run

if __name__ == "__main__":
    run("compare_results")
