"""Reports and data cards of a corpus."""
