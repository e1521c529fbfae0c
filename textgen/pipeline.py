"""Actions of scripts/synthesize_captions.py: run, plan, status, collect, filter, report and repair. Each can be repeated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from close_transfer.core.console import show
from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from textgen.config import SynthesizeCaptionsConfig
from textgen.corpus.folder import CorpusFolder
from textgen.corpus.journal import RequestJournal, read_ledger
from textgen.corpus.ledger import Ledger
from textgen.corpus.repair import Repair, repair_journal
from textgen.filters.run import check_filters, check_ledger, filter_corpus, read_corpus, read_filters
from textgen.generators import ask_source
from textgen.prompts.inputs import RecipeInputs
from textgen.prompts.plan import check_plan, count_plan, count_requests, make_requests, read_plan, write_plan
from textgen.prompts.recipe import Request
from textgen.report.console import describe_corpus, describe_plan, describe_repair, describe_status
from textgen.report.corpus_summary import CorpusSummary, format_training_settings
from textgen.report.data_card import write_card
from textgen.report.page import write_report

CAPPED_STATUS = 3  # exit status if a budget cap stopped the run: neither success nor an error


@dataclass
class Synthesis:
    """Synthesis of one corpus: its folder, its inputs and the actions on it.

    Attributes:
        config: the settings.
        arguments: the settings as they were typed; the folder of a new corpus remembers them.
    """

    config: SynthesizeCaptionsConfig
    arguments: Sequence[str] = ()
    _key: str | None = field(default=None, init=False, repr=False)

    @cached_property
    def folder(self) -> CorpusFolder:
        """Return the folder of the corpus, with the paths of its files."""
        return CorpusFolder(Path(self.config.output))

    @cached_property
    def inputs(self) -> RecipeInputs:
        """Return the inputs that decide the requests: recipe, texts, keywords, model and prices."""
        return RecipeInputs(self.config)

    def claim_folder(self) -> str:
        """Record these inputs in the folder, or check that it was made from the same, and return the corpus's key.

        The key is a hash of the inputs that decide the requests.

        Raises:
            UserError: if the folder holds another corpus.
        """
        if self._key is None:
            self._key = self.folder.keep(self.inputs.request_fingerprint_inputs, self.arguments)
        return self._key

    def plan(self) -> int:
        """Write the plan, or extend it, and return its number of requests.

        Raises:
            UserError: if `num_texts` is below the number that is planned and sent already, or settings cannot be used.
        """
        self.inputs.check_price()
        check_filters(self.inputs)
        key, num_before = self.claim_folder(), self.check_plan()
        num = (
            num_before
            if self.config.num_texts is None and num_before
            else count_requests(self.inputs.recipe, self.config.num_texts)
        )
        if num < num_before and self.folder.was_asked:
            texts_per_request = self.config.recipe.items_per_request
            raise UserError(
                f"num_texts={self.config.num_texts}: {self.folder.plan} plans {num_before * texts_per_request:,} texts already, and a corpus only grows. "
                "Leave num_texts= out to continue with it, or give another output="
            )
        if num != num_before:
            if num < num_before:
                self.folder.plan.unlink()  # none of its requests was sent
            counts = self.inputs.keyword_counts if self.config.recipe.keywords else None
            requests = make_requests(self.inputs.recipe, self.config, counts, key, num)
            write_plan(self.folder.plan, self._check_prompts(requests))
        self.folder.keep_plan_length(num)
        return num

    def check_plan(self) -> int:
        """Check an existing plan, and return its number of requests.

        Raises:
            UserError: if it is damaged, or missing although requests were sent and `num_texts` does not plan them again.
        """
        num = count_plan(self.folder.plan)
        if num:
            check_plan(self.folder.plan, self.inputs.recipe, self.claim_folder())
        elif self.folder.was_asked and (self.config.num_texts is None or self.config.action != "run"):
            check_ledger(self.folder, read_ledger(self.folder.journal))
        return num

    def _check_prompts(self, requests: Iterator[Request]) -> Iterator[Request]:
        """Yield the requests, after a check that the template renders for every row of `recipe.rows`.

        A bad row cannot be corrected once a request is paid for.

        Raises:
            UserError: if it does not, with the number of the row.
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
        """Yield the requests that have no answer and are not in flight."""
        for request in read_plan(self.folder.plan):
            if request.id not in ledger.answered and request.id not in ledger.open:
                yield request

    def ask(self, journal: RequestJournal, stop: StopRequest) -> str | None:
        """Generate the missing answers; return the reason why generation stopped early, or None."""
        return ask_source(self.inputs, self.folder, self.claim_folder(), journal, self._find_missing, stop)

    def describe(self) -> None:
        """Write report.html and card.md.

        Raises:
            UserError: if there is no corpus yet.
        """
        filters = read_filters(self.folder)
        if filters is None:
            raise UserError(f"output={self.folder.path}: holds no corpus yet. Make one with action=run")
        records = read_corpus(self.folder, filters)
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
    folder = work.folder
    if not (work.check_plan() if folder.was_asked else folder.plan.is_file()):
        raise UserError(
            f"output={folder.path}: holds no plan. Make one with action=plan or action=run, or give the output= of another corpus"
        )


