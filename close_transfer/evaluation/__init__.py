"""Results of an evaluation: their record, comparison and official formats."""
