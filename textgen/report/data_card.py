"""Data card of a corpus in the format of the Hugging Face hub: content, making, spend, licence notes and limits."""

import datetime
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from close_transfer.core.markdown import Markdown, escape_text, format_code, format_code_block
from close_transfer.core.pages import write_page
from close_transfer.core.secret_texts import mask_address
from textgen.report.corpus_summary import CorpusSummary
from textgen.report.funnel import Bound, build_chain_rows, build_spend_rows, format_money
from textgen.report.samples import find_first_request

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_LARGER = "10M<n<100M"
_OVERLAP = "examples and evaluation texts"  # name of that filter stage


def _find_size_category(num: int) -> str:
    return next((name for end, name in _SIZES if num < end), _LARGER)


def _format_metadata(summary: CorpusSummary) -> Markdown:
    """Format the YAML header of the card.

    The licence is "other", because it depends on the model and on the inputs; the card's notes say which terms apply.
    """
    generated = summary.model != "existing text"
    values: dict[str, Any] = {
        "pretty_name": f"{summary.recipe.settings.name}, {summary.filters['num_kept']:,} texts",
        "license": "other",
        "license_name": "see-the-licence-notes",
        "size_categories": [_find_size_category(summary.filters["num_kept"])],
        "task_categories": list(summary.recipe.settings.task_categories),
        "tags": [*(["synthetic"] if generated else []), "captions", "text-only-training"],
        # Without this the hub would take the plan and the journal for data too.
        "configs": [{"config_name": "default", "data_files": summary.folder.corpus.name}],
    }
    if summary.config.filters.language:
        values["language"] = [summary.config.filters.language]
    return Markdown(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).strip())


def _describe_columns(summary: CorpusSummary) -> list[tuple[str, str]]:
    """Return the columns of corpus.jsonl with their descriptions."""
    settings = summary.recipe.settings
    descriptions = {
        "id": "id of the text",
        "group": "texts of one group describe one scene",
        "text": "text to train on",
    }
    descriptions |= {name: field.description for name, field in settings.fields.items() if field.description}
    descriptions |= {name: f"one of {', '.join(values)}, in turn" for name, values in settings.balanced_values.items()}
    if settings.keywords:
        descriptions["keywords"] = "words that the text should contain"
    names = ["id", "group", *settings.fields, *settings.keep_columns, *(["keywords"] if settings.keywords else [])]
    return [(name, descriptions.get(name, "column of the recipe's rows")) for name in names]


def _describe_making(summary: CorpusSummary) -> dict[str, str]:
    """Return the rows of the table that describes how the corpus was made."""
    config, recipe, ledger = summary.config, summary.recipe, summary.ledger
    settings, by_model = recipe.settings, summary.by_model
    lines = {"recipe": settings.name}
    if summary.model == "grammar":
        lines["written by"] = (
            f"a grammar, not a language model; its words and frames: {summary.origin or 'origin unknown'}"
        )
    elif not by_model:
        lines["written by"] = "the authors of the texts in the recipe's rows; they were filtered only"
    else:
        lines["written by"] = f"the language model {summary.model}, by source={config.source}"
        if ledger.models:
            lines["the model's name at the server"] = ", ".join(
                f"{name} ({num:,})" for name, num in ledger.models.items()
            )
        if ledger.servers:
            lines["servers asked"] = Markdown(", ".join(format_code(mask_address(server)) for server in ledger.servers))
    if recipe.template is not None:
        lines["template"] = f"{settings.template}, SHA-256 {hashlib.sha256(recipe.template.encode()).hexdigest()}"
    if by_model:
        max_output_tokens = config.max_output_tokens or settings.max_output_tokens
        lines["parameters"] = (
            f"temperature {_show(settings.temperature)}, top_p {_show(settings.top_p)}, at most {max_output_tokens} tokens per answer"
        )
        lines["system message"] = settings.system or "none"
        num_examples = min(settings.examples_per_request, len(recipe.examples))
        lines["in-context examples"] = f"{num_examples} of {len(recipe.examples)} in each prompt, drawn at random"
    if settings.keywords:
        drawn_from = (
            "a user's list"
            if config.keywords.sampler == "list"
            else (f"{len(summary.references):,} reference texts" if summary.references else "the grammar's word lists")
        )
        lines["keywords"] = f"{settings.keywords} per request, sampler {config.keywords.sampler}, from {drawn_from}"
    lines["seed"] = str(config.seed)
    if (begin_time := find_first_request(summary.folder)) is not None:
        lines["begun"] = datetime.datetime.fromtimestamp(begin_time, datetime.UTC).date().isoformat()
    return lines


