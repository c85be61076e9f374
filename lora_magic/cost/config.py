"""Where a plan's model comes from: a name, sizes, a folder, a hub id, a config; read without torch.

Knows config.json and the table of architectures; reads no weights.
"""

from __future__ import annotations

from .model import Model


def model_of(given: object, *, trust_remote_code: bool = False) -> Model:
    """The model of a name such as "gpt3-175b", sizes, a folder, a hub id, a config or a model.

    Raises `BaseModelError` for one that is not found, without sizes or with nonsense sizes. An
    architecture that is not in the table is built on torch's meta device, and `note` says so.
    """
    raise NotImplementedError
