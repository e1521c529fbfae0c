"""What will be asked: one request a line in plan.jsonl, written before anything is spent.

Every draw is seeded and endless, so the plan for more texts begins with the plan for fewer.
"""

import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from close_transfer.core.atomic_files import atomic_path, damaged_file_error
from close_transfer.core.errors import UserError
from textgen.config import SynthesizeCaptionsConfig
from textgen.prompts.keyword_samplers import SAMPLERS, by_quota, cycle_values, read_quotas
from textgen.prompts.recipe import Recipe, Request
from textgen.text.keywords import KeywordCounts

_SEED_STEP = 1_000_003  # of one plan's requests, apart from another's


def count_requests(recipe: Recipe, num_texts: int | None) -> int:
    """Requests for so many texts; None is every row, or 1,000 texts where there are no rows."""
    texts_per_request = recipe.settings.items_per_request
    if recipe.template is None:
        return len(recipe.rows) if num_texts is None else min(num_texts, len(recipe.rows))
    if num_texts is None:
        return len(recipe.rows) or -(-1000 // texts_per_request)
    return -(-num_texts // texts_per_request)


def _draw_keywords(
    recipe: Recipe, config: SynthesizeCaptionsConfig, counts: KeywordCounts | None
) -> Iterator[tuple[str, ...]]:
    settings, num = config.keywords, recipe.settings.keywords
    rng = random.Random(f"keywords/{config.seed}")
    if not num:
        return itertools.repeat(())
    if settings.sampler == "list":
        if settings.list is None:
            raise UserError("keywords.sampler=list: give keywords.list=FILE with a keyword a line, or another sampler")
        return by_quota(read_quotas(Path(settings.list)), rng)
    if counts is None:
        raise UserError(
            f"recipe={recipe.settings.name} draws keywords: give references=FILE of texts to draw them from, or "
            "keywords.sampler=list keywords.list=FILE"
        )
    return SAMPLERS[settings.sampler](counts, num, rng)


def _cycle_rows(recipe: Recipe, seed: int) -> Iterator[dict[str, Any]]:
    """Rows in the file's order, again from its beginning where there are too few, with values in turn."""
    rows: Sequence[Mapping[str, Any]] = recipe.rows or [{}]
    values = cycle_values(recipe.settings.balanced_values, random.Random(f"balance/{seed}"))
    for row, chosen in zip(itertools.cycle(rows), values, strict=False):
        yield {**row, **chosen}


def make_requests(
    recipe: Recipe, config: SynthesizeCaptionsConfig, counts: KeywordCounts | None, corpus: str, num: int
) -> Iterator[Request]:
    """The first `num_texts` requests of a corpus.

    Args:
        recipe: what is asked.
        config: the sampler, its list and the seed.
        counts: keywords of the reference texts, where the recipe draws any.
        corpus: the key of all that the requests share.
        num: how many.

    Raises:
        UserError: if keywords are drawn and there is nothing to draw them from.
    """
    num_examples = min(recipe.settings.examples_per_request, len(recipe.examples))
    drawn = zip(_draw_keywords(recipe, config, counts), _cycle_rows(recipe, config.seed), strict=False)
    for index, (keywords, given) in enumerate(itertools.islice(drawn, num)):
        rng = random.Random(f"examples/{config.seed}/{index}")
        examples = rng.sample(range(len(recipe.examples)), num_examples) if num_examples else ()
        yield recipe.request(corpus, index, keywords, given, examples, config.seed * _SEED_STEP + index)


def write_plan(path: Path, requests: Iterator[Request]) -> int:
    """Writes the plan and says how many requests it holds; an older one is replaced.

    Raises:
        WriteError: if it cannot be written; the older one stays.
        UserError: if its requests are others than the older plan's, as another version of a library draws other words.
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
                    f"{path}, line {num}: the same settings now give another request, as after an update of this program or "
                    "of a library; what is planned can be asked still (give no num_texts=), and more of it goes to another output="
                )
            file.write(line)
    return num


def read_plan(path: Path) -> Iterator[Request]:
    """The requests of a plan, in order, read as they are asked for.

    Raises:
        UserError: if the file is damaged.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Request.from_record(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise damaged_file_error(path, f"line {number}: {error!r}") from None


def count_plan(path: Path) -> int:
    """Requests of a plan; 0 if there is none."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)
