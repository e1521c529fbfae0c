"""Picturebook, the built-in data set: scenes drawn by code, with captions, hypotheses and questions."""
