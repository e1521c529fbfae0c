"""Source `openai-batch`: files of requests that a provider answers within a day at a lower price.

A batch's requests and their reserved cost are in the journal before it is submitted, and the provider's id right after.
A batch that was submitted at the moment of a kill is found by its metadata, so no file is submitted twice.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from close_transfer.core.atomic_files import atomic_path
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from textgen.config import BatchSettings, RecipeSettings
from textgen.corpus.journal import RequestJournal
from textgen.corpus.ledger import Part
from textgen.corpus.prices import Price
from textgen.generators.batch_calls import (
    ENDED,
    IN_PROGRESS,
    BatchState,
    create_batch,
    download_results,
    find_batch,
    retrieve_batch,
    upload_file,
)
from textgen.generators.batch_files import (
    LineWriter,
    Results,
    read_result,
    select_affordable,
    split_into_files,
    split_result_lines,
)
from textgen.generators.events import count_max_characters, make_answer_event, make_fault_event
from textgen.generators.limits import Limits
from textgen.generators.openai_api import PATHS, Access
from textgen.generators.openai_connection import make_client
from textgen.generators.repeated_calls import SUBMISSION, TRANSFER, RepeatedCalls, Stopped
from textgen.generators.responses import NO_SCHEMA, Paid, Reply, RequestError
from textgen.prompts.recipe import Request, hash_json

_MAX_CALL_BYTES = 2**24  # of any answer but a file of results
_MAX_LINE_BYTES = 2**14  # of a line of results besides its text, on average over the file
_MAX_UNKNOWN = 10  # checks in a row that find a batch in an unknown state


@dataclass
class BatchClient:
    """Client of the Batch API that submits the missing requests and collects results.

    Attributes:
        access: server and key.
        writer: writer of the files' lines.
        journal: journal of the attempts.
        recipe: recipe, which decides the shape of an answer.
        price: batch price of the model's tokens.
        limits: number of attempts, pauses and caps.
        settings: size limits of the files, and polling interval.
        folder: folder of the files.
        key: key of the corpus.
        stop: request to stop by a signal.
        stopped: reason why not all requests were submitted; None if they were.
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
        """Create the client; it makes no connection yet."""
        self._progress: dict[int, int] = {}
        self._num_unknown: dict[int, int] = {}
        self._given_up: set[str] = set()
        self._tried_without_schema: set[str] = set()
        self._fatal: RequestError | None = None
        self._max_bytes = _MAX_CALL_BYTES
        self._client = make_client(self.access, self.limits.request_timeout, lambda: self._max_bytes)
        self._calls = RepeatedCalls(self.access, self.limits, self.stop)

    def run(self, missing: Callable[[], Iterable[Request]]) -> None:
        """Submit, wait and collect until nothing is missing, a cap is reached, or a signal comes.

        Args:
            missing: returns the requests that have no answer and are not in flight.

        Raises:
            UserError: if the provider refuses a call or a batch; collected answers are kept.
        """
        try:
            self._run(lambda: (request for request in missing() if request.id not in self._given_up))
        except Stopped:
            self.stopped = "a signal"

    def _run(self, missing: Callable[[], Iterable[Request]]) -> None:
        for part in self.journal.ledger.waiting:
            if part.batch_id is None:  # a kill or an error came between the journal's entry and the provider's answer
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
        """Submit requests in files; return the cap that kept some back, or None."""
        caps: list[str] = []
        ledger = self.journal.ledger
        lines = select_affordable(map(self.writer.make_line, requests), ledger.committed, self.limits, caps.append)
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
        """Take up a file if the provider has it; otherwise drop it, so that its requests are submitted in new files."""
        if batch_id := self._calls.repeat(partial(find_batch, self._client, self._make_name(part))):
            self._note(part, batch_id)
        else:
            self.journal.append({"event": "batch_dropped", "part": part.number})

    def _create(self, part: Part) -> None:
        """Submit a file once: before another attempt, check that the provider does not have it already."""
        client, name, path = self._client, self._make_name(part), self._get_path(part.number)
        file_id = self._calls.repeat(lambda: upload_file(client, path), TRANSFER)
        is_retry = False

        def create() -> str:
            nonlocal is_retry
            if is_retry and (batch_id := find_batch(client, name)):
                return batch_id
            is_retry = True
            return create_batch(client, file_id, f"/v1{PATHS[self.access.api]}", name)

        self._note(part, self._calls.repeat(create, SUBMISSION))

    def _note(self, part: Part, batch_id: str) -> None:
        self.journal.append({"event": "batch_submitted", "part": part.number, "batch_id": batch_id})

    def _wait(self) -> None:
        """Check every `poll_seconds` until all batches have ended, or a signal comes."""
        waiting = self.journal.ledger.waiting
        with tqdm(total=sum(len(part.open) for part in waiting), unit="request", desc="batches") as bar:
            while self.collect() and not self.stop.asked:
                bar.update(sum(self._progress.values()) - bar.n)
                self._calls.pause(self.settings.poll_seconds)
            bar.update(sum(self._progress.values()) - bar.n)

    def collect(self) -> int:
        """Write the results of ended batches to the journal, and return the number of batches still in progress.

        Raises:
            UserError: if the provider refused a batch, or all of its requests.
        """
        with suppress(Stopped):
            self._collect()
        return len(self.journal.ledger.waiting)

    def _collect(self) -> None:
        for part in self.journal.ledger.waiting:
            if part.batch_id is None:
                if batch_id := self._calls.repeat(partial(find_batch, self._client, self._make_name(part))):
                    self._note(part, batch_id)
                else:  # it was not submitted; the next run drops it
                    continue
            assert part.batch_id is not None
            batch = self._calls.repeat(partial(retrieve_batch, self._client, part.batch_id))
            self._progress[part.number] = batch.num_done
            if batch.status in ENDED:
                self._take(part, batch)
            elif batch.status in IN_PROGRESS:
                self._num_unknown.pop(part.number, None)
            else:
                self._count_unknown(part, batch.status)

    def _count_unknown(self, part: Part, status: str) -> None:
        """Take an unknown state for one in progress, but not forever."""
        count = self._num_unknown[part.number] = self._num_unknown.get(part.number, 0) + 1
        status = self.access.mask_key(status)[:40]
        if count == 1:
            show(f"batch {part.batch_id}: its state {status!r} is unknown, and is taken for in progress")
        if count >= _MAX_UNKNOWN:
            raise UserError(
                f"batch {part.batch_id}: its state is {status!r} at {count} checks in a row, which this program does not know. "
                "Look it up at the provider, and run action=collect when it has ended"
            )

    def _take(self, part: Part, batch: BatchState) -> None:
        """Match results to requests by id, in any order; count duplicate, foreign and malformed lines, and say it."""
        results = Results()
        for file in batch.files:
            self._max_bytes = self._bound_file(part)
            text = self._calls.repeat(partial(download_results, self._client, file), TRANSFER)
            self._max_bytes = _MAX_CALL_BYTES
            for line in split_result_lines(text):
                results.add(*read_result(line, self.access, self.writer.is_schema_optional), part.ids)
        for request, outcome in results.outcomes.items():
            if request in part.open:  # otherwise a killed run has recorded it already
                self._record(request, outcome)
        if results.num_malformed:
            show(
                f"batch {part.batch_id}: {results.num_malformed:,} lines of its results do not follow the API; each is taken "
                "for a malformed answer to its request alone"
            )
        paid: Paid = "reserved" if batch.status == "completed" else "no"
        for request in sorted(part.open):
            self._record(
                request, RequestError("no result", paid, f"the batch ended as {batch.status} without a line for it")
            )
        self.journal.append({"event": "batch_done", "part": part.number, "ignored_lines": results.num_ignored})
        if batch.status == "failed":
            reasons = "; ".join(map(self.access.mask_key, batch.errors[:3])) or "no reason given"
            raise UserError(
                f"batch {part.batch_id}: the provider refused the file ({reasons}), and nothing was paid for it. Correct the "
                "problem (batch.max_requests= and batch.max_bytes= make files smaller) and run the same command again"
            )
        if self._fatal is not None:
            raise UserError(
                f"batch {part.batch_id}: {self._fatal.detail or self._fatal.kind}. All answers are kept. Correct the "
                "problem and run the same command to continue"
            )

    def _bound_file(self, part: Part) -> int:
        """Return the largest size in bytes of a file of results."""
        max_line = _MAX_LINE_BYTES + count_max_characters(self.writer.parameters.max_output_tokens)
        return max(_MAX_CALL_BYTES, len(part.ids) * max_line)

    def _record(self, request: str, outcome: Reply | RequestError) -> None:
        sent = self.journal.ledger.open[request]
        try:
            if isinstance(outcome, RequestError):
                raise outcome
            max_output_tokens = self.writer.parameters.max_output_tokens
            event = make_answer_event(
                request, sent.attempt, outcome, self.recipe, self.price, sent.reserved, max_output_tokens
            )
        except RequestError as fault:
            if fault.kind == NO_SCHEMA and request in self._tried_without_schema:  # so the schema is not the reason
                fault.kind, fault.retry = fault.detail.removeprefix("HTTP ").partition(":")[0], False
            self.journal.append(make_fault_event(request, sent.attempt, fault, self.price, sent.reserved))
            self._prepare_retry(request, fault)
        else:
            self.journal.append(event)

    def _prepare_retry(self, request: str, fault: RequestError) -> None:
        """Decide if, and in which form, the next file repeats a request."""
        if fault.fatal:
            self._fatal = self._fatal or fault
        elif fault.kind == NO_SCHEMA:
            self._tried_without_schema.add(request)
            self.writer = replace(self.writer, schema=None)
        elif not fault.retry:
            self._given_up.add(request)
            self.journal.append({"event": "gave_up", "id": request, "fault": fault.kind})
