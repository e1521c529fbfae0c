"""Inference with trained models: loading, decoding, re-ranking, and the Python interface."""
