"""Shared utilities: errors, files, signals, settings, readers of tables; no other package, no ML library."""
