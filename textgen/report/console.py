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


def describe_plan(prepared: RecipeInputs, folder: CorpusFolder) -> str:
    """Requests, tokens, cost and sample prompts of a plan; nothing is asked.

    Raises:
        UserError: if the model has no price, or the template cannot be filled.
    """
    num, recipe = count_plan(folder.plan), prepared.recipe
    each = recipe.settings.items_per_request
    lines = [f"{folder.plan}: {num:,} requests for {num * each:,} texts, by {prepared.model}"]
    if recipe.template is None:
        return "\n".join([*lines, "the texts exist already, so nothing is asked"])
    step = max(1, num // _MEASURED)
    measured = list(islice(read_plan(folder.plan), 0, None, step))
    prompts = [recipe.prompt(request) for request in measured]
    if prepared.family == "openai":
        lines += _cost_in_words(prepared, prompts, num)
    else:
        lines.append("this costs nothing")
    for number, prompt in enumerate(prompts[:_SHOWN], start=1):
        lines += [f"\n--- prompt {number} ---", prompt]
    return "\n".join(lines)


def _cost_in_words(prepared: RecipeInputs, prompts: list[str], num: int) -> list[str]:
    """Tokens and dollars: about how many, and the most that can be paid if no attempt fails."""
    system = prepared.config.recipe.system
    schema = to_canonical_json(prepared.recipe.schema)
    price, output = prepared.price, prepared.max_output_tokens
    about = num * sum(estimate_tokens(prompt, system, schema) for prompt in prompts) // len(prompts)
    most = num * sum(bound_tokens(prompt, system, schema) for prompt in prompts) // len(prompts)
    dollars = (
        "unknown, as there is no price"
        if price.as_of == "unknown"
        else (
            f"${price.of(about, num * output // 2).cost:,.4f} with answers half as long as they may be, "
            f"at most ${price.of(most, num * output).cost:,.4f} (prices of {price.as_of})"
        )
    )
    return [
        f"about {about:,} tokens of prompts, at most {num * output:,} of answers ({output} each)",
        f"cost: {dollars}; failed attempts that a server charges for come on top, and count towards max_cost",
    ]


def describe_status(ledger: Ledger, num_planned: int) -> str:
    """Requests answered, under way, given up; and what was spent."""
    told = [f"{len(ledger.answered):,} of {num_planned:,} requests answered"]
    if ledger.refused:
        told.append(f"{ledger.refused:,} of them declined by the model")
    if ledger.open:
        told.append(f"{len(ledger.open):,} under way")
    if ledger.waiting:
        told.append(f"{len(ledger.waiting):,} batches waited for")
    if ledger.failed:
        faults = ", ".join(f"{fault}: {num:,}" for fault, num in Counter(ledger.failed.values()).most_common())
        told.append(f"{len(ledger.failed):,} given up ({faults})")
    if ledger.spent.tokens:
        # Without a price, or with one of 0, there is no sum to tell.
        told.append(
            f"{ledger.spent.tokens:,} tokens{f', ${ledger.spent.cost:,.4f}' if ledger.spent.cost else ''} spent"
        )
    return ", ".join(told)
