"""Experiments behind the numbers in docs/results/, each with a script of its name."""
