"""The session: one base, its adapters, which is active, what is merged.

The package is not called `session`, because `lora_magic.session()` returns the notebook's session.
"""
