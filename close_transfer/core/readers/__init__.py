"""Readers of records and texts from untrusted files."""
