"""Prompts under many adapters: texts, probabilities of the same tokens, mixtures."""
