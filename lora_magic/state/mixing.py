"""The members of `--mix a=0.5,b=0.5` and their weights.

Knows the session's state; does not know how probabilities are averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_magic.compare.mix import Mix
from lora_magic.errors import AdapterError, CommandError

from . import queries
from .resolve import parts_of

if TYPE_CHECKING:
    from .session_state import SessionState


def mix_of(state: SessionState, given: Any) -> Mix | None:
    """The mix that is typed as `a=0.5,b=0.5`, its weights divided by their sum; None for None.

    "base" may be a member, and a name without a weight has weight 1. Raises `AdapterError` for a
    name that is not attached or occurs twice and for a weight that is not a number above 0, and
    `CommandError` for a classifier, which has no next token.
    """
    if given is None:
        return None
    if state.base.task.classifies:
        raise CommandError(
            "--mix averages the probabilities of the next token, and a classifier has none; "
            "compare the labels side by side: %lora compare TEXT"
        )
    if not isinstance(given, str) or not given.strip():
        raise AdapterError(f"--mix {given!r}: expected names with weights, as in a=0.5,b=0.5")
    parts = parts_of(given, "--mix") or [(1.0, given.strip())]
    low = next(((weight, name) for weight, name in parts if weight <= 0), None)
    if low is not None:
        raise AdapterError(
            f"--mix: weight {low[0]:g} of {low[1]}: expected a number above 0; to omit an adapter, "
            "omit its name"
        )
    largest = max(weight for weight, _ in parts)
    total = sum(weight / largest for weight, _ in parts)
    shares = [(name, weight / largest / total) for weight, name in parts]
    called = ",".join(f"{name}={share:.3g}" for name, share in shares)
    members = [(queries.variant(state, name), share) for name, share in shares]
    return Mix(f"mix {called}", tuple(members))
