"""Request rate of textgen's scheduler compared with the ideal rate and with a bare client.

    python benchmarks/request_throughput.py

Prints two rates, medians over several runs, against the tests' stand-in server in another process:
- answers that take half a second, 64 at a time: the ideal is 128 requests per second;
- instant answers: compared with a bare loop over the asynchronous client, which neither stores nor checks answers.
"""

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import openai

sys.path.insert(0, str(Path(__file__).parent.parent))  # for the stand-in server of the tests

from close_transfer.core.signals import StopRequest
from tests.settings import make_recipe
from tests.textgen.stand_in.server import StandInServer
from textgen.corpus.journal import RequestJournal
from textgen.corpus.prices import Price
from textgen.generators.async_client import Limits, RequestScheduler
from textgen.generators.openai_api import Access, Parameters, build_request_body
from textgen.generators.openai_live import OpenAIClient
from textgen.prompts.recipe import Recipe, Request

CONCURRENCY = 64
RUNS = 5
SETTINGS = make_recipe(name="benchmark", template="", keywords=2)
RECIPE = Recipe(SETTINGS, "Write one caption of a photograph.\nKeywords: {{ keywords | join(', ') }}")
PARAMETERS = Parameters("model", None, 1.0, 1.0, 64)


def build_requests(num: int, run: int) -> list[Request]:
    return [RECIPE.make_request("benchmark", i, ["dog", f"word{i}"], {}, (), run * num + i) for i in range(num)]


def measure_scheduler_rate(access: Access, num: int, run: int) -> float:
    """Return the requests per second of the scheduler with its prompts, caps and journal."""
    client = OpenAIClient(access, PARAMETERS, RECIPE.schema, "auto", 60.0)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with RequestJournal(Path(folder) / "journal.jsonl", "benchmark") as journal:
            limits = Limits(concurrency=CONCURRENCY, max_cost=1e6, max_total_tokens=10**12)
            scheduler = RequestScheduler(
                client, journal, SETTINGS, Price(1e-7, 4e-7, ""), limits, 64, RECIPE.render_prompt, StopRequest()
            )
            with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):  # the progress bar
                scheduler.run(build_requests(num, run), num)
            assert len(journal.ledger.answered) == num
        return num / (time.perf_counter() - begun)


def measure_bare_rate(access: Access, num: int, run: int) -> float:
    """Return the requests per second of the client alone."""
    bodies = [
        build_request_body(RECIPE.render_prompt(request), PARAMETERS, RECIPE.schema, request.seed, access)
        for request in build_requests(num, run)
    ]

    async def loop() -> float:
        client = openai.AsyncOpenAI(api_key=access.key, base_url=access.base_url, max_retries=0)
        waiting = iter(bodies)

        async def work() -> None:
            for body in waiting:
                answer = await client.chat.completions.create(**body)
                assert answer.choices[0].message.content

        begun = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
        rate = num / (time.perf_counter() - begun)
        await client.close()
        return rate

    return asyncio.run(loop())


def main() -> None:
    with StandInServer({"delay": 0.5}) as server:
        access = Access(server.base_url, "key", "chat")
        rates = [measure_scheduler_rate(access, 20 * CONCURRENCY, run) for run in range(RUNS)]
    ideal = CONCURRENCY / 0.5
    rate = statistics.median(rates)
    print(
        f"answers in 500 ms, {CONCURRENCY} at a time: {rate:.1f} requests/s, {100 * rate / ideal:.1f}% of {ideal:.0f}"
    )
    with StandInServer({}) as server:
        access = Access(server.base_url, "key", "chat")
        measure_bare_rate(access, 500, 0)
        pairs = [
            (measure_scheduler_rate(access, 3000, run), measure_bare_rate(access, 3000, run)) for run in range(RUNS)
        ]
    ours, theirs = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    share = statistics.median(scheduler_rate / bare_rate for scheduler_rate, bare_rate in pairs)
    print(
        f"instant answers: {ours:.0f} requests/s, {100 * share:.1f}% of a bare client's {theirs:.0f} (median of pairs)"
    )


if __name__ == "__main__":
    main()
