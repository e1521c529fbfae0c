"""The actions of scripts/synthesize_captions.py: plan, ask, collect, filter, describe; each may be repeated."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from close_transfer.core import command_line
from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.guarded_run import run_guarded
from close_transfer.core.signals import StopRequest
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.folder import CorpusFolder, merge_remembered_args
from textgen.corpus.journal import RequestJournal, read_ledger
from textgen.corpus.ledger import Ledger
from textgen.filters.run import check_filters, filter_corpus, read_filters
from textgen.generators import ask_source
from textgen.prompts.inputs import RecipeInputs
from textgen.prompts.plan import count_plan, count_requests, make_requests, read_plan, write_plan
from textgen.prompts.recipe import Request
from textgen.report.console import describe_plan, describe_status
from textgen.report.corpus_summary import CorpusSummary, format_training_settings
from textgen.report.data_card import write_card
from textgen.report.page import write_report

CAPPED_STATUS = 3  # of a command that a cap ended


@dataclass
class Synthesis:
    """One corpus, and the actions on it.

    Attributes:
        config: the settings.
        arguments: as they were typed; the folder of a new corpus remembers them.
    """

    config: SynthesizeCaptionsConfig
    arguments: Sequence[str] = ()
    _key: str | None = field(default=None, init=False, repr=False)

    @cached_property
    def folder(self) -> CorpusFolder:
        """Where the corpus lies."""
        return CorpusFolder(Path(self.config.output))

    @cached_property
    def inputs(self) -> RecipeInputs:
        """What it is made with."""
        return RecipeInputs(self.config)

    def claim_folder(self) -> str:
        """Notes in the folder what decides the requests, or compares it with what was noted; the corpus's key.

        Done once: later calls give the same key.

        Raises:
            UserError: if the folder is another corpus's.
        """
        if self._key is None:
            self._key = self.folder.keep(self.inputs.request_fingerprint_inputs, self.arguments)
        return self._key

    def plan(self) -> int:
        """Writes the plan, or makes it longer; the number of requests.

        Raises:
            UserError: if `num_texts` is smaller than the plan that was begun, or settings cannot be used.
        """
        self.inputs.check_price()
        check_filters(self.inputs)
        key, num_before = self.claim_folder(), count_plan(self.folder.plan)
        num = (
            num_before
            if self.config.num_texts is None and num_before
            else count_requests(self.inputs.recipe, self.config.num_texts)
        )
        if num < num_before and self.folder.was_asked:
            texts_per_request = self.config.recipe.items_per_request
            raise UserError(
                f"num_texts={self.config.num_texts}: {self.folder.plan} plans {num_before * texts_per_request:,} texts already, and a corpus only grows; "
                "give no num_texts= to go on with it, or another output="
            )
        if num != num_before:
            if num < num_before:
                self.folder.plan.unlink()  # nothing of it was asked
            counts = self.inputs.keyword_counts if self.config.recipe.keywords else None
            requests = make_requests(self.inputs.recipe, self.config, counts, key, num)
            write_plan(self.folder.plan, self._check_prompts(requests))
        return num

    def _check_prompts(self, requests: Iterator[Request]) -> Iterator[Request]:
        """The same, after a look that every row fills the template: once something is paid for, neither may change.

        Raises:
            UserError: naming the row that does not.
        """
        recipe, asks_model = self.inputs.recipe, self.inputs.family in ("openai", "transformers")
        for request in requests:
            if asks_model and request.index < max(1, len(recipe.rows)):
                try:
                    recipe.render_prompt(request)
                except UserError as error:
                    place = f"recipe.rows={self.config.recipe.rows}, row {request.index + 1}: " if recipe.rows else ""
                    raise UserError(f"{place}{error}") from error
            yield request

    def _find_missing(self, ledger: Ledger) -> Iterator[Request]:
        """Requests that have no answer and are not under way."""
        for request in read_plan(self.folder.plan):
            if request.id not in ledger.answered and request.id not in ledger.open:
                yield request

    def ask(self, journal: RequestJournal, stop: StopRequest) -> str | None:
        """Asks for all that is missing; why it ended early, if it did."""
        return ask_source(self.inputs, self.folder, self.claim_folder(), journal, self._find_missing, stop)

    def describe(self) -> None:
        """Writes report.html and card.md.

        Raises:
            UserError: if there is no corpus yet.
        """
        filters = read_filters(self.folder)
        if filters is None:
            raise UserError(f"output={self.folder.path}: holds no corpus yet; action=run makes one")
        with self.folder.corpus.open(encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        summary = CorpusSummary(
            self.folder,
            self.config,
            self.inputs.recipe,
            self.inputs.model,
            self.inputs.price.as_of,
            read_ledger(self.folder.journal),
            count_plan(self.folder.plan),
            filters,
            records,
            self.inputs.references,
            self.inputs.origin,
        )
        write_report(summary)
        write_card(summary)


def _require_plan(work: Synthesis) -> None:
    if not work.folder.plan.is_file():
        raise UserError(
            f"output={work.folder.path}: holds no plan; action=plan or action=run makes one, or give the output= of another"
        )
    if work.folder.was_asked:
        work.claim_folder()


def _run(work: Synthesis) -> int:
    num = work.plan()
    stop = StopRequest()
    with RequestJournal(work.folder.journal, work.claim_folder()) as journal, stop.listening():
        end_reason = work.ask(journal, stop)
        ledger = journal.ledger
        if stop.asked:
            show(f"stopped by a signal: {describe_status(ledger, num)}; the same command goes on")
            return stop.exit_status
        if ledger.answered:
            filter_corpus(work.folder, work.inputs, ledger)
    show(describe_status(ledger, num))
    if ledger.answered:
        _describe(work)
    if end_reason is not None:
        show(
            f"ended by {end_reason}: what was answered is kept; the same command goes on with a higher cap, or where this one has room left"
        )
        return CAPPED_STATUS
    if not ledger.answered:
        raise UserError(
            f"no request was answered, so there is no corpus; what was said of each is in {work.folder.journal}"
        )
    return 0


def _describe(work: Synthesis) -> None:
    work.describe()
    filters = read_filters(work.folder)
    assert filters is not None
    show(
        f"{work.folder.corpus}: {filters['num_kept']:,} of {filters['num_texts']:,} texts passed the filters\n"
        f"report: {work.folder.report}"
    )
    if filters["num_texts"] and filters["num_kept"] < filters["num_texts"] / 2:
        strictest = max(filters["stages"], key=lambda stage: stage["num_out"])
        show(
            f"most were taken out by the filter of {strictest['name']}: {strictest['num_out']:,}, as {strictest['examples'][0]['reason']}"
        )
    if filters["num_kept"]:
        show(f"to train on it: python scripts/train_text_only.py {format_training_settings(work.config)}")


def _plan(work: Synthesis) -> int:
    work.plan()
    show(describe_plan(work.inputs, work.folder))
    return 0


def _print_status(work: Synthesis) -> int:
    _require_plan(work)
    show(describe_status(read_ledger(work.folder.journal), count_plan(work.folder.plan)))
    return 0


def _collect(work: Synthesis) -> int:
    _require_plan(work)
    if not work.folder.was_asked:
        return _print_status(work)
    stop = StopRequest()
    with RequestJournal(work.folder.journal, work.claim_folder()) as journal, stop.listening():
        waiting_note = ask_source(
            work.inputs, work.folder, work.claim_folder(), journal, work._find_missing, stop, only_collect=True
        )
        show(describe_status(journal.ledger, count_plan(work.folder.plan)))
    if waiting_note:
        show(f"{waiting_note}; collect again later")
    return 0


def _filter(work: Synthesis) -> int:
    _require_plan(work)
    if not work.folder.was_asked:
        raise UserError(f"output={work.folder.path}: nothing was answered yet; action=run asks")
    with RequestJournal(work.folder.journal, work.claim_folder()) as journal:
        if not journal.ledger.answered:
            raise UserError(f"output={work.folder.path}: nothing was answered yet; action=run asks")
        filter_corpus(work.folder, work.inputs, journal.ledger)
    _describe(work)
    return 0


def _report(work: Synthesis) -> int:
    _require_plan(work)
    _describe(work)
    return 0


ACTIONS = {
    "run": _run,
    "plan": _plan,
    "status": _print_status,
    "collect": _collect,
    "filter": _filter,
    "report": _report,
}


def synthesize(config: SynthesizeCaptionsConfig, arguments: Sequence[str] = ()) -> int:
    """Does `config.action`; the exit status.

    Raises:
        UserError: for whatever the user can mend; what was answered is kept.
    """
    work = Synthesis(config, arguments)
    if config.action == "status":
        return _print_status(work)
    with work.folder.held(make=config.action in ("run", "plan")):
        return ACTIONS[config.action](work)


def run() -> None:
    """Run the command with the settings in `sys.argv`, after those that the corpus's folder remembers."""

    def start() -> None:
        sys.argv[1:] = arguments = merge_remembered_args(sys.argv[1:], "runs/synthetic/{recipe}", "coco-style")
        command_line.run("synthesize_captions", SynthesizeCaptionsConfig, lambda config: synthesize(config, arguments))

    run_guarded(start)
