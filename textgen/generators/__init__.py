"""Who writes the texts: a grammar, a server, batches, a model in this process, or text that exists."""

from textgen.generators.dispatch import ask_source

__all__ = ["ask_source"]
