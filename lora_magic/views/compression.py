"""An adapter at a smaller rank: what was lost, or what would be lost at each rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import receipt
from lora_magic.views.style import code, details, frame, heading
from lora_magic.views.style import line as one
from lora_magic.views.table import table
from lora_magic.views.text import plain_table

if TYPE_CHECKING:
    from lora_magic.adapters.combine.changes import ModuleLoss
    from lora_magic.adapters.combine.compress import Compression

ROWS = 24
_BY_RANK = ("Rank", "Worst module", "Lost there", "Lost overall")
_MODULES = ("Module", "Rank before", "Rank after", "‖ΔW‖", "Lost")
_READING = "Lost: ‖ΔW − ΔW'‖/‖ΔW‖ in the Frobenius norm."


def bundle(record: Compression) -> dict[str, object]:
    """A compression's MIME bundle: a receipt, or the evidence by rank if no adapter was made."""
    if record.new is not None:
        caption = f"{len(record.modules)} modules. {_READING}"
        table_of = receipt.Rows(caption, _MODULES, tuple(map(_module, record.modules)))
        facts = [("next", record.command)]
        more = "What each module lost"
        return receipt.bundle(line=record.line, facts=facts, table=table_of, more=more)
    if not any(row.norm for row in record.modules):
        # ΔW = 0: a table of zeros adds nothing to the line.
        return receipt.bundle(line=record.line)
    return _evidence(record)


def _evidence(record: Compression) -> dict[str, object]:
    ranks = [
        [str(rank), where, numbers.percent(worst), numbers.percent(overall)]
        for rank, overall, worst, where in record.ranked()
    ]
    largest = sorted(record.modules, key=lambda row: row.norm, reverse=True)[:ROWS]
    rest = len(record.modules) - len(largest)
    norms = [[row.module, _rank(row.rank_before), numbers.figures(row.norm)] for row in largest]
    page = frame(
        heading(record.line),
        table(f"What the best ΔW of each rank loses. {_READING}", _BY_RANK, ranks, left=2),
        one("Next: ", code(record.command)),
        details(
            f"{len(record.modules)} modules",
            table("The largest ‖ΔW‖ first", ("Module", "Rank", "‖ΔW‖"), norms),
            one(f"and {rest} more: .to_frame() has every row", muted=True) if rest else "",
        ),
        label="Evidence for a rank",
    )
    plain = "\n".join([one_line(record.line), plain_table(_BY_RANK, ranks, left=2)])
    return {"text/plain": plain, "text/html": str(page)}


def _rank(rank: int) -> str:
    return str(rank) if rank else "dropped"


def _module(row: ModuleLoss) -> tuple[str, ...]:
    before = str(row.rank_before) if row.has_factors else numbers.MISSING
    after = str(row.rank_after) if row.has_factors else "dropped"
    return (row.module, before, after, numbers.figures(row.norm), numbers.percent(row.error))
