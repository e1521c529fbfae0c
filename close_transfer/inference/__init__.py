"""Trained models at work: loading, decoding, re-ranking, and the Python interface."""
