"""References from files of any system's test set."""
