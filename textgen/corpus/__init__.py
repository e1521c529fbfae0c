"""Folder of a corpus: paths, request journal, ledger and prices."""
