"""Gives a plan's missing requests to the source that the settings name."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields

from close_transfer.core.errors import UserError
from close_transfer.core.signals import StopRequest
from textgen.corpus.folder import CorpusFolder
from textgen.corpus.journal import RequestJournal
from textgen.corpus.ledger import Ledger
from textgen.generators.async_client import Limits, RequestScheduler
from textgen.generators.batch_files import LineWriter
from textgen.generators.offline import take_existing, write_by_grammar
from textgen.generators.openai_api import Access, Parameters, get_access
from textgen.generators.openai_batch import BatchClient
from textgen.generators.openai_live import OpenAIClient
from textgen.prompts.inputs import RecipeInputs
from textgen.prompts.plan import read_plan
from textgen.prompts.recipe import Request

Missing = Callable[[Ledger], Iterable[Request]]


def _limits(prepared: RecipeInputs) -> Limits:
    return Limits(**{one.name: getattr(prepared.config, one.name) for one in fields(Limits)})


def _parameters(prepared: RecipeInputs) -> Parameters:
    recipe = prepared.config.recipe
    return Parameters(prepared.model, recipe.system, recipe.temperature, recipe.top_p, prepared.max_output_tokens)


def ask_source(
    prepared: RecipeInputs,
    folder: CorpusFolder,
    key: str,
    journal: RequestJournal,
    missing: Missing,
    stop: StopRequest,
    *,
    only_collect: bool = False,
) -> str | None:
    """Has what is missing written; why it ended early, if it did.

    Args:
        prepared: what the corpus is made with.
        folder: of the corpus.
        key: of the corpus.
        journal: that answers go to.
        missing: the requests to ask, by the journal's ledger.
        stop: signals.
        only_collect: fetch results of ended batches and ask nothing.

    Raises:
        UserError: for whatever the user can mend; what was answered is kept.
    """
    source, ledger = prepared.config.source, journal.ledger
    if ledger.waiting or (source == "openai-batch" and not only_collect):
        only = only_collect or source != "openai-batch"
        waiting = _by_batches(prepared, folder, key, journal, missing, stop, only)
        if source == "openai-batch" or only_collect:
            return waiting
    if only_collect:
        return None
    if prepared.family == "existing text":
        take_existing(missing(ledger), prepared.recipe, journal, stop)
    elif source == "grammar":
        write_by_grammar(missing(ledger), prepared.recipe, prepared.grammar, journal, stop)
    elif source == "transformers":
        return _by_local_model(prepared, folder, journal, missing, stop)
    else:
        return _by_server(prepared, journal, missing, stop)
    return None


def _access(prepared: RecipeInputs, journal: RequestJournal) -> Access:
    config = prepared.config
    where = get_access(config.base_url, config.api, config.api_key_env)
    journal.append({"event": "session", "source": config.source, "server": where.server, "api": where.api})
    return where


def _by_server(prepared: RecipeInputs, journal: RequestJournal, missing: Missing, stop: StopRequest) -> str | None:
    config, recipe = prepared.config, prepared.recipe
    todo = sum(1 for _ in missing(journal.ledger))
    price = prepared.price
    if not todo:
        return None
    client = OpenAIClient(
        _access(prepared, journal), _parameters(prepared), recipe.schema, config.json_schema, config.request_timeout
    )
    limits, most = _limits(prepared), prepared.max_output_tokens
    asker = RequestScheduler(client, journal, recipe.settings, price, limits, most, recipe.prompt, stop)
    asker.run(missing(journal.ledger), todo)
    if asker.fatal is not None:
        raise UserError(
            f"{client.server}: {asker.fatal.detail or asker.fatal.kind}. {len(journal.ledger.answered):,} answers are kept; "
            "mend that, and the same command goes on"
        )
    return asker.stopped


def _by_batches(
    prepared: RecipeInputs,
    folder: CorpusFolder,
    key: str,
    journal: RequestJournal,
    missing: Missing,
    stop: StopRequest,
    only_collect: bool,
) -> str | None:
    config, recipe = prepared.config, prepared.recipe
    where = _access(prepared, journal)
    schema = None if config.json_schema == "text" else recipe.schema
    optional = config.json_schema != "schema"
    price = prepared.batch_price
    writer = LineWriter(where, _parameters(prepared), schema, optional, price, recipe.prompt)
    asker = BatchClient(
        where,
        writer,
        journal,
        recipe.settings,
        price,
        _limits(prepared),
        config.batch,
        folder.batches,
        key,
        stop,
    )
    if only_collect:
        left = asker.collect()
        return f"{left} batches are under way" if left else None
    asker.run(lambda: missing(journal.ledger))
    return asker.stopped


def _by_local_model(
    prepared: RecipeInputs, folder: CorpusFolder, journal: RequestJournal, missing: Missing, stop: StopRequest
) -> str | None:
    if not any(True for _ in missing(journal.ledger)):
        return None
    from textgen.generators.local import LocalModel, write_by_model  # torch and transformers

    model = LocalModel(prepared.model, prepared.config.local, _parameters(prepared))
    plan: Iterator[Request] = read_plan(folder.plan)
    most = prepared.config.max_total_tokens
    return write_by_model(plan, prepared.recipe, model, journal, prepared.recipe.prompt, stop, most)
