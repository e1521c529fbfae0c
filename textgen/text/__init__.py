"""Text utilities: hashing, keywords, readers and corpus statistics."""
