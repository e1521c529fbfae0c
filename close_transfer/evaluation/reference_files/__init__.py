"""Files to score: predictions of any system, and references in the datasets' formats."""
