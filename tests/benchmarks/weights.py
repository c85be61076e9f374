"""Exact spectra, a blend at a rank, and a merge with its undoing, against plain PEFT.

    python -m tests.benchmarks.weights [--rows NAME,NAME] [--pairs 7]

Both sides have the same weights: random Llamas of 6 layers and adapters of rank 12 on all linear
layers. They run in turn in one process, on one thread; a ratio is the median over pairs of CPU
seconds, with its range. Beside it is what is to be reached. Each row first checks that both sides
find the same numbers.

- `spectrum`: the singular values of every ΔW, against the SVD of PEFT's dense ΔW, and against its
  `svdvals` alone; at width 4096 of one matrix, and in one pair, since it takes the dense way many
  seconds.
- `blend`: `%lora blend` of two adapters at rank 12, against `add_weighted_adapter` of the kind
  "svd".
- `merge`: `%lora merge` and `%lora unmerge`, with their report, against `merge_adapter` and
  `unmerge_adapter`, and how many of the base's entries they have changed afterwards. `sums` are
  our blocks alone: W0 + ΔW summed in a wider format and rounded once, without norms, probe and new
  memory. They are the least that an exact merge takes.

pytest does not collect this file; `test_weights.py` runs it at a tiny size.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor
from transformers.utils import logging

from lora_magic.adapters.delta import wide_of
from lora_magic.adapters.merge import BLOCK
from lora_magic.lowrank.factors import LowRank
from lora_magic.state.session import Session
from tests.benchmarks import compare
from tests.benchmarks.steps import in_turn, ratio

RANK = 12
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
#: The rows: a function and its size.
ROWS: dict[str, tuple[str, int | str]] = {
    "spectrum-384": ("spectrum", 384),
    "spectrum-4096": ("matrix", 4096),
    "blend-640": ("blend", 640),
    "blend-768": ("blend", 768),
    "merge-fp32": ("merge", "fp32"),
    "merge-bf16": ("merge", "bf16"),
}
#: At least so many times as fast as the peer.
SPEED = {"spectrum-384": 150, "spectrum-4096": 5000, "blend-640": 120, "blend-768": 120}
#: At most so much of the peer's time.
SHARE = {"merge-fp32": 0.7, "merge-bf16": 0.5}


def seconds(work: Callable[[], object], after: Callable[[], object] | None = None) -> float:
    """CPU seconds of some work, without those of what clears up after it."""
    start = time.process_time()
    made = work()
    spent = time.process_time() - start
    del made
    if after is not None:
        after()
    return spent


def sides(width: int, layers: int, count: int, dtype: torch.dtype) -> tuple[Session, Any]:
    """A session with random adapters, and PEFT's model with the same."""
    session = Session()
    session.use(compare.a_base(width, layers).to(dtype))
    torch.manual_seed(1)
    for number in range(count):
        session.attach(f"a{number}", rank=RANK, alpha=2 * RANK, targets=",".join(compare.TARGETS))
        for _, tensor in session._state.attached[f"a{number}"].tensors():
            tensor.data.normal_(0, 0.04)
    return session, compare.by_peft(session)


def spectrum(width: int, layers: int, pairs: int) -> dict[str, list[float]]:
    """All singular values of every ΔW of an adapter."""
    session, wrapped = sides(width, layers, 1, torch.float32)
    attached = session._state.attached["a0"]
    changes = {path: layer.get_delta_weight for path, layer in compare.layers_of(wrapped).items()}

    def ours() -> dict[str, Tensor]:
        return {path: update.singular_values() for path, update in attached.updates().items()}

    def dense() -> None:
        for change in changes.values():
            torch.linalg.svd(change("a0"), full_matrices=False)

    def values() -> dict[str, Tensor]:
        return {path: torch.linalg.svdvals(change("a0")) for path, change in changes.items()}

    found, expected = ours(), values()
    for path, sigma in found.items():
        torch.testing.assert_close(sigma.float(), expected[path][:RANK], rtol=1e-4, atol=1e-5)
    ways = {
        "ours": lambda: seconds(ours),
        "peer": lambda: seconds(dense),
        "values": lambda: seconds(values),
    }
    return in_turn(ways, pairs)


def matrix(width: int) -> dict[str, list[float]]:
    """The singular values of one ΔW; the factors' are the faster, so they run more often."""
    torch.manual_seed(1)
    low = LowRank(torch.randn(RANK, width) * 0.04, torch.randn(width, RANK) * 0.04, 2.0)
    dense = low.dense()
    found: list[Tensor] = []
    values = seconds(lambda: found.append(torch.linalg.svdvals(dense)))
    peer = seconds(lambda: torch.linalg.svd(dense, full_matrices=False))
    torch.testing.assert_close(low.singular_values().float(), found[0][:RANK], rtol=1e-4, atol=1e-4)
    ours = statistics.median(seconds(low.singular_values) for _ in range(50))
    return {"ours": [ours], "peer": [peer], "values": [values]}


