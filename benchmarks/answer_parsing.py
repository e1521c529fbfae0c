"""Time of parsing and filtering answers of a megabyte, ordinary and hostile ones.

    python benchmarks/answer_parsing.py
    python benchmarks/answer_parsing.py --rounds 5 --output answer_parsing.json

prints a row per answer: the seconds of the process for the whole answer as a run reads it, under a limit of 128 tokens,
which should be at most 0.2; and, without that limit, those of the parser and of the slowest filter. These are medians;
the largest of all rounds follows in brackets.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import measuring

from close_transfer.core.command_line import compose_config
from textgen.config import RecipeSettings, SynthesizeCaptionsConfig
from textgen.corpus.candidate import Candidate
from textgen.corpus.ledger import Spend
from textgen.corpus.prices import FREE
from textgen.filters import build_chain
from textgen.generators.events import make_answer_event
from textgen.generators.response_parser import Unusable, parse_items
from textgen.generators.responses import Reply, RequestError

_SIZE = 2**20
_ANSWERS = {
    "captions": "A brown dog runs over the wet grass.\n",
    "underscores": "Caption" + "_" * (_SIZE - 7),
    "brackets": "x" + "[" * (_SIZE - 1),
    "braces": "{",
    "objects without end": 'x {"a": [1, ',
    "no spaces": "x",
    "endings": "dog" + "'s" * (_SIZE // 2 - 2),
    "names": "Anna ",
    "reasoning": "<think>a</think>",
}


def _measure(function: Callable[..., object], *arguments: object) -> float:
    begin = time.process_time()
    with suppress(Unusable, RequestError):
        function(*arguments)
    return time.process_time() - begin


def _read(answer: str, recipe: RecipeSettings) -> None:
    reply = Reply(answer, None, 40, 128)
    make_answer_event("r", 1, reply, recipe, FREE, Spend(300, 0.0), 128)


def _describe(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.3f} s ({max(seconds):.3f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--output", type=Path, default=measuring.RESULTS / "answer_parsing.json", help="JSON file to write"
    )
    arguments = parser.parse_args()

    settings = compose_config("synthesize_captions", SynthesizeCaptionsConfig, ["filters.clip_tokens=null"])
    recipe = settings.recipe
    given = {"examples": ["A bird sings."], "references": ["A dog runs over grass"], "evaluation": ["A cat sleeps"]}
    stages = build_chain(settings.filters, recipe, instructions="Write a caption.\nCaption:", **given)
    for stage in stages:
        stage.find_reasons([Candidate("r-0", "r", "A warm day")])  # loads word lists
    rows = {}
    print(f"{'answer':20} {'run':>16} {'parser':>16} {'slowest filter':>16}")
    for name, unit in _ANSWERS.items():
        answer = (unit * (_SIZE // len(unit) + 1))[:_SIZE]
        candidates = [Candidate("r-0", "r", " ".join(answer.split()), keywords=("dog",))]
        rounds = range(arguments.rounds)
        run_seconds = [_measure(_read, answer, recipe) for _ in rounds]
        parser_seconds = [_measure(parse_items, answer, recipe) for _ in rounds]
        by_filter = {stage.name: [_measure(stage.find_reasons, candidates) for _ in rounds] for stage in stages}
        slowest = max(by_filter, key=lambda stage: statistics.median(by_filter[stage]))
        columns = (run_seconds, parser_seconds, by_filter[slowest])
        print(f"{name:20} " + " ".join(f"{_describe(seconds):>16}" for seconds in columns), slowest, flush=True)
        rows[name] = {"run": run_seconds, "parser": parser_seconds, "filters": by_filter}
    machine = measuring.describe_machine("cpu")
    result = {"benchmark": "answer_parsing", "machine": machine, "seconds": rows}
    measuring.write_result(arguments.output, result)


if __name__ == "__main__":
    main()
