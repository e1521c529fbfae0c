"""Grammars: frames and word lists that write captions without a model."""
