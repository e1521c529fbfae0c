"""The network: adapters, mapper and language model."""
