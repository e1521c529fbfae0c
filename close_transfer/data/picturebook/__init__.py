"""Picturebook, the built-in dataset: scenes drawn by code, with captions, hypotheses and questions."""
