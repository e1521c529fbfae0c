"""One file per command, from its settings to what it writes."""
