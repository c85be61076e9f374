"""New adapters out of old ones: a weighted blend of several, or one at a smaller rank.

Both are plain LoRA, made from what the old adapters change: a ΔW by module, and beside it the
biases, norms and a classifier's head that they train themselves. Nothing of the old ones is shared.
"""

from __future__ import annotations

from .blend import Way, blend
from .compress import check_size, compress, default_name, evidence
from .truncation import Compression, ModuleLoss, loss_in_words

__all__ = [
    "Compression",
    "ModuleLoss",
    "Way",
    "blend",
    "check_size",
    "compress",
    "default_name",
    "evidence",
    "loss_in_words",
]
