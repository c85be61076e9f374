"""Latency of base, merged, unmerged, Houlsby, Adapter L and prefix, and what a switch takes.

    python -m tests.benchmarks.latency [--rounds 9] [--size full|tiny] [--threads 1]

As in table 1 of the LoRA paper: a forward pass of GPT-2, at batch 1 and 16 and at 128 and 256
tokens; then one more token after so many in the cache, as when an answer is generated. The base is
a GPT-2 of 12 layers of half the width of the smallest (the paper's is GPT-2 medium, on a GPU) with
random weights in fp32; the logits are the last token's. Every adapter has about 150,000 parameters:
LoRA of rank 8 on c_attn, Houlsby of rank 8, Adapter L of rank 16, a prefix of 16 tokens.

A round goes through all ways in rotating order and reads every cell in each; a way is first swapped
or merged in, and warmed up. A figure is the median of CPU seconds over rounds with its quartiles, a
ratio that of pairs within a round. The switches are the session's verbs. `pays from` is the number
of prompts of that size from which merging and unmerging takes less than the unmerged adapter costs.
pytest collects `test_latency.py`, which runs this at a tiny size.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import shlex
import statistics
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from lora_magic.state.session import Session
from tests.benchmarks.steps import Machine

BATCHES, LENGTHS = (1, 16), (128, 256)
CELLS = [(rows, length) for rows in BATCHES for length in LENGTHS]
#: Each way: the adapter that it uses, and whether that is merged.
WAYS: dict[str, tuple[str, bool]] = {
    "base": ("base", False),
    "LoRA, merged": ("lora", True),
    "LoRA, unmerged": ("lora", False),
    "Houlsby": ("houlsby", False),
    "Adapter L": ("adapter_l", False),
    "prefix": ("prefix", False),
}
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "rank": 8, "targets": "c_attn"},
    "other": {"method": "lora", "rank": 8, "targets": "c_attn"},
    "houlsby": {"method": "houlsby", "rank": 8},
    "adapter_l": {"method": "adapter-l", "rank": 16},
    "prefix": {"method": "prefix", "virtual_tokens": 16},
}
SIZES: dict[str, dict[str, Any]] = {
    "full": {"n_layer": 12, "n_embd": 384, "n_head": 6},
    "tiny": {"n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 300},
}
#: Reads of a cell in one round: a pass over one row is short, so it is read more often.
REPEATS = {1: 5, 16: 1}
Found = dict[tuple[str, str], list[float]]


def a_session(size: str, device: str = "cpu") -> Session:
    """A session on a random GPT-2 of this size, with every adapter of the table, none at zero."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**SIZES[size])).eval().to(device)
    session = Session()
    session.use(model)
    for name, flags in ADAPTERS.items():
        session.attach(name, **flags)
        for _, tensor in session._state.attached[name].tensors():
            tensor.data.normal_(0, 0.02)
    session.swap("base")
    return session


@dataclass
class Latency:
    """A session and what was measured on it: seconds by way and cell, and by switch."""

    session: Session
    machine: Machine
    passes: Found = field(default_factory=lambda: defaultdict(list))
    tokens: Found = field(default_factory=lambda: defaultdict(list))
    switches: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def round(self, turn: int, cells: Sequence[tuple[int, int]] = CELLS) -> None:
        """All ways once, in rotating order."""
        order = list(WAYS)
        turn %= len(order)
        for way in order[turn:] + order[:turn]:
            adapter, merged = WAYS[way]
            self.session.swap(adapter)
            if merged:
                self.session.merge(adapter)
            self._pass(*CELLS[0])
            for rows, length in cells:
                for _ in range(REPEATS[rows]):
                    spent, again = self._pass(rows, length)
                    self.passes[way, _cell(rows, length)].append(spent)
                    self.tokens[way, _cell(rows, length)].append(again)
            if merged:
                self.session.unmerge()
        self._switch()

    @torch.no_grad()
    def _pass(self, rows: int, length: int) -> tuple[float, float]:
        """Seconds of a pass over `rows` prompts of `length` tokens, and of one more token each."""
        model: Any = self.session.model
        ids = torch.arange(rows * length, device=self.machine.device).view(rows, length) % 300
        began = self.machine.now()
        made = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        middle = self.machine.now()
        model(input_ids=ids[:, :1], past_key_values=made.past_key_values, use_cache=True)
        return middle - began, self.machine.now() - middle

    def _switch(self) -> None:
        """Swap to an adapter, to another, merge and unmerge it."""
        self.session.swap("lora")
        verbs: dict[str, Callable[[], object]] = {
            "swap": lambda: self.session.swap("other"),
            "merge": lambda: self.session.merge("other"),
            "unmerge": self.session.unmerge,
        }
        for name, verb in verbs.items():
            began = self.machine.now()
            verb()
            self.switches[name].append(self.machine.now() - began)


