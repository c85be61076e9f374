"""Whether the base is bit for bit what was loaded: one line, facts, the names of what changed."""

from __future__ import annotations

from collections.abc import Sequence

from lora_magic.views import receipt
from lora_magic.views.text import one_line, shortened

_PLAIN, _WIDE = 8, 100


def bundle(*, line: str, facts: receipt.Facts, changed: Sequence[str]) -> dict[str, object]:
    """A verification's MIME bundle; `changed` names the tensors that are not what they were."""
    table = None
    if changed:
        rows = tuple((name,) for name in changed)
        table = receipt.Rows(f"{len(changed)} changed tensors", ("Tensor",), rows)
    made = receipt.bundle(
        line=line, facts=facts, table=table, more="What was compared", warning=bool(changed)
    )
    named = [f"  {shortened(one_line(name), _WIDE)}" for name in changed[:_PLAIN]]
    if len(changed) > _PLAIN:
        named.append(f"  and {len(changed) - _PLAIN} more")
    return {**made, "text/plain": "\n".join([one_line(line), *named])}
