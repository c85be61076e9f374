"""Whether the base is bit for bit what was loaded: one line, facts, the names of what changed."""

from __future__ import annotations

from collections.abc import Sequence

from lora_magic.views import receipt

_PLAIN = 8


def bundle(*, line: str, facts: receipt.Facts, changed: Sequence[str]) -> dict[str, object]:
    """A verification's MIME bundle; `changed` names the tensors that are not what they were."""
    table = None
    if changed:
        rows = tuple((name,) for name in changed)
        table = receipt.Rows(f"{len(changed)} changed tensors", ("Tensor",), rows)
    listed: list[tuple[str, str]] = [("changed", name) for name in changed[:_PLAIN]]
    if len(changed) > _PLAIN:
        listed.append(("changed", f"and {len(changed) - _PLAIN} more"))
    made = receipt.bundle(
        line=line, facts=facts, table=table, more="What was compared", warning=bool(changed)
    )
    plain = receipt.bundle(line=line, facts=[*facts, *listed])["text/plain"]
    return {**made, "text/plain": plain}
