"""The gap between text vectors and picture vectors: measured, drawn, and what noise does to it."""
