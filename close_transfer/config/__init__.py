"""Settings of each command: one typed schema, checked as a whole before anything runs.

The YAML files in ``configs/`` hold the values; the classes here say which keys exist, their types
and ranges. Every mistake is reported at once, each with its value and what is allowed.
"""
