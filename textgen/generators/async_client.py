"""Asks a server for what a plan still lacks: many requests at a time, each attempt in the journal, within the caps."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiolimiter import AsyncLimiter
from tqdm import tqdm

from close_transfer.core.signals import StopRequest
from textgen.config import RecipeSettings
from textgen.corpus.journal import SYNC_SECONDS, RequestJournal
from textgen.corpus.ledger import Caps, Spend
from textgen.corpus.prices import Price, bound_tokens, estimate_tokens
from textgen.generators.events import answer_event, make_fault_event
from textgen.generators.responses import NO_CONNECTION, TOO_FAST, Client, Reply, RequestError
from textgen.prompts.recipe import Request

_LONGEST_PAUSE = 60.0  # seconds between two attempts, if the server names no time
_MOST_DOUBLINGS = 30  # of the pause
_TOKEN_WINDOW = 10.0  # seconds over which tokens a minute are evened out
_FIRST_TRIES = 3  # to connect to a server that no request of this run has reached


@dataclass(frozen=True, kw_only=True)
class Limits(Caps):
    """How fast, how long and how much is asked.

    Attributes:
        concurrency: requests under way at a time.
        requests_per_minute, tokens_per_minute: of the server; None is no limit.
        request_timeout: seconds for one attempt.
        max_attempts: of one request in one run.
        initial_backoff: seconds before the second attempt; doubled for each further one.
    """

    concurrency: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    request_timeout: float = 60.0
    max_attempts: int = 8
    initial_backoff: float = 0.5


@dataclass
class RequestScheduler:
    """One run over the requests that have no answer.

    Attributes:
        stopped: why it ended before its last request, if it did.
        fatal: the fault that every further request would meet, if one did.
    """

    client: Client
    journal: RequestJournal
    recipe: RecipeSettings
    price: Price
    limits: Limits
    max_output_tokens: int
    prompt: Callable[[Request], str]
    stop: StopRequest
    stopped: str | None = None
    fatal: RequestError | None = None
    _under_way: int = 0
    _resume_at: float = 0.0
    _reached: bool = False
    _error: Exception | None = None
    _jitter: random.Random = field(default_factory=random.Random)

    def run(self, requests: Iterable[Request], num: int) -> None:
        """Asks all of them, `num_texts` for the progress bar, unless a cap, a signal or a fatal fault ends it sooner.

        An error of one request (a prompt that cannot be made, a full disk) is raised once what is under way has come
        back: it was paid for.
        """
        asyncio.run(self._run(iter(requests), num))

    async def _run(self, requests: Iterator[Request], num: int) -> None:
        self._changed = asyncio.Event()
        self._ending = asyncio.Event()
        self._requests_limit, self._tokens_limit = self._make_limiters()
        workers = [asyncio.create_task(self._work(requests)) for _ in range(min(self.limits.concurrency, max(1, num)))]
        watcher = asyncio.create_task(self._watch(num))
        try:
            await asyncio.gather(*workers)
        finally:
            for task in (*workers, watcher):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
            await self.client.close()
        if self._error is not None:
            raise self._error

    def _make_limiters(self) -> tuple[AsyncLimiter | None, AsyncLimiter | None]:
        requests, tokens = self.limits.requests_per_minute, self.limits.tokens_per_minute
        by_requests = None
        if requests is not None:  # evened out: not a minute's worth at once
            by_requests = AsyncLimiter(requests / 60, 1.0) if requests >= 60 else AsyncLimiter(1, 60.0 / requests)
        by_tokens = AsyncLimiter(tokens * _TOKEN_WINDOW / 60, _TOKEN_WINDOW) if tokens is not None else None
        return by_requests, by_tokens

    async def _watch(self, num: int) -> None:
        """Shows what is flushed to the disk, and passes on signals."""
        ledger, num_before = self.journal.ledger, self.journal.num_durable
        with tqdm(total=num, unit="request", smoothing=0.1) as bar:
            try:
                while True:
                    await asyncio.sleep(2 * SYNC_SECONDS)
                    bar.update(self.journal.num_durable - num_before - bar.n)
                    bar.set_postfix_str(f"${ledger.spent.cost:.4f}, {ledger.spent.tokens:,} tokens", refresh=False)
                    if self.stop.asked:
                        self._end("a signal")
            finally:
                bar.update(len(ledger.answered) - num_before - bar.n)

    def _end(self, reason: str) -> None:
        self.stopped = self.stopped or reason
        self._ending.set()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _work(self, requests: Iterator[Request]) -> None:
        try:
            for request in requests:
                await self._ask(request)
                if self.stopped:
                    return
        except Exception as error:
            self._error = self._error or error
            self._end("an error")

    async def _ask(self, request: Request) -> None:
        """Asks one request until it is answered, its attempts are used up, or all ends."""
        prompt = self.prompt(request)
        texts = self.client.request_texts(prompt)
        reserve = self.price.compute_spend(bound_tokens(*texts), self.max_output_tokens)
        attempt = self.journal.ledger.attempts.get(request.id, 0)
        used = unreached = failed = 0
        answered = len(self.journal.ledger.answered)
        while True:
            await self._wait_for_turn(estimate_tokens(*texts) + self.max_output_tokens)
            if not await self._wait_until_affordable(reserve):
                return
            attempt += 1
            self.journal.append({"event": "sent", "id": request.id, "attempt": attempt, **reserve._asdict()})
            try:
                reply = await self._attempt(prompt, request.seed)
                event = answer_event(request.id, attempt, reply, self.recipe, self.price, reserve)
            except RequestError as fault:
                self.journal.append(make_fault_event(request.id, attempt, fault, self.price, reserve))
                self._notify()
                unreached = self._count_unreached(fault, unreached)
                # A server that answers others meanwhile asks for patience: that says nothing about this request.
                answered_before, answered = answered, len(self.journal.ledger.answered)
                used += fault.counts and not (fault.kind == TOO_FAST and answered > answered_before)
                failed += fault.counts
                if not await self._should_continue(request, fault, used, failed):
                    return
            else:
                self.journal.append(event)
                self._notify()
                self._reached = True
                return

    async def _attempt(self, prompt: str, seed: int) -> Reply:
        self._under_way += 1
        try:
            async with asyncio.timeout(self.limits.request_timeout):
                return await self.client.ask(prompt, seed)
        except TimeoutError:
            raise RequestError(
                "deadline", "reserved", f"no answer within request_timeout={self.limits.request_timeout:g} s"
            ) from None
        finally:
            self._under_way -= 1

    def _count_unreached(self, fault: RequestError, unreached_before: int) -> int:
        """How many of a request's last attempts found no server; after too many there is none for the others either."""
        if fault.kind != NO_CONNECTION:
            self._reached = True
            return 0
        max_attempts = self.limits.max_attempts
        fault.fatal = unreached_before + 1 >= (max_attempts if self._reached else min(_FIRST_TRIES, max_attempts))
        return unreached_before + 1

    async def _should_continue(self, request: Request, fault: RequestError, used: int, failed: int) -> bool:
        """Waits as long as the fault asks for; False if the request is not asked again.

        Of `failed` attempts, `used` count as the request's own. Where the server names a time, all wait for it, and then
        longer the more often they failed, so that they do not all come back at once.
        """
        if fault.fatal:
            self.fatal = self.fatal or fault
            self._end(str(fault))
            return False
        if not fault.retry or used >= self.limits.max_attempts:
            self.journal.append({"event": "gave_up", "id": request.id, "fault": fault.kind})
            return False
        if fault.retry_after:
            self._resume_at = max(self._resume_at, time.monotonic() + fault.retry_after)
        if fault.counts:
            pause = min(_LONGEST_PAUSE, self.limits.initial_backoff * 2 ** min(failed - 1, _MOST_DOUBLINGS))
            spread = (0.0, 1.0) if fault.retry_after else (0.5, 1.5)
            await self._sleep((fault.retry_after or 0.0) + pause * self._jitter.uniform(*spread))
        return not self.stopped

    async def _sleep(self, seconds: float) -> None:
        """Until then, or until all ends."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    async def _await_unless_ending(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Until it is done, or until all ends."""
        tasks = [asyncio.create_task(waiting), asyncio.create_task(self._ending.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _wait_for_turn(self, tokens: int) -> None:
        if self._requests_limit is not None:
            await self._await_unless_ending(self._requests_limit.acquire())
        if self._tokens_limit is not None:
            await self._await_unless_ending(self._tokens_limit.acquire(min(tokens, self._tokens_limit.max_rate)))
        while (pause := self._resume_at - time.monotonic()) > 0 and not self.stopped:
            await self._sleep(pause)

    async def _wait_until_affordable(self, reserve: Spend) -> bool:
        """Whether the caps hold if this request costs the most it can; waits for what is under way to free some."""
        while not self.stopped:
            cap = self.limits.find_reached(self.journal.ledger.committed.plus(reserve))
            if cap is None:
                return True
            if not self._under_way:
                self._end(cap)
            else:
                await self._changed.wait()
        return False
