"""What the packages here stand on: errors, files, signals, settings from the command line, tables of text."""
