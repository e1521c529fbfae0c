"""Offline sources, which cost nothing: the grammar and existing text."""

import random
from collections.abc import Iterable, Mapping

from close_transfer.core.signals import StopRequest
from textgen.corpus.journal import RequestJournal
from textgen.grammar.grammar import Grammar
from textgen.prompts.recipe import Recipe, Request


def write_by_grammar(
    requests: Iterable[Request], recipe: Recipe, grammar: Grammar, journal: RequestJournal, stop: StopRequest
) -> None:
    """Answer requests by a grammar until a signal comes; each request's seed decides its answer."""
    fields = list(recipe.settings.fields)
    for request in requests:
        if stop.asked:
            return
        given = {name: str(value) for name, value in request.given.items()}
        items = grammar.write(
            fields, recipe.settings.items_per_request, request.keywords, given, random.Random(request.seed)
        )
        journal.append({"event": "answer", "id": request.id, "attempt": 1, "model": "grammar", "items": items})


def take_existing(requests: Iterable[Request], recipe: Recipe, journal: RequestJournal, stop: StopRequest) -> None:
    """Take the fields of each row as the answer until a signal comes."""
    for request in requests:
        if stop.asked:
            return
        item = {name: _join_lines(request.given, name) for name in recipe.settings.fields}
        journal.append({"event": "answer", "id": request.id, "attempt": 1, "model": "existing text", "items": [item]})


def _join_lines(row: Mapping[str, object], name: str) -> str:
    return " ".join(str(row[name]).split())
