"""compare_results.py: compare the results of many evaluations side by side."""

from pathlib import Path

from close_transfer.config.compare_results import CompareResultsConfig
from close_transfer.core.console import show
from close_transfer.core.pages import write_page
from close_transfer.evaluation.comparison import build_tables, pair_evaluations
from close_transfer.evaluation.results import find_results, read_results
from close_transfer.reports.comparison_report import Report, describe_report, render_html, render_markdown


def compare_results(config: CompareResultsConfig) -> Report:
    """Read the results, and write a Markdown and an HTML page.

    Raises:
        UserError: if the user can correct the cause.
    """
    files = {path: read_results(path, "results") for path in find_results(config.results)}
    tables, notes = build_tables(files)
    pairing = pair_evaluations(config.compare, config.num_bootstrap) if config.compare else None
    pages = Path(f"{config.output}.md"), Path(f"{config.output}.html")
    write_page(pages[0], render_markdown(tables, pairing, notes))
    write_page(pages[1], render_html(tables, pairing, notes))
    return Report(pages, len(files), tables, notes, pairing)


def main(config: CompareResultsConfig) -> None:
    """Write the pages, and print a summary and their paths."""
    show(describe_report(compare_results(config)))
