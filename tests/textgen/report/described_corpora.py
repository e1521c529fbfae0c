"""Small corpora for the tests of the report and the card."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.settings import make_recipe, make_settings
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.folder import CorpusFolder
from textgen.corpus.journal import RequestJournal
from textgen.prompts.plan import write_plan
from textgen.prompts.recipe import Recipe
from textgen.report.corpus_summary import CorpusSummary

TEMPLATE = "Write a caption with {{ keywords|join(' and ') }}.{% for one in examples %} {{ one.text }}{% endfor %}"
HOSTILE = '<script>alert("x")</script> <img src=x onerror=alert(1)> a dog'
# Events of a journal: four failed attempts, and a server whose address contains secrets.
FAULTS = [
    {"event": "session", "source": "openai", "server": "http://user:hunter2@localhost:8000/v1?token=s3cret"},
    {"event": "sent", "id": "a", "attempt": 1, "tokens": 300, "cost": 2.0},
    {"event": "fault", "id": "a", "attempt": 1, "fault": "deadline", "paid": "reserved", "tokens": 300, "cost": 2.0},
    {"event": "sent", "id": "b", "attempt": 1, "tokens": 300, "cost": 2.0},
    {"event": "fault", "id": "b", "attempt": 1, "fault": "429", "paid": "no"},
    {"event": "sent", "id": "c", "attempt": 1, "tokens": 300, "cost": 2.0},
    {"event": "lost", "id": "c", "attempt": 1, "paid": "reserved", "tokens": 300, "cost": 2.0},
    {"event": "sent", "id": "d", "attempt": 1, "tokens": 300, "cost": 2.0},
    {"event": "fault", "id": "d", "attempt": 1, "fault": "cut short", "paid": "reported", "tokens": 400, "cost": 3.0},
]


def make_pets_recipe(**settings: Any) -> Recipe:
    given: dict[str, Any] = {
        "name": "pets",
        "template": "pets.j2",
        "keywords": 2,
        "examples": [{"text": "A cat naps on a warm wall.", "keywords": ["cat", "wall"]}],
        "examples_per_request": 1,
        "fields": {"text": {"description": "the caption"}},
        "style_words": ["park"],
        "train": "task=captioning data=file",
        "licence": "The example is free to use.",
    }
    checked = make_recipe(**given | settings)
    examples = checked.examples if not isinstance(checked.examples, str) else ()
    return Recipe(checked, None if checked.template is None else TEMPLATE, examples)


def make_stage(name: str, num_in: int, removed: Sequence[tuple[str, str, str]] = ()) -> dict[str, Any]:
    examples = [{"id": text_id, "reason": reason, "text": text} for text_id, reason, text in removed]
    return {"name": name, "num_in": num_in, "num_out": len(removed), "examples": examples}


def describe(
    tmp_path: Path,
    texts: Sequence[str] = ("A dog runs in the park.", "A dog opens a box.", "Two dogs opens a box."),
    *,
    recipe: Recipe | None = None,
    model: str = "grammar",
    prices: str = "free",
    references: Sequence[str] = (),
    events: Sequence[dict[str, Any]] = (),
    num_unsent: int = 0,
    num_evaluation: int = 0,
    origin: str = "",
    **settings: Any,
) -> CorpusSummary:
    """Write a corpus with one request per text; all texts are kept but the last, which the filter of length removed.

    `events` come before the answers in the journal; `num_unsent` requests have no answer.
    """
    recipe, folder = recipe or make_pets_recipe(), CorpusFolder(tmp_path / "pets")
    given = {
        "recipe": recipe.settings.model_dump(),
        "output": str(folder.path),
        "grammar": "g.yaml",
        "prices": "p.yaml",
    }
    config = make_settings(SynthesizeCaptionsConfig, "synthesize_captions.yaml", **given | settings)
    num_texts = len(texts) + num_unsent
    shown = list(range(min(1, len(recipe.examples))))
    requests = [recipe.make_request("key", index, ["dog", "park"], {}, shown, index) for index in range(num_texts)]
    folder.path.mkdir()
    write_plan(folder.plan, iter(requests))
    records, removed = [], []
    with RequestJournal(folder.journal, "key") as journal:
        for event in events:
            journal.append(event)
        for request, text in zip(requests, texts, strict=False):
            paid = {"paid": "reported", "tokens": 100, "cost": 0.5, "input_tokens": 80, "output_tokens": 20}
            answer = {"event": "answer", "id": request.id, "attempt": 1, "model": model, "items": [{"text": text}]}
            journal.append(answer if model in ("grammar", "existing text") else answer | paid)
            records.append({"id": f"{request.id}-0", "group": request.id, "text": text, "keywords": ["dog", "park"]})
        ledger = journal.ledger
    last = records.pop()
    removed.append({**last, "stage": "length", "reason": "2 words, fewest is 3"})
    folder.removed.write_text("".join(json.dumps(record) + "\n" for record in removed))
    folder.corpus.write_text("".join(json.dumps(record) + "\n" for record in records))
    filters = {
        "num_answers": len(texts),
        "num_declined": ledger.refused,
        "num_failed": len(ledger.failed),
        "num_texts": len(texts),
        "num_kept": len(records),
        "stages": [
            make_stage("length", len(texts), [(last["id"], "2 words, fewest is 3", last["text"])]),
            make_stage("examples and evaluation texts", len(records)),
        ],
        "num_references": len(references),
        "num_evaluation": num_evaluation,
    }
    return CorpusSummary(
        folder, config, recipe, model, prices, ledger, num_texts, filters, records, list(references), origin
    )
