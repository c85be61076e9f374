"""An adapter at a smaller rank: what was lost, or what would be at each rank. Knows numbers."""

from __future__ import annotations

from collections.abc import Sequence

from lora_magic.views import numbers, receipt
from lora_magic.views.style import code, details, frame, heading
from lora_magic.views.style import line as one
from lora_magic.views.table import table
from lora_magic.views.text import one_line, plain_table

ROWS = 24
_BY_RANK = ("Rank", "Loses most in", "there", "overall")
_MODULES = ("Module", "Rank before", "after", "‖ΔW‖", "Lost")
_READING = "Lost: ‖ΔW − ΔW'‖/‖ΔW‖ in the Frobenius norm."

#: rank, lost overall, lost in the worst module, that module.
ByRank = Sequence[tuple[int, float, float, str]]
#: path, rank before, rank after, norm, share lost.
Modules = Sequence[tuple[str, int, int, float, float]]


def bundle(*, line: str, command: str, ranks: ByRank, modules: Modules) -> dict[str, object]:
    """A compression's MIME bundle: a receipt, or with `ranks` the evidence for each."""
    if modules and ranks and not any(norm for *_, norm, _ in modules):
        # Nothing to lose: a table of zeros says no more than the line.
        return receipt.bundle(line=line)
    if not ranks:
        caption = f"{len(modules)} modules. {_READING}"
        rows = tuple(_module(row) for row in modules)
        return receipt.bundle(
            line=line,
            facts=[("next", command)],
            table=receipt.Rows(caption, _MODULES, rows),
            more="What each module lost",
        )
    shown = [_rank(row) for row in ranks]
    largest = sorted(modules, key=lambda row: row[3], reverse=True)[:ROWS]
    rest = len(modules) - len(largest)
    page = frame(
        heading(line),
        table(f"What the best ΔW of each rank loses. {_READING}", _BY_RANK, shown, left=2),
        one("Next: ", code(command)),
        details(
            f"{len(modules)} modules",
            table("The largest ‖ΔW‖ first", *_norms(largest)),
            one(f"and {rest} more: .to_frame() has every row", muted=True) if rest else "",
        ),
        label="Evidence for a rank",
    )
    plain = "\n".join([one_line(line), plain_table(_BY_RANK, shown, left=2)])
    return {"text/plain": plain, "text/html": str(page)}


def _rank(row: tuple[int, float, float, str]) -> list[str]:
    rank, overall, worst, where = row
    return [str(rank), where, numbers.percent(worst), numbers.percent(overall)]


def _module(row: tuple[str, int, int, float, float]) -> tuple[str, ...]:
    path, before, after, norm, lost = row
    ranks = (str(before), str(after)) if before else (numbers.MISSING, "not carried")
    return (path, *ranks, numbers.figures(norm), numbers.percent(lost))


def _norms(modules: Modules) -> tuple[tuple[str, ...], list[list[str]]]:
    rows = [
        [path, str(before) if before else "not carried", numbers.figures(norm)]
        for path, before, _, norm, _ in modules
    ]
    return ("Module", "Rank", "‖ΔW‖"), rows
