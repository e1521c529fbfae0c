"""Experiments whose numbers stand in docs/results.md, each with a script of its name."""
