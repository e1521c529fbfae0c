"""Generators of texts: a grammar, a server, the Batch API, a local model, or existing text."""

from textgen.generators.dispatch import ask_source

__all__ = ["ask_source"]