def _cell(rows: int, length: int) -> str:
    return f"{rows} × {length}"


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The median and the quartiles below and above it."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def table(found: Found) -> list[str]:
    """Milliseconds and the ratio to the base, by way and cell."""
    cells = [_cell(*cell) for cell in CELLS]
    lines = [f"| | {' | '.join(cells)} |", "|---|" + "---|" * len(cells)]
    for way in WAYS:
        row = []
        for cell in cells:
            here, base = found[way, cell], found["base", cell]
            told = "{:.1f} ({:.1f} to {:.1f}) ms".format(*quartiles([1e3 * one for one in here]))
            ratios = [one / other for one, other in zip(here, base, strict=True)]
            beside = "{:.2f}× ({:.2f} to {:.2f})".format(*quartiles(ratios))
            row.append(told if way == "base" else f"{told}, {beside}")
        lines.append(f"| {way} | {' | '.join(row)} |")
    return lines


def pays_from(measured: Latency, cell: str) -> str:
    """From how many prompts of this size merging, then unmerging, takes less time than not to."""
    unmerged, merged = (
        statistics.median(measured.passes[way, cell]) for way in ("LoRA, unmerged", "LoRA, merged")
    )
    switch = sum(statistics.median(measured.switches[verb]) for verb in ("merge", "unmerge"))
    if unmerged <= merged:
        return f"{cell}: never, the unmerged adapter costs nothing"
    return f"{cell}: {math.ceil(switch / (unmerged - merged)):,}"


def report(measured: Latency) -> list[str]:
    """The three tables."""
    session = measured.session
    sizes = ", ".join(f"{name} {record.trainable:,}" for name, record in session.adapters.items())
    switches = [
        "| {} | {:.2f} ({:.2f} to {:.2f}) ms |".format(
            verb, *quartiles([1e3 * one for one in seconds])
        )
        for verb, seconds in measured.switches.items()
    ]
    return [
        f"parameters: base {session._state.base.parameters:,}, {sizes}",
        "",
        "A forward pass over a batch of prompts, rows × tokens:",
        "",
        *table(measured.passes),
        "",
        "One more token for each row, after so many in the cache:",
        "",
        *table(measured.tokens),
        "",
        "| a switch | median and quartiles |",
        "|---|---|",
        *switches,
        "",
        "Merging and unmerging pays from this many passes in one go: "
        + "; ".join(pays_from(measured, _cell(*cell)) for cell in CELLS),
    ]


def measured(size: str, rounds: int, machine: Machine) -> Latency:
    """All rounds, after a short one that does not count."""
    session = a_session(size, machine.device)
    Latency(session, machine).round(0, cells=())
    found = Latency(session, machine)
    for turn in range(rounds):
        found.round(turn)
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.latency")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", choices=list(SIZES), default="full")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ {shlex.join(['python', '-m', 'tests.benchmarks.latency', *sys.argv[1:]])}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions}", end=" · ")
    print(f"{given.threads} thread, fp32 on {given.device}, {given.rounds} rounds", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # a session writes into the working directory
        found = measured(given.size, given.rounds, Machine(given.device))
        os.chdir("/")
    print("\n".join(report(found)))


if __name__ == "__main__":
    main()
