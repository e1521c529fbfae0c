"""Readers of records and texts from files that anyone may have written."""
