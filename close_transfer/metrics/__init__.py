"""Metrics of captions, answers and labels."""
