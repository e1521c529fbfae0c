"""Pages and cards: what people read of results."""
