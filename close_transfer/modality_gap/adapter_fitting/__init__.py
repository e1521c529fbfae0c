"""Statistics that adapters need, along a chain of adapters."""
