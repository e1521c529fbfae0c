"""Report page, data card and console output of a corpus."""
