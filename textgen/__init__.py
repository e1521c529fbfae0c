"""Synthetic text corpora: planned, asked for once, filtered, described. Knows nothing of the trainer."""
