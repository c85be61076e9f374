"""Adapt a language model inside the notebook, and see what the adaptation did.

In a notebook: `%load_ext lora_magic`, then `%lora`. In Python: `lora_magic.session()` is the
notebook's session, `lora_magic.Session()` makes a new one. Public names are loaded on first use, so
importing the package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_magic.adapters.live_adapter import Adapter as Adapter
    from lora_magic.adapters.merge import MergeReport as MergeReport
    from lora_magic.adapters.spec import AdapterSpec as AdapterSpec
    from lora_magic.compare.comparison import Comparison as Comparison
    from lora_magic.compare.lens import Lens as Lens
    from lora_magic.cost.plan import CostPlan as CostPlan
    from lora_magic.errors import LoraMagicError as LoraMagicError
    from lora_magic.evaluation.board import Board as Board
    from lora_magic.evaluation.evaluation import Evaluation as Evaluation
    from lora_magic.evaluation.votes import Votes as Votes
    from lora_magic.lowrank.similarity import Similarity as Similarity
    from lora_magic.lowrank.spectrum import Spectrum as Spectrum
    from lora_magic.state.session import Session as Session
    from lora_magic.state.sweep_result import Sweep as Sweep
    from lora_magic.training.spec import TrainSpec as TrainSpec
    from lora_magic.training.summary import RunSummary as RunSummary

__version__ = "0.1.0"

# The module that defines each public name.
_HOMES = {
    "Adapter": "lora_magic.adapters.live_adapter",
    "AdapterSpec": "lora_magic.adapters.spec",
    "Board": "lora_magic.evaluation.board",
    "Comparison": "lora_magic.compare.comparison",
    "CostPlan": "lora_magic.cost.plan",
    "Evaluation": "lora_magic.evaluation.evaluation",
    "Lens": "lora_magic.compare.lens",
    "LoraMagicError": "lora_magic.errors",
    "MergeReport": "lora_magic.adapters.merge",
    "RunSummary": "lora_magic.training.summary",
    "Session": "lora_magic.state.session",
    "Similarity": "lora_magic.lowrank.similarity",
    "Spectrum": "lora_magic.lowrank.spectrum",
    "Sweep": "lora_magic.state.sweep_result",
    "TrainSpec": "lora_magic.training.spec",
    "Votes": "lora_magic.evaluation.votes",
}

__all__ = [
    "Adapter",
    "AdapterSpec",
    "Board",
    "Comparison",
    "CostPlan",
    "Evaluation",
    "Lens",
    "LoraMagicError",
    "MergeReport",
    "RunSummary",
    "Session",
    "Similarity",
    "Spectrum",
    "Sweep",
    "TrainSpec",
    "Votes",
    "session",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext lora_magic`: add `%lora`, `%%lora` and `%%lora_train` to the shell."""
    from lora_magic.magics.extension import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext lora_magic`: remove the magics; the session stays on the shell."""
    from lora_magic.magics.extension import unload

    unload(shell)


def session() -> Session:
    """The notebook's session, the one that `%lora` uses.

    Raises `StateError` outside IPython.
    """
    from lora_magic.magics.shell import session_here

    return session_here()
