"""Text utilities: hashing, keywords, readers and statistics."""
