"""Report pages, model cards and bug reports."""
