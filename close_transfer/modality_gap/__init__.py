"""The gap between text and image embeddings: measures, noise selection, adapter statistics."""
