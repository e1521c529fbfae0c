"""Typed schemas of each command's settings, checked as a whole before anything runs.

The YAML files in ``configs/`` hold the values; the classes here define the keys, their types and ranges. All mistakes
are reported at once, each with its value and the allowed values.
"""
