"""source=openai-batch: files of requests that a provider answers within a day, at a lower price.

What could be paid for is in the journal before it is submitted, and the provider's id before anyone waits. A batch that
was submitted in the moment of a kill is found again by its metadata, so that no file is submitted twice.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import openai
from openai.types import Batch
from tqdm import tqdm

from close_transfer.core.atomic_files import atomic_path
from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from textgen.config import BatchSettings, RecipeSettings
from textgen.corpus.journal import RequestJournal
from textgen.corpus.ledger import Part
from textgen.corpus.prices import Price
from textgen.generators.async_client import Limits
from textgen.generators.batch_files import (
    LineWriter,
    read_result,
    read_result_lines,
    select_affordable,
    split_into_files,
)
from textgen.generators.events import answer_event, make_fault_event
from textgen.generators.openai_api import PATHS, Access, classify_status, parse_retry_after
from textgen.generators.responses import NO_SCHEMA, Paid, Reply, RequestError
from textgen.prompts.recipe import Request, hash_json

T = TypeVar("T")

_METADATA = "corpus_part"  # names a part at the provider
_ENDED = ("completed", "failed", "expired", "cancelled")
_LONGEST_PAUSE = 60.0
_LOOK_SECONDS = 0.2  # between looks for a signal


class _Stopped(Exception):
    """A signal came while a call was to be tried again."""


@dataclass
class BatchClient:
    """Submits what is missing as batches, and collects what is ready.

    Attributes:
        stopped: why not all was submitted, if so.
    """

    access: Access
    writer: LineWriter
    journal: RequestJournal
    recipe: RecipeSettings
    price: Price
    limits: Limits
    settings: BatchSettings
    folder: Path
    key: str
    stop: StopRequest
    stopped: str | None = None

    def __post_init__(self) -> None:
        """Makes no connection yet."""
        self._progress: dict[int, int] = {}
        self._given_up: set[str] = set()
        self._fatal: RequestError | None = None
        self._client = openai.OpenAI(
            api_key=self.access.key, base_url=self.access.base_url, max_retries=0, timeout=self.limits.request_timeout
        )

    def run(self, missing: Callable[[], Iterable[Request]]) -> None:
        """Submits, waits and collects until nothing is missing, a cap is reached, or a signal comes.

        Args:
            missing: the requests without an answer that are not under way.

        Raises:
            UserError: if the provider refuses; what was collected is kept.
        """
        try:
            self._run(lambda: (request for request in missing() if request.id not in self._given_up))
        except _Stopped:
            self.stopped = "a signal"

    def _run(self, missing: Callable[[], Iterable[Request]]) -> None:
        for part in self.journal.ledger.waiting:
            if part.batch_id is None:  # a kill or a refusal came between the journal and the provider
                self._find_or_drop(part)
        for _ in range(self.limits.max_attempts):
            cap = self._submit(missing())
            self._wait()
            self.stopped = "a signal" if self.stop.asked else cap
            if self.stopped or not any(True for _ in missing()):
                return
        for request in list(missing()):
            self.journal.append({"event": "gave_up", "id": request.id, "fault": "no result in any batch"})

    def _submit(self, requests: Iterable[Request]) -> str | None:
        """Submits requests in files; the cap that kept some back, if one did."""
        caps: list[str] = []
        ledger = self.journal.ledger
        lines = select_affordable(map(self.writer.line, requests), ledger.committed, self.limits, caps.append)
        for file in split_into_files(lines, self.settings):
            number = len(ledger.parts) + 1
            with atomic_path(self._get_path(number)) as temporary:
                temporary.write_text("".join(line.text for line in file), encoding="utf-8")
            self.journal.append(
                {
                    "event": "batch",
                    "part": number,
                    "ids": [line.id for line in file],
                    "attempts": [ledger.attempts.get(line.id, 0) + 1 for line in file],
                    "tokens": [line.reserve.tokens for line in file],
                    "costs": [line.reserve.cost for line in file],
                }
            )
            self._create(ledger.parts[number])
            if self.stop.asked:
                break
        return caps[0] if caps else None

    def _get_path(self, number: int) -> Path:
        return self.folder / f"part-{number:04}.jsonl"

    def _make_name(self, part: Part) -> str:
        return f"{self.key[:32]}/{part.number}/{hash_json(sorted(part.ids), 8)}"

    def _find_or_drop(self, part: Part) -> None:
        """Takes up a part that the provider has; the requests of another are asked anew, in files as they are wanted now."""
        if batch_id := self._retry(partial(self._find, part)):
            self._note(part, batch_id)
        else:
            self.journal.append({"event": "batch_dropped", "part": part.number})

    def _create(self, part: Part) -> None:
        """Gives a part to the provider, once: before it is tried again, it is looked for there."""
        file_id: str | None = None
        look_first = False

        def create() -> str:
            nonlocal look_first, file_id
            if look_first and (batch_id := self._find(part)):
                return batch_id
            look_first = True
            if file_id is None:
                with self._get_path(part.number).open("rb") as file:
                    file_id = self._client.files.create(file=file, purpose="batch").id
            return self._client.batches.create(
                input_file_id=file_id,
                endpoint=f"/v1{PATHS[self.access.api]}",  # type: ignore[arg-type]
                completion_window="24h",
                metadata={_METADATA: self._make_name(part)},
            ).id

        self._note(part, self._retry(create))

    def _note(self, part: Part, batch_id: str) -> None:
        self.journal.append({"event": "batch_submitted", "part": part.number, "batch_id": batch_id})

    def _find(self, part: Part) -> str | None:
        """The id of the part's batch, if the provider has it."""
        for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get(_METADATA) == self._make_name(part):
                return batch.id
        return None

    def _wait(self) -> None:
        """Looks every `poll_seconds` until all batches have ended, or a signal comes."""
        waiting = self.journal.ledger.waiting
        with tqdm(total=sum(len(part.open) for part in waiting), unit="request", desc="batches") as bar:
            while self.collect() and not self.stop.asked:
                bar.update(sum(self._progress.values()) - bar.n)
                self._pause(self.settings.poll_seconds)
            bar.update(sum(self._progress.values()) - bar.n)

    def collect(self) -> int:
        """Puts the results of ended batches into the journal; the number of batches that are still under way.

        Raises:
            UserError: if the provider refused a batch, or every request of it.
        """
        with suppress(_Stopped):
            self._collect()
        return len(self.journal.ledger.waiting)

    def _collect(self) -> None:
        for part in self.journal.ledger.waiting:
            if part.batch_id is None:
                if batch_id := self._retry(partial(self._find, part)):
                    self._note(part, batch_id)
                else:  # it was never submitted
                    continue
            assert part.batch_id is not None
            batch = self._retry(partial(self._client.batches.retrieve, part.batch_id))
            counts = batch.request_counts
            self._progress[part.number] = counts.completed + counts.failed if counts else 0
            if batch.status in _ENDED:
                self._take(part, batch)

    def _take(self, part: Part, batch: Batch) -> None:
        """Joins results to requests by id, whatever their order; what comes twice or from elsewhere is counted."""
        ignored, seen_ids = 0, set()
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            content = self._retry(partial(self._client.files.content, file))
            for line in read_result_lines(content.text):
                request, outcome = read_result(line, self.access, self.writer.schema_optional)
                if request in seen_ids or request not in part.ids:
                    ignored += 1
                elif request in part.open:  # or else a killed run has taken it
                    self._keep(request, outcome)
                seen_ids.add(request)
        paid: Paid = "reserved" if batch.status == "completed" else "no"
        for request in sorted(part.open):
            self._keep(
                request, RequestError("no result", paid, f"the batch ended as {batch.status} without a line for it")
            )
        self.journal.append({"event": "batch_done", "part": part.number, "ignored_lines": ignored})
        errors = batch.errors.data if batch.errors and batch.errors.data else []
        if batch.status == "failed":
            reasons = (
                "; ".join(f"{error.code}: {self.access.masked(str(error.message))}" for error in errors[:3])
                or "no reason given"
            )
            raise UserError(
                f"batch {part.batch_id}: the provider refused the file ({reasons}); nothing was paid for it. Mend that "
                "(batch.max_requests= and batch.max_bytes= make files smaller), then run the same command again"
            )
        if self._fatal is not None:
            raise UserError(
                f"batch {part.batch_id}: {self._fatal.detail or self._fatal.kind}. All that was answered is kept; mend "
                "that, and the same command goes on"
            )

    def _keep(self, request: str, outcome: Reply | RequestError) -> None:
        sent = self.journal.ledger.open[request]
        try:
            if isinstance(outcome, RequestError):
                raise outcome
            event = answer_event(request, sent.attempt, outcome, self.recipe, self.price, sent.reserved)
        except RequestError as fault:
            self.journal.append(make_fault_event(request, sent.attempt, fault, self.price, sent.reserved))
            self._judge(request, fault)
        else:
            self.journal.append(event)

    def _judge(self, request: str, fault: RequestError) -> None:
        """Decides whether, and how, the next file asks a request again."""
        if fault.fatal:
            self._fatal = self._fatal or fault
        elif fault.kind == NO_SCHEMA:
            self.writer = replace(self.writer, schema=None)
        elif not fault.retry:
            self._given_up.add(request)
            self.journal.append({"event": "gave_up", "id": request, "fault": fault.kind})

    def _retry(self, call: Callable[[], T]) -> T:
        """The answer of a call that costs nothing, asked again where that may help.

        Raises:
            UserError: if the provider refuses it, or cannot be reached.
            _Stopped: if a signal comes before it is tried again.
        """
        for attempt in range(self.limits.max_attempts):
            wait = min(_LONGEST_PAUSE, self.limits.initial_backoff * 2**attempt)
            try:
                return call()
            except openai.APIStatusError as error:
                retry_after = parse_retry_after(error.response.headers)
                fault = classify_status(error.status_code, error.message, error.code, retry_after, False, False)
                last_message = fault.detail
                if fault.fatal or not fault.retry:
                    break
                wait = retry_after or wait
            except (openai.APIConnectionError, ValueError) as error:
                last_message = str(error)
            self._pause(wait)
            if self.stop.asked:
                raise _Stopped
        raise UserError(
            f"{self.access.server}: {self.access.masked(last_message)}. All that was answered is kept; the same command goes on"
        )

    def _pause(self, seconds: float) -> None:
        """Until then, or until a signal comes."""
        until = time.monotonic() + seconds
        while not self.stop.asked and (remaining := until - time.monotonic()) > 0:
            time.sleep(min(remaining, _LOOK_SECONDS))
