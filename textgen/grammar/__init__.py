"""Grammars of frames and word lists, which write captions without a language model."""
