"""Concurrent requests to a server for the missing answers of a plan, journalled and within the caps."""

import asyncio
import contextlib
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiolimiter import AsyncLimiter
from tqdm import tqdm

from close_transfer.core.console import show
from close_transfer.core.signals import StopRequest
from textgen.config import RecipeSettings
from textgen.corpus.journal import SYNC_SECONDS, RequestJournal
from textgen.corpus.ledger import Spend
from textgen.corpus.prices import Price, bound_tokens, estimate_tokens
from textgen.generators.events import make_answer_event, make_fault_event
from textgen.generators.first_answers import FirstAnswers, RequestFaults
from textgen.generators.limits import LONG_WAIT, Limits
from textgen.generators.responses import TOO_FAST, Client, Reply, RequestError
from textgen.prompts.recipe import Request

_MAX_PAUSE = 60.0  # seconds between two attempts, unless the server asks for more
_MAX_DOUBLINGS = 30  # of the pause; a larger exponent could overflow
_TOKEN_WINDOW = 10.0  # seconds over which the rate of tokens is averaged
# Seconds after an answer in which a refusal because of the rate limit says only that the server is busy. Providers count
# requests per minute, so the next free place can be as far away.
_BUSY_WINDOW = 60.0


@dataclass
class RequestScheduler:
    """Scheduler of one run over the requests without an answer.

    Attributes:
        client: the server.
        journal: journal of the attempts.
        recipe: recipe, which decides the shape of an answer.
        price: price of the model's tokens.
        limits: limits of rate, time and spend.
        max_output_tokens: token limit of one answer.
        render_prompt: function of a request; returns its prompt.
        stop: request to stop by a signal.
        stopped: reason why the run ended before its last request; None if it did not.
        fatal: fault that every further request would meet; None if there was none.
    """

    client: Client
    journal: RequestJournal
    recipe: RecipeSettings
    price: Price
    limits: Limits
    max_output_tokens: int
    render_prompt: Callable[[Request], str]
    stop: StopRequest
    stopped: str | None = None
    fatal: RequestError | None = None
    _num_unsettled: int = 0
    _resume_at: float = 0.0
    _answered_at: float = -math.inf
    _error: Exception | None = None
    _jitter: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Start without any sign of the server."""
        self._first_answers = FirstAnswers(self.limits.max_attempts)

    @property
    def given_up(self) -> Counter[str]:
        """Last fault, in the server's words -> number of requests that were given up for it."""
        return self._first_answers.given_up

    def run(self, requests: Iterable[Request], num: int) -> None:
        """Send all requests, unless a cap, a signal or a fatal fault ends the run before.

        Args:
            requests: the requests.
            num: their number, for the progress bar.

        Raises:
            Exception: if a prompt cannot be made or the journal cannot be written. It is raised after the requests in
                flight have come back, because they are paid for.
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
        if requests is not None:  # spread evenly: never a minute's requests at once
            by_requests = AsyncLimiter(requests / 60, 1.0) if requests >= 60 else AsyncLimiter(1, 60.0 / requests)
        by_tokens = AsyncLimiter(tokens * _TOKEN_WINDOW / 60, _TOKEN_WINDOW) if tokens is not None else None
        return by_requests, by_tokens

    async def _watch(self, num: int) -> None:
        """Show the number of answers that are flushed to the disk, and end the run at a signal."""
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
        """Send one request until it is answered, its attempts are used up, or the run ends."""
        prompt = self.render_prompt(request)
        texts = self.client.list_request_texts(prompt)
        reserve = self.price.compute_spend(bound_tokens(*texts), self.max_output_tokens)
        attempt = self.journal.ledger.attempts.get(request.id, 0)
        num_used = num_failed = 0
        faults = RequestFaults()
        while True:
            await self._wait_for_turn(estimate_tokens(*texts) + self.max_output_tokens)
            if not await self._wait_until_affordable(reserve):
                return
            attempt += 1
            # Before the request leaves: after a kill the journal must know what may have been paid for.
            self._num_unsettled += 1
            self.journal.append({"event": "sent", "id": request.id, "attempt": attempt, **reserve._asdict()})
            try:
                reply = await self._attempt(prompt, request.seed)
                # In a thread, so that an answer that is slow to parse does not delay the others beyond their timeout.
                event = await asyncio.to_thread(
                    make_answer_event,
                    request.id,
                    attempt,
                    reply,
                    self.recipe,
                    self.price,
                    reserve,
                    self.max_output_tokens,
                )
            except RequestError as fault:
                self._settle(make_fault_event(request.id, attempt, fault, self.price, reserve))
                self._first_answers.note_fault(fault, faults)
                is_only_busy = fault.kind == TOO_FAST and time.monotonic() < self._answered_at + _BUSY_WINDOW
                num_used += fault.counts and not is_only_busy
                num_failed += fault.counts
                if not await self._should_continue(request, fault, num_used, num_failed):
                    return
            else:
                self._settle(event)
                self._answered_at = time.monotonic()
                self._first_answers.note_answer()
                return

    async def _attempt(self, prompt: str, seed: int) -> Reply:
        try:
            async with asyncio.timeout(self.limits.request_timeout):
                return await self.client.ask(prompt, seed)
        except TimeoutError:
            raise RequestError(
                "deadline", "reserved", f"no answer within request_timeout={self.limits.request_timeout:g} s"
            ) from None

    def _settle(self, event: dict[str, Any]) -> None:
        """Write the outcome of an attempt, which frees what it had reserved."""
        self.journal.append(event)
        self._num_unsettled -= 1
        self._notify()

    def _give_up(self, request: Request, fault: RequestError) -> None:
        self.journal.append({"event": "gave_up", "id": request.id, "fault": fault.kind})
        if self._first_answers.note_given_up(fault):
            self.fatal = self.fatal or fault
            self._end(str(fault))

    def _note_wait(self, fault: RequestError) -> None:
        """Say until when a server asks to wait, if it is long, and more than was said before."""
        note = self.limits.check_wait(fault)
        if note and time.monotonic() + (fault.retry_after or 0.0) > self._resume_at + LONG_WAIT:
            show(f"{self.client.server}: {fault}; {note}")

    async def _should_continue(self, request: Request, fault: RequestError, num_used: int, num_failed: int) -> bool:
        """Wait as long as the fault requires; return False if the request must not be sent again.

        If the server names a time, all requests wait for it. Each then waits a random time that grows with its failures,
        so that they do not all come back at once.

        Args:
            request: the request.
            fault: fault of its last attempt.
            num_used: number of attempts that count towards `max_attempts`.
            num_failed: number of failed attempts, which decides the pause.
        """
        self._note_wait(fault)
        if fault.fatal:
            self.fatal = self.fatal or fault
            self._end(str(fault))
            return False
        if not fault.retry or num_used >= self.limits.max_attempts:
            self._give_up(request, fault)
            return False
        if fault.retry_after:
            self._resume_at = max(self._resume_at, time.monotonic() + fault.retry_after)
        if fault.counts:
            pause = min(_MAX_PAUSE, self.limits.initial_backoff * 2 ** min(num_failed - 1, _MAX_DOUBLINGS))
            spread = (0.0, 1.0) if fault.retry_after else (0.5, 1.5)
            await self._sleep((fault.retry_after or 0.0) + pause * self._jitter.uniform(*spread))
        return not self.stopped

    async def _sleep(self, seconds: float) -> None:
        """Sleep for this time, or until the run ends."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    async def _await_unless_ending(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait until a coroutine is done, or until the run ends."""
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
        """Return True if the caps hold even if this request costs the most it can; False if the run ends.

        Requests that are not settled reserve more than they will probably cost, so wait for them before giving up.
        """
        while not self.stopped:
            cap = self.limits.find_reached(self.journal.ledger.committed.plus(reserve))
            if cap is None:
                return True
            if not self._num_unsettled:
                self._end(cap)
            else:
                await self._changed.wait()
        return False
