"""Shared utilities: errors, files, signals, settings and file readers. Imports no other package and no ML library."""
