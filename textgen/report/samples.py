"""What the report shows of every stage: a few requests followed all the way, and texts that were kept."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from textgen.corpus.folder import CorpusFolder
from textgen.corpus.journal import read_answers
from textgen.prompts.plan import read_plan
from textgen.prompts.recipe import Request
from textgen.report.corpus_summary import CorpusSummary
from textgen.text.statistics import draw

NUM_FOLLOWED = 5
NUM_KEPT = 24
NUM_EXAMPLES = 6
_MOST_ANSWERS = 20_000  # of the journal's beginning, among which the answers to the first requests are looked for


@dataclass(frozen=True)
class Outcome:
    """One item of an answer, and what became of it.

    Attributes:
        fields: the item, by field.
        fate: "kept", or the filter and its reason.
        kept: whether it is in the corpus.
    """

    fields: Mapping[str, str]
    fate: str
    kept: bool


@dataclass(frozen=True)
class Followed:
    """A request with its prompt and its answer.

    Attributes:
        request: as planned.
        prompt: what the model was asked; None where no model is.
        answered: whether it was.
        refusal: what the model said instead of an answer, if it declined.
        outcomes: the answer's items.
    """

    request: Request
    prompt: str | None
    answered: bool
    refusal: str
    outcomes: list[Outcome]


def follow_requests(summary: CorpusSummary) -> list[Followed]:
    """The plan's first requests with what became of them; none without a plan.

    Raises:
        UserError: if plan or journal are damaged.
    """
    folder, recipe = summary.folder, summary.recipe
    if not folder.plan.is_file():
        return []
    requests = list(islice(read_plan(folder.plan), NUM_FOLLOWED))
    answers = _find_answers(folder, [request.id for request in requests])
    candidate_ids = {f"{name}-{number}" for name, event in answers.items() for number in range(len(event["items"]))}
    fates = dict.fromkeys((record["id"] for record in summary.records if record["id"] in candidate_ids), "kept")
    for line in _find_removed(folder, candidate_ids - fates.keys()):
        fates[line["id"]] = f"taken out by “{line['stage']}”: {line['reason']}"
    followed = []
    for request in requests:
        event = answers.get(request.id, {"items": []})
        outcomes = []
        for number, item in enumerate(event["items"]):
            fate = fates.get(f"{request.id}-{number}", "not filtered yet")
            outcomes.append(Outcome(item, fate, fate == "kept"))
        prompt = None if recipe.template is None else recipe.render_prompt(request)
        followed.append(Followed(request, prompt, request.id in answers, event.get("refusal", ""), outcomes))
    return followed


def _find_answers(folder: CorpusFolder, request_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not folder.journal.is_file():
        return {}
    answers: dict[str, dict[str, Any]] = {}
    for event in islice(read_answers(folder.journal), _MOST_ANSWERS):
        if event["id"] in request_ids:
            answers[event["id"]] = event
            if len(answers) == len(request_ids):
                break
    return answers


def _find_removed(folder: CorpusFolder, candidate_ids: set[str]) -> Iterator[dict[str, Any]]:
    """Lines of removed.jsonl with these ids, read to the last of them."""
    if not folder.removed.is_file():
        return
    num_left = len(candidate_ids)
    with folder.removed.open(encoding="utf-8") as file:
        for text in file:
            if not num_left:
                return
            line = json.loads(text)
            if line["id"] in candidate_ids:
                num_left -= 1
                yield line


def sample_kept(summary: CorpusSummary) -> list[dict[str, Any]]:
    """Some lines of the corpus, in its order, the same ones every time."""
    return draw(summary.records, NUM_KEPT, 0)


def find_first_request(folder: CorpusFolder) -> float | None:
    """When the first answer came, in seconds since 1970; None if that is not known."""
    if not folder.journal.is_file():
        return None
    first = next(read_answers(folder.journal), {})
    time = first.get("time")
    return float(time) if isinstance(time, (int, float)) else None