def blend(width: int, layers: int, pairs: int) -> dict[str, list[float]]:
    """A sum of two adapters, at the best of rank 12."""
    session, wrapped = sides(width, layers, 2, torch.float32)

    def ours() -> object:
        return session.blend("new", {"a0": 0.7, "a1": 0.3}, rank=RANK)

    def peer() -> None:
        names, kind = ["a0", "a1"], {"combination_type": "svd", "svd_rank": RANK}
        wrapped.add_weighted_adapter(names, [0.7, 0.3], "new", **kind)

    def cleared() -> None:
        session.detach("new", discard=True)

    ours()
    peer()
    made = session._state.attached["new"].updates()
    for path, layer in compare.layers_of(wrapped).items():
        expected = layer.get_delta_weight("new")
        error = (made[path].dense() - expected).norm() / expected.norm()
        assert error < 1e-3, (path, float(error))
    cleared()
    wrapped.delete_adapter("new")
    ways = {
        "ours": lambda: seconds(ours, cleared),
        "peer": lambda: seconds(peer, lambda: wrapped.delete_adapter("new")),
    }
    return in_turn(ways, pairs)


def sums(session: Session) -> Callable[[], None]:
    """Every W0 + ΔW of the adapter in blocks, written to memory that is there already."""
    attached = session._state.attached["a0"]
    parts = []
    for path, update in attached.updates().items():
        assert isinstance(update, LowRank)
        weight: Any = attached.originals[path].weight
        wide = wide_of(attached.originals[path])
        rows = max(1, BLOCK["cpu"] // (weight.shape[1] * wide.itemsize))
        block = torch.empty(rows, weight.shape[1], dtype=wide)
        tensors = (weight.detach(), update.up.to(wide), torch.zeros_like(weight))
        pieces = zip(*(torch.split(tensor, rows) for tensor in tensors), strict=True)
        parts.append((list(pieces), update.down.to(wide), update.scale, block))

    @torch.no_grad()
    def run() -> None:
        for pieces, right, scale, block in parts:
            for begin, left, out in pieces:
                total = block[: len(begin)]
                out.copy_(total.copy_(begin).addmm_(left, right, alpha=scale))

    return run


def merge(dtype: str, width: int, layers: int, pairs: int) -> tuple[dict[str, list[float]], str]:
    """Merge and unmerge; the share of the base's entries that each way has changed at the end."""
    session, wrapped = sides(width, layers, 1, DTYPES[dtype])
    before = {path: m.weight.detach().clone() for path, m in base_layers(wrapped).items()}

    def ours() -> None:
        session.merge("a0")
        session.unmerge()

    def peer() -> None:
        wrapped.merge_adapter()
        wrapped.unmerge_adapter()

    floor = sums(session)
    for warm in (ours, peer, floor):
        warm()
    ways = {
        "ours": lambda: seconds(ours),
        "peer": lambda: seconds(peer),
        "sums": lambda: seconds(floor),
    }
    found = in_turn(ways, pairs)
    entries = sum(weight.numel() for weight in before.values())
    changed = sum(
        int((m.weight.detach() != before[path]).sum()) for path, m in base_layers(wrapped).items()
    )
    kept = "no bit" if session.verify() else "BITS"
    return (
        found,
        f"ours changed {kept} of the base, the peer {changed / entries:.1%} of its entries",
    )


def base_layers(wrapped: Any) -> dict[str, Any]:
    """The base's own layers under PEFT's, by module path."""
    return {path: layer.get_base_layer() for path, layer in compare.layers_of(wrapped).items()}


def told(name: str, found: dict[str, list[float]], note: str = "") -> str:
    """A row's lines: both sides, the ratio, and what is to be reached."""
    ours, peer = (1e3 * statistics.median(found[side]) for side in ("ours", "peer"))
    lines = [f"{name}: ours {ours:.4g} ms, the peer {peer:.4g} ms"]
    if name in SHARE:
        middle, low, high = ratio(found["ours"], found["peer"])
        floor = "{:.2f} ({:.2f} to {:.2f})".format(*ratio(found["sums"], found["peer"]))
        reached = "reached" if middle <= SHARE[name] else "MISSED"
        lines += [
            f"  ours / peer: {middle:.2f} ({low:.2f} to {high:.2f}); the sums alone {floor}",
            f"  to reach: ≤ {SHARE[name]} ({middle:.2f}, {reached}); {note}",
        ]
    else:
        middle, low, high = ratio(found["peer"], found["ours"])
        reached = "reached" if middle >= SPEED[name] else "MISSED"
        alone = ""
        if "values" in found:
            alone = f"; as svdvals alone {ratio(found['values'], found['ours'])[0]:,.0f} times"
        lines += [
            f"  {middle:,.0f} times as fast ({low:,.0f} to {high:,.0f}){alone}",
            f"  to reach: ≥ {SPEED[name]:,} ({middle:,.0f}, {reached})",
        ]
    return "\n".join(lines)


def measured(name: str, pairs: int, tiny: bool) -> str:
    """The lines of one row."""
    kind, size = ROWS[name]
    layers, width = (1, 64) if tiny else (6, 640)
    if kind == "merge":
        found, note = merge(str(size), width, layers, pairs)
        return told(name, found, note)
    width = width if tiny else int(size)
    if kind == "matrix":
        return told(name, matrix(width))
    return told(name, (spectrum if kind == "spectrum" else blend)(width, layers, pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--size", choices=["full", "tiny"], default="full")
    given = parser.parse_args()
    unknown = [name for name in given.rows.split(",") if name not in ROWS]
    if unknown:
        parser.error(f"--rows {unknown[0]}: expected names among {', '.join(ROWS)}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ {shlex.join(['python', '-m', 'tests.benchmarks.weights', *sys.argv[1:]])}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · 1 thread")
    print(f"CPU seconds, medians of {given.pairs} pairs; rank {RANK} on all linear layers\n")
    for name in given.rows.split(","):
        print(measured(name, given.pairs, given.size == "tiny"), flush=True)


if __name__ == "__main__":
    main()
