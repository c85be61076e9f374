"""How many parameters a spec trains on a model, by formula from shapes.

Knows specs and shapes; knows no weights.
"""

from __future__ import annotations

from lora_magic.adapters.spec import AdapterSpec

from .model import Model


def trainable(model: Model, spec: AdapterSpec) -> int:
    """The parameters that an adapter of this spec trains on this model.

    Raises `AdapterError` for targets that match nothing, and for a rank above the matrix.
    """
    raise NotImplementedError
