"""Fits what adapters need, by `fit_adapter.py` and when training begins."""
