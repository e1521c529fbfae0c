"""Plan of a corpus: one request per line in plan.jsonl, written before anything is spent; its length is in a file next to it.

All draws are endless and seeded, so the plan for more texts begins with the plan for fewer.
"""

import itertools
import json
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from close_transfer.core.atomic_files import atomic_path
from close_transfer.core.errors import UserError
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.line_counts import locate_length, read_length, write_length
from textgen.prompts.keyword_samplers import SAMPLERS, cycle_values, read_quotas, sample_by_quota
from textgen.prompts.recipe import Recipe, Request
from textgen.text.keywords import KeywordCounts

# Sampling seeds of a plan are consecutive numbers from seed * step, so plans of two seeds share none below this size.
_SEED_STEP = 1_000_003


def count_requests(recipe: Recipe, num_texts: int | None) -> int:
    """Return the number of requests for `num_texts` texts; None means one per row, or 1,000 texts without rows."""
    texts_per_request = recipe.settings.items_per_request
    if recipe.template is None:
        return len(recipe.rows) if num_texts is None else min(num_texts, len(recipe.rows))
    if num_texts is None:
        return len(recipe.rows) or -(-1000 // texts_per_request)  # rounded up, as below
    return -(-num_texts // texts_per_request)


def _draw_keywords(
    recipe: Recipe, config: SynthesizeCaptionsConfig, counts: KeywordCounts | None
) -> Iterator[tuple[str, ...]]:
    settings, num = config.keywords, recipe.settings.keywords
    rng = random.Random(f"keywords/{config.plan_seed}")  # a separate stream, so that other draws do not change it
    if not num:
        return itertools.repeat(())
    if settings.sampler == "list":
        if settings.list is None:
            raise UserError(
                "keywords.sampler=list: needs a list. Give keywords.list=FILE with one keyword per line, or another sampler"
            )
        return sample_by_quota(read_quotas(Path(settings.list)), rng)
    if counts is None:
        raise UserError(
            f"recipe={recipe.settings.name}: needs texts or a list to draw keywords from. Give references=FILE, or "
            "keywords.sampler=list keywords.list=FILE"
        )
    return SAMPLERS[settings.sampler](counts, num, rng)


def _cycle_rows(recipe: Recipe, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the rows in the file's order, repeated as needed, with the balanced values in turn."""
    rows: Sequence[Mapping[str, Any]] = recipe.rows or [{}]
    values = cycle_values(recipe.settings.balanced_values, random.Random(f"balance/{seed}"))
    for row, chosen in zip(itertools.cycle(rows), values, strict=False):
        yield {**row, **chosen}


def make_requests(
    recipe: Recipe, config: SynthesizeCaptionsConfig, counts: KeywordCounts | None, corpus: str, num: int
) -> Iterator[Request]:
    """Yield the first `num` requests of a corpus.

    Args:
        recipe: the recipe.
        config: settings of the sampler, its list and the seed.
        counts: keywords to draw from; None if the recipe draws none.
        corpus: key of the corpus, which stands for all inputs that its requests share.
        num: number of requests.

    Raises:
        UserError: if keywords are needed and there is nothing to draw them from.
    """
    num_examples = min(recipe.settings.examples_per_request, len(recipe.examples))
    inputs = zip(_draw_keywords(recipe, config, counts), _cycle_rows(recipe, config.plan_seed), strict=False)
    for index, (keywords, given) in enumerate(itertools.islice(inputs, num)):
        # A seed per request: its examples do not depend on how many requests come before it.
        rng = random.Random(f"examples/{config.plan_seed}/{index}")
        examples = rng.sample(range(len(recipe.examples)), num_examples) if num_examples else ()
        yield recipe.make_request(corpus, index, keywords, given, examples, config.plan_seed * _SEED_STEP + index)


def write_plan(path: Path, requests: Iterator[Request]) -> int:
    """Write the plan and its length, replacing an older one, and return its number of requests.

    Raises:
        WriteError: if it cannot be written; the older plan is intact.
        UserError: if a request differs from the older plan's, which happens when an updated library draws other words.
    """
    num = 0
    with ExitStack() as stack:
        file = stack.enter_context(stack.enter_context(atomic_path(path)).open("w", encoding="utf-8"))
        old_lines = stack.enter_context(path.open(encoding="utf-8")) if path.is_file() else iter(())
        for num, request in enumerate(requests, start=1):
            old_line = next(old_lines, None)
            line = json.dumps(request.to_record(), ensure_ascii=False) + "\n"
            if old_line is not None and line != old_line:
                raise UserError(
                    f"{path}, line {num}: the same settings now give another request, probably after an update of this "
                    "program or of a library. Leave num_texts= out to finish the existing plan, or use a new output= for more"
                )
            file.write(line)
        locate_length(path).unlink(missing_ok=True)  # before the new plan, which may be shorter
    write_length(path, num)
    return num


def read_plan(path: Path) -> Iterator[Request]:
    """Yield the requests of a plan in order, reading the file as a stream.

    Raises:
        UserError: if the file is damaged.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                raise make_damage_error(path, f"line {number} is cut short")
            try:
                yield Request.from_record(json.loads(line.decode()))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise make_damage_error(path, f"line {number}: {error!r}") from None


def make_damage_error(path: Path, problem: str) -> UserError:
    """Return the error for a plan that is not as this program wrote it."""
    return UserError(
        f"{path}: is damaged ({problem}). Restore it from a copy; or delete it and run the same command with the num_texts= of "
        "the corpus, which plans the same requests again"
    )


def check_plan(path: Path, recipe: Recipe, corpus: str) -> None:
    """Check that every line of a plan is in its place and that its id is the hash of its contents.

    Args:
        path: the plan.
        recipe: the recipe.
        corpus: key of the corpus.

    Raises:
        UserError: names the first line that is damaged.
    """
    for index, request in enumerate(read_plan(path)):
        try:
            made = recipe.make_request(corpus, index, request.keywords, request.given, request.examples, request.seed)
        except (IndexError, TypeError, ValueError) as error:
            raise make_damage_error(path, f"line {index + 1}: {error!r}") from None
        if made != request:
            problem = "its id is not the hash of its contents" if request.index == index else "it is not in its place"
            raise make_damage_error(path, f"line {index + 1}: {problem}")


def check_sent_requests(path: Path, sent: Collection[str]) -> None:
    """Check that a plan has all requests of the journal.

    Args:
        path: the plan, which may be missing.
        sent: ids of the journal's requests.

    Raises:
        UserError: if it lacks some, so that it is not the plan that they were sent from.
    """
    lacking = set(sent)
    for request in read_plan(path) if lacking and path.is_file() else ():
        lacking.discard(request.id)
    if lacking:
        raise UserError(
            f"{path}: is damaged (it lacks {len(lacking):,} of {len(sent):,} requests that the journal next to it has). Restore "
            "it from a copy; or run the same command with the num_texts= of the corpus, which plans the same requests again"
        )


def count_plan(path: Path) -> int:
    """Return the number of requests of a plan; 0 if there is no plan, or an empty one.

    Raises:
        UserError: if requests are missing at its end.
    """
    if not path.is_file():
        return 0
    # Read first, because another process may extend the plan meanwhile.
    length = read_length(path, f"delete {locate_length(path).name} if no request is missing at the end")
    with path.open("rb") as file:
        num = sum(1 for _ in file)
    if 0 < num < length:
        raise make_damage_error(path, f"it has {num:,} requests, and {locate_length(path).name} counts {length:,}")
    return num
