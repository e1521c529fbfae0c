"""Probes: simple classifiers on the vectors of a frozen encoder, which measure what the vectors contain."""
