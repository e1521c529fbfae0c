"""Report of the words of captions: a JSON file, a page, and tables for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from close_transfer.core.atomic_files import write_json
from close_transfer.core.markdown import format_table
from close_transfer.core.pages import write_page
from close_transfer.evaluation.results import BUILTIN_DATASET
from studies.config import ScoreByWordTypeConfig
from studies.word_finders import PROPERTIES
from studies.word_kinds import KINDS_OF_WORDS
from studies.wordnet import CATEGORIES, OTHER


@dataclass(frozen=True)
class WordTable:
    """Table of the report.

    Attributes:
        title: its title; empty for the only table of a report.
        header: titles of its columns.
        rows: its rows, as texts.
        page_only: True if the terminal leaves it out.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    page_only: bool = False


def _format_cell(measured: Mapping[str, Any] | None) -> str:
    """Format a value with its interval; a value that no word gives is empty."""
    if measured is None:
        return ""
    low, high = measured["interval"]
    return f"{measured['value']:.1f} ({low:.1f} to {high:.1f})"


def build_types_table(measured: Sequence[Mapping[str, Any]]) -> WordTable:
    """Build the table of F1 by type of word from the measurements of each evaluation."""
    rows = [[facts["folder"], *(_format_cell(facts["types"][kind]) for kind in KINDS_OF_WORDS)] for facts in measured]
    return WordTable("", ["results", *KINDS_OF_WORDS], rows)


def _list_categories(measured: Iterable[Mapping[str, Any]]) -> list[str]:
    named = {category for facts in measured for category in facts["categories"]}
    return [category for category in (*CATEGORIES, OTHER) if category in named]


def _build_category_table(title: str, measured: Sequence[Mapping[str, Any]], metric: str) -> WordTable:
    categories = _list_categories(measured)
    rows = [
        [
            facts["folder"],
            _format_cell(facts["properties"]["nouns"].get(metric)),
            *(_format_cell(facts["categories"].get(category, {}).get(metric)) for category in categories),
        ]
        for facts in measured
    ]
    return WordTable(title, ["results", "all nouns", *categories], rows)


def _build_word_table(name: str, measured: Sequence[Mapping[str, Any]]) -> WordTable:
    """Build the table of the recall of each word of one property, in the order of frequency."""
    by_evaluation = [{row["word"]: row for row in facts["words"][name]} for facts in measured]
    categories = {word: row["category"] for rows in by_evaluation for word, row in rows.items() if "category" in row}
    rows = []
    for word in dict.fromkeys(word for rows in by_evaluation for word in rows):
        found = [by_word.get(word) for by_word in by_evaluation]
        cells = [f"{row['recall']:.0f}% of {row['num_expected']:,}" if row else "" for row in found]
        rows.append([word, *([categories[word]] if categories else []), *cells])
    return WordTable(
        f"Recall by word: {name}, and the number of images whose references have it",
        [name, *(["category"] if categories else []), *(facts["folder"] for facts in measured)],
        rows,
        page_only=True,
    )


def build_properties_tables(measured: Sequence[Mapping[str, Any]], num_words: int) -> list[WordTable]:
    """Build the tables of recall by property, category and word from the measurements of each evaluation."""
    recall = WordTable(
        f"Recall of the {num_words} most frequent nouns, modifiers and relations",
        ["results", "images", *PROPERTIES],
        [
            [
                facts["folder"],
                f"{facts['num_images']:,}",
                *(_format_cell(facts["properties"][key].get("recall")) for key in PROPERTIES),
            ]
            for facts in measured
        ],
    )
    tables = [recall]
    if _list_categories(measured):
        tables += [
            _build_category_table("Recall of nouns by category", measured, "recall"),
            _build_category_table("Wu-Palmer similarity of the caption's most similar noun", measured, "similarity"),
        ]
    return [*tables, *(_build_word_table(name, measured) for name in PROPERTIES)]


def format_tables(tables: Sequence[WordTable]) -> str:
    """Format the tables of the terminal as Markdown."""
    shown = [table for table in tables if not table.page_only]
    return "\n\n".join(
        (f"{table.title}\n\n" if table.title else "") + format_table(table.header, table.rows) for table in shown
    )


def write_word_report(
    config: ScoreByWordTypeConfig,
    measured: Sequence[Mapping[str, Any]],
    tables: Sequence[WordTable],
    notes: Sequence[str],
) -> str:
    """Write ANALYSIS.json and ANALYSIS.html, and return the text for the terminal.

    Raises:
        WriteError: if they cannot be written.
    """
    page_path = Path(config.output) / f"{config.analysis}.html"
    write_json(
        page_path.with_suffix(".json"),
        {"config": config.model_dump(mode="json"), "evaluations": measured, "notes": list(notes)},
    )
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [  # words.html extends page.html of the reports
                jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
                jinja2.PackageLoader("close_transfer.reports", "templates"),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("words.html").render(
        tables=tables,
        notes=notes,
        is_types=config.analysis == "types",
        is_builtin=any(facts["data"] == BUILTIN_DATASET for facts in measured),
    )
    write_page(page_path, page)
    return "\n".join([format_tables(tables), "", *(f"note: {note}" for note in notes), f"page: {page_path}"])
