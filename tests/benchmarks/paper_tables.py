"""Tables 5 and 6 of the LoRA paper on the embedded model, and what advice about flags is worth.

    python -m tests.benchmarks.paper_tables [table-5] [table-6] [advice]

Runs of 40 steps of 4 rows (80 steps on `reversed`) at the embedded model's rate, on q and v with
α = 16 where a row does not say others. 60 rows are held out, the same ones for all runs on one
set of rows; the figure is the loss on them, in nats per token, after the last step. Each of three
seeds is that of the initial A and of the order of the rows. Intervals are 95 % of a mean (Student's
t, two degrees of freedom), so they are wide; the rate is not tuned for each row. Prints Markdown.
pytest does not collect this file.

Rows: `messages` are notebooks/messages.csv, new ways of asking and a new style; `pirate` are 150
facts in a pirate's voice; `reversed` are the messages with the words of each reply in reverse
order, further from anything the model has seen.
"""

from __future__ import annotations

import csv
import datetime
import platform
import shlex
import statistics
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lora_magic import demo
from lora_magic.adapters.presets import ADVICE
from lora_magic.data.row import Row
from lora_magic.state.arms import Arm, train_arms
from lora_magic.state.session import Session
from lora_magic.state.sweep_plan import interval
from tests.benchmarks import bases

MESSAGES = Path(__file__).parents[2] / "notebooks" / "messages.csv"
STEPS, BATCH, HELD_OUT, SEEDS = {"reversed": 80}, 4, 60, (0, 1, 2)
Q, K, V, O = (f"{letter}_proj" for letter in "qkvo")  # noqa: E741 - the paper's letters
QV, ALL = f"{Q},{V}", f"{Q},{K},{V},{O}"
RANKS = (1, 2, 4, 8, 64)

#: Targets, rank, and the paper's accuracy in per cent on WikiSQL (± 0.5) and MultiNLI (± 0.1).
TABLE_5 = (
    (Q, 8, 70.4, 91.0),
    (K, 8, 70.0, 90.8),
    (V, 8, 73.0, 91.0),
    (O, 8, 73.2, 91.3),
    (f"{Q},{K}", 4, 71.4, 91.3),
    (QV, 4, 73.7, 91.3),
    (ALL, 2, 73.7, 91.7),
)

#: Targets, and the paper's accuracy on WikiSQL and on MultiNLI at each of `RANKS`.
TABLE_6 = (
    (Q, (68.8, 69.6, 70.5, 70.4, 70.0), (90.7, 90.9, 91.1, 90.7, 90.7)),
    (QV, (73.4, 73.3, 73.7, 73.8, 73.5), (91.3, 91.4, 91.3, 91.6, 91.4)),
    (ALL, (74.1, 73.7, 74.0, 74.0, 73.9), (91.2, 91.7, 91.7, 91.5, 91.4)),
)


@cache
def rows(kind: str) -> list[tuple[str, str]]:
    """The prompts and completions of one kind."""
    if kind == "pirate":
        return list(demo.rows("pirate", 150, seed=0))
    with MESSAGES.open(encoding="utf-8", newline="") as file:
        pairs = [(row["message"], row["reply"]) for row in csv.DictReader(file)]
    if kind == "reversed":
        return [(asked, " ".join(reversed(reply.split()))) for asked, reply in pairs]
    return pairs


@cache
def losses(
    session: Session, kind: str, rank: int, targets: str, alpha: float, dropout: float
) -> tuple[int, tuple[float, ...]]:
    """Trainable parameters, and the held-out loss of each seed."""
    found = []
    for seed in SEEDS:
        flags = {"rank": rank, "targets": targets, "alpha": alpha, "dropout": dropout}
        adapter = session.attach("one", seed=seed, replace=True, **flags)
        attached, read = session._state.named("one"), [Row(*pair) for pair in rows(kind)]
        chosen = {"steps": STEPS.get(kind, 40), "batch_size": BATCH, "eval": HELD_OUT, "seed": seed}
        # A run of its own, without the questions that measure forgetting.
        (outcome,) = train_arms(session._state, [Arm(attached, {})], read, flags=chosen)
        assert outcome.summary is not None
        assert outcome.summary.held_out_after is not None
        found.append(outcome.summary.held_out_after)
        print(f"{kind} {flags} {found[-1]:.4f}", file=sys.stderr, flush=True)
    return adapter.trainable, tuple(found)


def measured(
    session: Session,
    kind: str = "messages",
    rank: int = 8,
    targets: str = QV,
    alpha: float = 16.0,
    dropout: float = 0.0,
) -> tuple[int, tuple[float, ...]]:
    """The same, with the defaults of the embedded model."""
    return losses(session, kind, rank, targets, float(alpha), dropout)


def mean(found: Sequence[float]) -> str:
    """A mean with its interval, as `0.25 (0.22 to 0.28)`."""
    ends = interval(found)
    assert ends is not None
    # A loss is not negative, though the interval of three values may be.
    return f"{statistics.mean(found):.3f} ({max(ends[0], 0):.3f} to {ends[1]:.3f})"


def named(targets: str) -> str:
    """`q_proj,v_proj` as `q, v`; a keyword as it is."""
    return ", ".join(name.removesuffix("_proj") for name in targets.split(","))


def table_5(session: Session) -> None:
    """Which matrices, with one budget of parameters."""
    print("Table 5: one budget of parameters\n")
    print("| matrices | r | parameters | held-out loss, mean and 95 % | WikiSQL | MultiNLI |")
    print("|---|---|---|---|---|---|")
    for targets, rank, sql, nli in TABLE_5:
        row(session, targets, rank, sql, nli)


def table_6(session: Session) -> None:
    """Which rank."""
    print("Table 6: the rank\n")
    print("| matrices | r | parameters | held-out loss, mean and 95 % | WikiSQL | MultiNLI |")
    print("|---|---|---|---|---|---|")
    for targets, *theirs in TABLE_6:
        for rank, sql, nli in zip(RANKS, *theirs, strict=True):
            row(session, targets, rank, sql, nli)


def row(session: Session, targets: str, rank: int, sql: float, nli: float) -> None:
    """One line of either table."""
    size, found = measured(session, rank=rank, targets=targets)
    cells = [named(targets), str(rank), f"{size:,}", mean(found), f"{sql:.1f}", f"{nli:.1f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def advice(session: Session) -> None:
    """Each choice beside the others on the same rows."""
    print("Advice: one choice at a time\n")
    print("| rows | flags | parameters | held-out loss, mean and 95 % |")
    print("|---|---|---|---|")
    for one in ADVICE:
        kind = one.rows.partition(",")[0]
        for _, flags, _ in one.measured:
            size, found = measured(session, kind, **flags)
            print(f"| {kind} | {typed(flags)} | {size:,} | {mean(found)} |", flush=True)


def typed(flags: dict[str, Any]) -> str:
    """Flags as they are typed."""
    return " ".join(f"--{name} {value}" for name, value in flags.items())


def main() -> None:
    parts = {"table-5": table_5, "table-6": table_6, "advice": advice}
    wanted = sys.argv[1:] or list(parts)
    names = ("torch", "transformers", "peft")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    torch.set_num_threads(1)
    print(f"$ python -m tests.benchmarks.paper_tables {shlex.join(sys.argv[1:])}".rstrip())
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · 1 thread\n")
    session = bases.plain()
    for name in wanted:
        parts[name](session)
        print()


if __name__ == "__main__":
    main()
