"""Dispatch of a plan's missing requests to the source of the settings."""

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


def _make_limits(inputs: RecipeInputs) -> Limits:
    return Limits(**{field.name: getattr(inputs.config, field.name) for field in fields(Limits)})


def _make_parameters(inputs: RecipeInputs) -> Parameters:
    recipe = inputs.config.recipe
    return Parameters(inputs.model, recipe.system, recipe.temperature, recipe.top_p, inputs.max_output_tokens)


def ask_source(
    inputs: RecipeInputs,
    folder: CorpusFolder,
    key: str,
    journal: RequestJournal,
    missing: Missing,
    stop: StopRequest,
    *,
    only_collect: bool = False,
) -> str | None:
    """Generate the missing answers.

    Args:
        inputs: inputs of the corpus.
        folder: folder of the corpus.
        key: key of the corpus.
        journal: journal of the answers.
        missing: function of the journal's ledger; returns the requests to send.
        stop: request to stop by a signal.
        only_collect: True to fetch the results of ended batches and send nothing.

    Returns:
        the reason why generation ended early, or None.

    Raises:
        UserError: for errors that the user can correct; the answers so far are kept.
    """
    # Batches of an earlier run are collected first, even if the source is another one now, because they are paid for.
    source, ledger = inputs.config.source, journal.ledger
    if ledger.waiting or (source == "openai-batch" and not only_collect):
        only_collect_batches = only_collect or source != "openai-batch"
        waiting = _ask_by_batches(inputs, folder, key, journal, missing, stop, only_collect_batches)
        if source == "openai-batch" or only_collect:
            return waiting
    if only_collect:
        return None
    if inputs.family == "existing text":
        take_existing(missing(ledger), inputs.recipe, journal, stop)
    elif source == "grammar":
        write_by_grammar(missing(ledger), inputs.recipe, inputs.grammar, journal, stop)
    elif source == "transformers":
        return _ask_local_model(inputs, folder, journal, missing, stop)
    else:
        return _ask_server(inputs, journal, missing, stop)
    return None


def _begin_session(inputs: RecipeInputs, journal: RequestJournal) -> Access:
    config = inputs.config
    access = get_access(config.base_url, config.api, config.api_key_env)
    journal.mask = access.mask_key
    journal.append({"event": "session", "source": config.source, "server": access.server, "api": access.api})
    return access


def _ask_server(inputs: RecipeInputs, journal: RequestJournal, missing: Missing, stop: StopRequest) -> str | None:
    config, recipe = inputs.config, inputs.recipe
    num_missing = sum(1 for _ in missing(journal.ledger))
    price = inputs.price
    if not num_missing:
        return None
    client = OpenAIClient(
        _begin_session(inputs, journal),
        _make_parameters(inputs),
        recipe.schema,
        config.json_schema,
        config.request_timeout,
    )
    limits, max_output_tokens = _make_limits(inputs), inputs.max_output_tokens
    scheduler = RequestScheduler(
        client, journal, recipe.settings, price, limits, max_output_tokens, recipe.render_prompt, stop
    )
    scheduler.run(missing(journal.ledger), num_missing)
    if scheduler.fatal is not None:
        raise UserError(
            f"{client.server}: {scheduler.fatal.detail or scheduler.fatal.kind}. {len(journal.ledger.answered):,} answers are kept. "
            "Correct the problem and run the same command to continue"
        )
    return scheduler.stopped


def _ask_by_batches(
    inputs: RecipeInputs,
    folder: CorpusFolder,
    key: str,
    journal: RequestJournal,
    missing: Missing,
    stop: StopRequest,
    only_collect: bool,
) -> str | None:
    config, recipe = inputs.config, inputs.recipe
    access = _begin_session(inputs, journal)
    schema = None if config.json_schema == "text" else recipe.schema
    is_schema_optional = config.json_schema != "schema"
    price = inputs.batch_price
    writer = LineWriter(access, _make_parameters(inputs), schema, is_schema_optional, price, recipe.render_prompt)
    client = BatchClient(
        access,
        writer,
        journal,
        recipe.settings,
        price,
        _make_limits(inputs),
        config.batch,
        folder.batches,
        key,
        stop,
    )
    if only_collect:
        num_in_progress = client.collect()
        return f"{num_in_progress} batches are in progress" if num_in_progress else None
    client.run(lambda: missing(journal.ledger))
    return client.stopped


def _ask_local_model(
    inputs: RecipeInputs, folder: CorpusFolder, journal: RequestJournal, missing: Missing, stop: StopRequest
) -> str | None:
    if not any(True for _ in missing(journal.ledger)):
        return None
    from textgen.generators.local import LocalModel, write_by_model  # here, because it needs torch and transformers

    model = LocalModel(inputs.model, inputs.config.local, _make_parameters(inputs))
    plan: Iterator[Request] = read_plan(folder.plan)
    return write_by_model(plan, inputs.recipe, model, journal, inputs.recipe.render_prompt, stop, _make_limits(inputs))