def _run(work: Synthesis) -> int:
    num = work.plan()
    stop = StopRequest()
    with RequestJournal(work.folder.journal, work.claim_folder()) as journal, stop.listening():
        check_ledger(work.folder, journal.ledger)
        end_reason = work.ask(journal, stop)
        ledger = journal.ledger
        if stop.asked:
            show(f"stopped by a signal: {describe_status(ledger, num)}. Run the same command to continue")
            return stop.exit_status
        if ledger.answered:
            filter_corpus(work.folder, work.inputs, ledger)
    show(describe_status(ledger, num))
    if ledger.answered:
        _describe(work)
    if end_reason is not None:
        show(f"ended by {end_reason}: all answers are kept. Raise the cap and run the same command to continue")
        return CAPPED_STATUS
    if not ledger.answered:
        raise UserError(
            f"no request was answered, so there is no corpus. Look up the fault of each request in {work.folder.journal}"
        )
    return 0


def _describe(work: Synthesis) -> None:
    work.describe()
    filters = read_filters(work.folder)
    assert filters is not None
    show(describe_corpus(work.folder, filters))
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
        check_ledger(work.folder, journal.ledger)
        waiting_note = ask_source(
            work.inputs, work.folder, work.claim_folder(), journal, work._find_missing, stop, only_collect=True
        )
        show(describe_status(journal.ledger, count_plan(work.folder.plan)))
    if waiting_note:
        show(f"{waiting_note}. Run action=collect again later")
    return 0


def _filter(work: Synthesis) -> int:
    _require_plan(work)
    if not work.folder.was_asked:
        raise UserError(f"output={work.folder.path}: nothing was answered yet. Send the requests with action=run")
    with RequestJournal(work.folder.journal, work.claim_folder()) as journal:
        check_ledger(work.folder, journal.ledger)
        if not journal.ledger.answered:
            raise UserError(f"output={work.folder.path}: nothing was answered yet. Send the requests with action=run")
        filter_corpus(work.folder, work.inputs, journal.ledger)
    _describe(work)
    return 0


def _report(work: Synthesis) -> int:
    _require_plan(work)
    _describe(work)
    return 0


def _repair(work: Synthesis) -> int:
    _require_plan(work)
    journal = work.folder.journal
    repair = repair_journal(journal, work.claim_folder()) if work.folder.had_journal else Repair()
    if repair.was_needed:
        work.folder.filters.unlink(missing_ok=True)  # it counts answers that may be dropped
    show(describe_repair(repair, journal, count_plan(work.folder.plan)))
    return 0


ACTIONS = {
    "run": _run,
    "plan": _plan,
    "status": _print_status,
    "collect": _collect,
    "filter": _filter,
    "report": _report,
    "repair": _repair,
}


def synthesize(config: SynthesizeCaptionsConfig, arguments: Sequence[str] = ()) -> int:
    """Execute `config.action` and return the exit status.

    Args:
        config: the settings.
        arguments: the settings as they were typed.

    Raises:
        UserError: for errors that the user can correct; the answers so far are kept.
    """
    work = Synthesis(config, arguments)
    if config.action == "status":  # without the lock, so that it works while another process has it
        return _print_status(work)
    with work.folder.held(make=config.action in ("run", "plan")):
        return ACTIONS[config.action](work)
