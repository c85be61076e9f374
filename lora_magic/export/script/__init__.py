"""A run as a plain transformers + peft script, which needs nothing of this package."""