def _list_limits(summary: CorpusSummary) -> list[str]:
    filters = summary.filters
    limits = [
        "No one has read or checked these texts. They may be false, odd or offensive, and reflect the biases of "
        + {
            "grammar": "the texts that the grammar was derived from.",
            "existing text": "their authors.",
        }.get(summary.model, "the model that wrote them."),
        "The filters compare words only. They do not check if a text makes sense, describes something that an image could "
        "show, uses its keywords in their meaning, or paraphrases another text.",
    ]
    removed = {stage["name"]: stage["num_out"] for stage in filters["stages"]}
    if filters["num_evaluation"]:
        limits.append(
            f"Overlap with {filters['num_evaluation']:,} evaluation texts was checked by their words. That filter removed "
            f"{removed.get(_OVERLAP, 0):,} texts, some of which may have matched an example of the prompt instead. "
            "Paraphrases of evaluation texts are not found."
        )
    else:
        limits.append("Overlap with evaluation texts was not checked, so scores on a public test set may be inflated.")
    if summary.by_model:
        limits.append(
            "The same prompts may not give the same texts again, because a server's sampling is not reproducible."
        )
    return limits


def _list_licence_notes(summary: CorpusSummary) -> list[str]:
    notes = [summary.recipe.settings.licence] if summary.recipe.settings.licence else []
    if summary.model == "grammar":
        notes.append(f"The grammar's words and frames come from: {summary.origin or 'an unknown source'}.")
    elif summary.model == "existing text":
        notes.append("The texts are under the terms of their source.")
    else:
        notes.append("The terms of the model's provider apply to its output; check them before publishing.")
    if summary.references:
        notes.append(
            "Reference texts were used for keywords, examples or comparisons. The program does not know their licence; "
            "check it before publishing."
        )
    return notes


@cache
def _load_template() -> jinja2.Template:
    loader = jinja2.PackageLoader("textgen.report", "templates")
    # All that the template shows is escaped, unless it is Markdown already.
    environment = jinja2.Environment(
        loader=loader, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=escape_text
    )
    environment.filters.update(count=lambda number: f"{number:,}", code=format_code, block=format_code_block)
    return environment.get_template("card.md")


def write_card(summary: CorpusSummary) -> Path:
    """Write card.md into the corpus's folder, and return its path. Renamed to README.md, it is a dataset card of the hub.

    Raises:
        UserError: if the journal is damaged.
        WriteError: if it cannot be written.
    """
    ledger = summary.ledger
    sample = next(iter(summary.records), None)
    text = _load_template().render(
        metadata=_format_metadata(summary),
        summary=summary,
        name=summary.recipe.settings.name,
        filters=summary.filters,
        ledger=ledger,
        making=_describe_making(summary),
        chain=build_chain_rows(summary),
        spend=build_spend_rows(ledger),
        bound=Bound.from_summary(summary),
        money=lambda cost: Markdown(format_money(cost, summary.prices)),
        columns=_describe_columns(summary),
        sample=json.dumps(sample, indent=2, ensure_ascii=False) if sample else None,
        training=f"{summary.recipe.settings.train} data.path={summary.folder.corpus.name}".strip(),
        licences=_list_licence_notes(summary),
        limits=_list_limits(summary),
    )
    write_page(summary.folder.card, text)
    return summary.folder.card


def _show(parameter: float | None) -> str:
    return "of the server" if parameter is None else f"{parameter:g}"
