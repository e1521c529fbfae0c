"""Console output: plans and the status of a corpus."""

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from textgen.corpus.folder import CorpusFolder
from textgen.corpus.ledger import Ledger
from textgen.corpus.prices import bound_tokens, estimate_tokens
from textgen.corpus.repair import Repair
from textgen.prompts.inputs import RecipeInputs
from textgen.prompts.plan import count_plan, read_plan
from textgen.text.hashing import to_canonical_json

_NUM_SHOWN = 3  # prompts that are printed
_NUM_DROPPED_SHOWN = 10  # lines of a journal that are printed
_NUM_MEASURED = 500  # prompts, spread over the plan, from which its tokens are estimated


def describe_plan(inputs: RecipeInputs, folder: CorpusFolder) -> str:
    """Describe a plan: requests, tokens, cost and sample prompts. Nothing is sent.

    Raises:
        UserError: if the model has no price, or the template cannot be rendered.
    """
    num, recipe = count_plan(folder.plan), inputs.recipe
    texts_per_request = recipe.settings.items_per_request
    lines = [f"{folder.plan}: {num:,} requests for {num * texts_per_request:,} texts, by {inputs.model}"]
    if recipe.template is None:
        return "\n".join([*lines, "the texts exist already, so nothing is sent"])
    step = max(1, num // _NUM_MEASURED)
    requests = list(islice(read_plan(folder.plan), 0, None, step))
    prompts = [recipe.render_prompt(request) for request in requests]
    if inputs.family == "openai":
        lines += _describe_cost(inputs, prompts, num)
    else:
        lines.append("this costs nothing")
    for number, prompt in enumerate(prompts[:_NUM_SHOWN], start=1):
        lines += [f"\n--- prompt {number} ---", prompt]
    return "\n".join(lines)


def _describe_cost(inputs: RecipeInputs, prompts: list[str], num: int) -> list[str]:
    """Describe the estimated tokens and dollars, and their upper bounds if no attempt fails."""
    system = inputs.config.recipe.system
    schema = to_canonical_json(inputs.recipe.schema)
    price, max_output = inputs.price, inputs.max_output_tokens
    num_input = num * sum(estimate_tokens(prompt, system, schema) for prompt in prompts) // len(prompts)
    max_input = num * sum(bound_tokens(prompt, system, schema) for prompt in prompts) // len(prompts)
    dollars = (
        "unknown, because the model has no price"
        if price.as_of == "unknown"
        else (
            f"${price.compute_spend(num_input, num * max_output // 2).cost:,.4f} with answers half as long as they may be, "
            f"at most ${price.compute_spend(max_input, num * max_output).cost:,.4f} (prices of {price.as_of})"
        )
    )
    return [
        f"about {num_input:,} tokens in prompts, at most {num * max_output:,} in answers ({max_output} each)",
        f"cost: {dollars}; failed attempts that the server charges for are extra, and count towards max_cost",
    ]


def describe_status(ledger: Ledger, num_planned: int) -> str:
    """Describe the requests answered, in flight and given up, and the spend."""
    parts = [f"{len(ledger.answered):,} of {num_planned:,} requests answered"]
    if ledger.refused:
        parts.append(f"{ledger.refused:,} of them declined by the model")
    if ledger.open:
        parts.append(f"{len(ledger.open):,} in flight")
    if ledger.waiting:
        parts.append(f"{len(ledger.waiting):,} batches in progress")
    if ledger.failed:
        faults = ", ".join(f"{fault}: {num:,}" for fault, num in Counter(ledger.failed.values()).most_common())
        parts.append(f"{len(ledger.failed):,} given up ({faults})")
    if ledger.spent.tokens:
        # Without a price, or with a price of 0, dollars would only mislead.
        parts.append(
            f"{ledger.spent.tokens:,} tokens{f', ${ledger.spent.cost:,.4f}' if ledger.spent.cost else ''} spent"
        )
    return ", ".join(parts)


def describe_corpus(folder: CorpusFolder, filters: Mapping[str, Any]) -> str:
    """Describe what the filters kept, and the strictest filter if they removed more than half."""
    lines = [
        f"{folder.corpus}: {filters['num_kept']:,} of {filters['num_texts']:,} texts passed the filters",
        f"report: {folder.report}",
    ]
    if filters["num_texts"] and filters["num_kept"] < filters["num_texts"] / 2:
        strictest = max(filters["stages"], key=lambda stage: stage["num_out"])
        lines.append(
            f"the filter {strictest['name']} removed the most texts: {strictest['num_out']:,}, for example because: {strictest['examples'][0]['reason']}"
        )
    return "\n".join(lines)


def describe_repair(repair: Repair, journal: Path, num_planned: int) -> str:
    """Describe a repair: lines restored and dropped, and the requests answered now."""
    if not repair.was_needed:
        return f"{journal}: is not damaged, and its events were not changed"
    dropped = [f"dropped: {reason}" for reason in repair.dropped[:_NUM_DROPPED_SHOWN]]
    return "\n".join(
        [
            f"{journal}: {repair.num_restored:,} lines were restored and {len(repair.dropped):,} dropped; "
            + (f"the file as it was is {repair.copy}" if repair.copy else "there was no such file"),
            *dropped,
            f"{describe_status(repair.ledger, num_planned)}. Continue with action=run",
        ]
    )
