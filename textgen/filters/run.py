"""Filtering of a journal's answers into the corpus; removed texts are kept in a separate file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from close_transfer.core.atomic_files import atomic_path, fingerprint_file
from close_transfer.core.checksums import read_checked_fields, write_checked_json
from close_transfer.core.errors import UserError
from textgen.corpus.candidate import Candidate
from textgen.corpus.folder import CorpusFolder
from textgen.corpus.journal import read_answers
from textgen.corpus.ledger import Ledger
from textgen.filters import build_chain, require_clip, run_chain
from textgen.filters.words import Lexicon
from textgen.prompts.inputs import RecipeInputs
from textgen.prompts.plan import check_sent_requests, read_plan
from textgen.prompts.recipe import Recipe, Request

# Fields of filters.json that report and card read.
_COUNTS = dict.fromkeys(
    ("num_answers", "num_declined", "num_failed", "num_texts", "num_kept", "num_references", "num_evaluation"), int
)
_STAGE = {"name": str, "num_in": int, "num_out": int, "examples": list}
_EXAMPLE = {"id", "reason", "text"}


def list_candidates(
    request: Request, items: Sequence[dict[str, str]], recipe: Recipe, is_truncated: bool = False
) -> Iterator[Candidate]:
    """Yield the candidates of one answer; if it `is_truncated`, the last one is incomplete."""
    given = {name: str(request.given[name]) for name in recipe.settings.keep_columns}
    for number, item in enumerate(items):
        fields = {name: text for name, text in item.items() if name != "text"}
        yield Candidate(
            f"{request.id}-{number}",
            request.id,
            item["text"],
            fields,
            given,
            request.keywords,
            is_truncated and number == len(items) - 1,
        )


def _list_example_texts(recipe: Recipe) -> Iterator[str]:
    """Yield the texts of the in-context examples, and further texts of the same scene."""
    for example in recipe.examples:
        for name, value in example.items():
            if name == "text":
                yield str(value)
            elif name not in ("keywords", *recipe.settings.fields) and isinstance(value, (list, tuple)):
                yield from map(str, value)


def read_candidates(folder: CorpusFolder, recipe: Recipe) -> list[Candidate]:
    """Read the candidates of all answers, in the plan's order.

    The order of the answers has no influence, so the same answers always make the same corpus.

    Raises:
        UserError: if the plan or the journal is damaged.
    """
    answers = {event["id"]: (event["items"], event.get("cut", False)) for event in read_answers(folder.journal)}
    return [
        candidate
        for request in read_plan(folder.plan)
        if request.id in answers
        for items, is_truncated in [answers.pop(request.id)]
        for candidate in list_candidates(request, items, recipe, is_truncated)
    ]


def check_filters(inputs: RecipeInputs) -> None:
    """Check the inputs of filters and report before the first request, so that no paid answer waits for a correction.

    Raises:
        UserError: if references or evaluation texts cannot be read, the language has no word list, or CLIP's tokenizer
            is needed and not installed.
    """
    settings = inputs.config.filters
    if settings.clip_tokens is not None:
        require_clip()
    Lexicon(settings.language)
    inputs.check_texts()


def filter_corpus(folder: CorpusFolder, inputs: RecipeInputs, ledger: Ledger) -> dict[str, Any]:
    """Write corpus.jsonl, removed.jsonl and, last, filters.json; return the content of filters.json.

    Raises:
        UserError: if a filter cannot run, or a file is damaged.
    """
    recipe = inputs.recipe
    settings = inputs.config.filters
    if inputs.family == "grammar":  # a grammar repeats its frames by design
        settings = settings.model_copy(update={"overused_share": None})
    stages = build_chain(
        settings,
        recipe.settings,
        instructions=recipe.instructions,
        examples=list(_list_example_texts(recipe)),
        references=inputs.references,
        evaluation=inputs.evaluation,
    )
    candidates = read_candidates(folder, recipe)
    folder.filters.unlink(missing_ok=True)  # it marks a complete corpus
    with atomic_path(folder.removed) as temporary, temporary.open("w", encoding="utf-8") as file:

        def note(stage: str, reason: str, candidate: Candidate) -> None:
            line = {**candidate.to_record(), "stage": stage, "reason": reason}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

        result = run_chain(stages, candidates, note)
    with atomic_path(folder.corpus) as temporary, temporary.open("w", encoding="utf-8") as file:
        for candidate in result.kept:
            file.write(json.dumps(candidate.to_record(), ensure_ascii=False) + "\n")
    counts = {
        "num_answers": len(ledger.answered),
        "num_declined": ledger.refused,
        "num_failed": len(ledger.failed),
        "num_texts": len(candidates),
        "num_kept": len(result.kept),
        "stages": [
            {
                "name": stage.name,
                "num_in": stage.num_in,
                "num_out": stage.num_out,
                "examples": [removal._asdict() for removal in stage.examples],
            }
            for stage in result.stages
        ],
        "settings": settings.model_dump(mode="json"),
        "num_references": len(inputs.references),
        "num_evaluation": len(inputs.evaluation),
        "sha256": {path.name: fingerprint_file(path) for path in (folder.corpus, folder.removed)},
    }
    write_checked_json(folder.filters, counts)
    return counts


def read_filters(folder: CorpusFolder) -> dict[str, Any] | None:
    """Read filters.json; return None before the corpus was filtered.

    Raises:
        UserError: if it is damaged.
    """
    if not folder.filters.is_file():
        return None
    try:
        filters = read_checked_fields(folder.filters, _COUNTS | {"stages": list, "settings": dict, "sha256": dict})
    except UserError as error:
        raise _make_damage_error(folder.filters, error) from None
    for stage in filters["stages"]:
        is_stage = isinstance(stage, dict) and all(isinstance(stage.get(name), kind) for name, kind in _STAGE.items())
        if not is_stage or not all(
            isinstance(example, dict) and example.keys() == _EXAMPLE for example in stage["examples"]
        ):
            raise _make_damage_error(folder.filters, "a stage lacks a field")
    return filters


def _check_filtered(path: Path, filters: Mapping[str, Any]) -> None:
    """Check that a file is as the filters wrote it.

    Args:
        path: corpus.jsonl or removed.jsonl.
        filters: content of filters.json.

    Raises:
        UserError: if it is missing or damaged.
    """
    if not path.is_file() or fingerprint_file(path) != filters["sha256"].get(path.name):
        raise _make_damage_error(path, "it is missing, or its SHA-256 is not the one in filters.json")


def read_corpus(folder: CorpusFolder, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read the records of corpus.jsonl, after a check that it and removed.jsonl are as the filters wrote them.

    Args:
        folder: folder of the corpus.
        filters: content of filters.json.

    Raises:
        UserError: if one of them is damaged.
    """
    for path in (folder.corpus, folder.removed):
        _check_filtered(path, filters)
    try:
        lines = folder.corpus.read_text(encoding="utf-8").split("\n")[:-1]
        records = [json.loads(line) for line in lines]
    except (OSError, ValueError, RecursionError) as error:
        raise _make_damage_error(folder.corpus, error) from None
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict) or not all(
            isinstance(record.get(name), str) for name in ("id", "group", "text")
        ):
            raise _make_damage_error(folder.corpus, f"line {number} is not a text with id and group")
    if len(records) != (num := filters["num_kept"]):
        raise _make_damage_error(folder.corpus, f"it has {len(records):,} texts, and filters.json counts {num:,}")
    return records


def _make_damage_error(path: Path, problem: object) -> UserError:
    return UserError(f"{path}: is damaged ({str(problem)[:200]}). Make it again from the answers with action=filter")


def check_ledger(folder: CorpusFolder, ledger: Ledger) -> None:
    """Check that the journal has lost nothing that the other files know of.

    Raises:
        UserError: if the plan lacks requests that were sent, or the journal lacks answers that were filtered.
    """
    check_sent_requests(folder.plan, ledger.sent)
    try:
        num_filtered = (read_filters(folder) or {"num_answers": 0})["num_answers"]
    except UserError:  # the next filtering writes it again
        return
    if num_filtered > len(ledger.answered):
        raise UserError(
            f"{folder.journal}: is damaged (it has {len(ledger.answered):,} answers, and filters.json counts {num_filtered:,}). "
            f"Restore it from a copy; or delete {folder.filters.name} to send the other requests again"
        )
