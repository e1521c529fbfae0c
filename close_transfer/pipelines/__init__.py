"""Pipelines: one file per command, from its settings to the files that it writes."""
