"""Sets results side by side: seeds folded, regimes apart, two systems paired; as Markdown and HTML.

    python scripts/make_report.py results='runs/**/results.json'
    python scripts/make_report.py results='[runs/**/results.json,scored/*/results.json]' output=tables/today
    python scripts/make_report.py results='runs/**/results.json' compare='[FOLDER_A,FOLDER_B]'

All settings: configs/make_report.yaml.
"""

from close_transfer.cli import command
from close_transfer.config.compare_results import ReportConfig
from close_transfer.reports.comparison_report import describe_report, make_report


@command("make_report", ReportConfig)
def main(config: ReportConfig) -> None:
    print(describe_report(make_report(config)))


if __name__ == "__main__":
    main()
