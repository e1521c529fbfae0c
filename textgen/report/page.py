"""Report page of a corpus: requests, spend, filters and style."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from close_transfer.core.atomic_files import write_text
from close_transfer.core.secret_texts import mask_address
from textgen.report.corpus_summary import CorpusSummary, format_training_settings
from textgen.report.funnel import Bound, build_chain_rows, build_spend_rows, format_money, format_settings
from textgen.report.samples import NUM_EXAMPLES, follow_requests, sample_kept
from textgen.report.style import measure_style
from textgen.text.statistics import WordRate


@cache
def _load_template() -> jinja2.Template:
    loader = jinja2.PackageLoader("textgen.report", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(count=_format_count, times=_format_times, percent=_format_percent)
    return environment.get_template("report.html")


def _format_count(number: int) -> str:
    return f"{number:,}"


def _format_percent(share: float) -> str:
    """Format a share of 1 in percent, with one decimal below 10 percent."""
    return f"{100 * share:.0f}%" if share >= 0.0995 or share == 0 else f"{100 * share:.1f}%"


def _format_times(rate: WordRate) -> str:
    """Describe how much more or less frequent a word is than in the references."""
    if not rate.reference_occurrences:
        return "never in the references"
    if not rate.occurrences:
        return "never in the corpus"
    if rate.ratio >= 1:
        return f"{rate.ratio:,.0f} times as often" if rate.ratio >= 10 else f"{rate.ratio:.1f} times as often"
    return f"1/{1 / rate.ratio:,.0f} as often" if rate.ratio <= 0.1 else f"{rate.ratio:.2f} times as often"


def explain_comparison(summary: CorpusSummary) -> str:
    """Return the command that adds columns of references to the report."""
    config = summary.config
    # Recipes with keywords draw them from the references, so references cannot be added to their corpus later.
    if summary.recipe.settings.keywords:
        return (
            f"python scripts/synthesize_captions.py recipe={config.recipe.name} references=FILE output=ANOTHER_FOLDER"
        )
    return f"python scripts/synthesize_captions.py action=report output={config.output} references=FILE"


def _list_kept(summary: CorpusSummary) -> list[dict[str, Any]]:
    """Return a sample of kept texts with their other columns."""
    rows = []
    for record in sample_kept(summary):
        more = {
            name: ", ".join(value) if isinstance(value, list) else str(value)
            for name, value in record.items()
            if name not in ("id", "group", "text")
        }
        rows.append({"text": record["text"], "more": more})
    return rows


def write_report(summary: CorpusSummary) -> Path:
    """Write report.html into the corpus's folder, and return its path.

    Raises:
        UserError: if the plan, the journal or the template cannot be used.
        WriteError: if it cannot be written.
    """
    ledger, recipe = summary.ledger, summary.recipe
    num_kept = summary.filters["num_kept"]
    page = _load_template().render(
        summary=summary,
        recipe=recipe,
        ledger=ledger,
        filters=summary.filters,
        servers=[mask_address(server) for server in ledger.servers],
        chain=build_chain_rows(summary),
        spend=build_spend_rows(ledger),
        bound=Bound.from_summary(summary),
        cost=format_money(ledger.spent.cost, summary.prices),
        cost_of_thousand=format_money(1000 * ledger.spent.cost / num_kept, summary.prices) if num_kept else None,
        money=lambda cost: format_money(cost, summary.prices),
        style=measure_style(summary),
        how_to_compare=explain_comparison(summary),
        followed=follow_requests(summary),
        examples=[json.dumps(dict(example), ensure_ascii=False) for example in recipe.examples[:NUM_EXAMPLES]],
        kept=_list_kept(summary),
        training=format_training_settings(summary.config),
        config=json.dumps(format_settings(summary.config), indent=2, ensure_ascii=False),
    )
    write_text(summary.folder.report, page)
    return summary.folder.report
