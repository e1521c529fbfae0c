"""What a plan would ask and how far a corpus is, for the terminal."""

from collections import Counter
from itertools import islice

from textgen.corpus.folder import CorpusFolder
from textgen.corpus.ledger import Ledger
from textgen.corpus.prices import bound_tokens, estimate_tokens
from textgen.prompts.inputs import RecipeInputs
from textgen.prompts.plan import count_plan, read_plan
from textgen.text.hashing import to_canonical_json

_SHOWN = 3
_MEASURED = 500  # prompts that a plan's tokens are estimated from


def describe_plan(inputs: RecipeInputs, folder: CorpusFolder) -> str:
    """Requests, tokens, cost and sample prompts of a plan; nothing is asked.

    Raises:
        UserError: if the model has no price, or the template cannot be filled.
    """
    num, recipe = count_plan(folder.plan), inputs.recipe
    texts_per_request = recipe.settings.items_per_request
    lines = [f"{folder.plan}: {num:,} requests for {num * texts_per_request:,} texts, by {inputs.model}"]
    if recipe.template is None:
        return "\n".join([*lines, "the texts exist already, so nothing is asked"])
    step = max(1, num // _MEASURED)
    requests = list(islice(read_plan(folder.plan), 0, None, step))
    prompts = [recipe.render_prompt(request) for request in requests]
    if inputs.family == "openai":
        lines += _describe_cost(inputs, prompts, num)
    else:
        lines.append("this costs nothing")
    for number, prompt in enumerate(prompts[:_SHOWN], start=1):
        lines += [f"\n--- prompt {number} ---", prompt]
    return "\n".join(lines)


def _describe_cost(inputs: RecipeInputs, prompts: list[str], num: int) -> list[str]:
    """Tokens and dollars: about how many, and the most that can be paid if no attempt fails."""
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
        f"about {num_input:,} tokens of prompts, at most {num * max_output:,} of answers ({max_output} each)",
        f"cost: {dollars}; failed attempts that a server charges for come on top, and count towards max_cost",
    ]


def describe_status(ledger: Ledger, num_planned: int) -> str:
    """Requests answered, under way, given up; and what was spent."""
    parts = [f"{len(ledger.answered):,} of {num_planned:,} requests answered"]
    if ledger.refused:
        parts.append(f"{ledger.refused:,} of them declined by the model")
    if ledger.open:
        parts.append(f"{len(ledger.open):,} under way")
    if ledger.waiting:
        parts.append(f"{len(ledger.waiting):,} batches waited for")
    if ledger.failed:
        faults = ", ".join(f"{fault}: {num:,}" for fault, num in Counter(ledger.failed.values()).most_common())
        parts.append(f"{len(ledger.failed):,} given up ({faults})")
    if ledger.spent.tokens:
        # Without a price, or with one of 0, there is no sum to tell.
        parts.append(
            f"{ledger.spent.tokens:,} tokens{f', ${ledger.spent.cost:,.4f}' if ledger.spent.cost else ''} spent"
        )
    return ", ".join(parts)
