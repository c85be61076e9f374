"""Every method side by side, over three seeds: the first table of README.md.

    python tests/benchmarks/methods.py [--seeds 3] [--only NAME …]

On the embedded model, 150 rows in a pirate's voice, 60 steps, the defaults of each method. Held-out
loss is over 50 rows. Latency is the time of 32 tokens read one by one with a cache at batch size 1,
over the base's: the median of alternating rounds, unmerged and merged. Merge error is the largest
difference between the logits merged and unmerged, over the largest logit. Storage is that of the
tensors. QLoRA and LoftQ use the model in NF4, BitFit the model with biases of 0 added. Prints
Markdown. pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from lora_magic.adapters.methods import METHODS
from lora_magic.state.session import Session
from tests.benchmarks import bases

STEPS, TOKENS, ROUNDS = 60, 32, 9
PROMPT = "What does a fox eat?"


@dataclass(frozen=True)
class Case:
    """One row: its title, base, and flags of attach and train."""

    title: str
    base: Callable[[], Session]
    attach: dict[str, Any]
    train: dict[str, Any]


CASES = (
    Case("LoRA", bases.plain, {}, {}),
    Case("rsLoRA", bases.plain, {"rslora": True}, {}),
    Case("DoRA", bases.plain, {"dora": True}, {}),
    Case("PiSSA", bases.plain, {"init": "pissa"}, {}),
    Case("OLoRA", bases.plain, {"init": "olora"}, {}),
    Case("EVA", bases.plain, {"init": "eva"}, {}),
    Case("LoRA+, λ = 16", bases.plain, {}, {"lora_plus": 16.0}),
    Case("AdaLoRA", bases.plain, {"method": "adalora"}, {}),
    Case("QLoRA (NF4)", bases.quantised, {}, {}),
    Case("LoftQ (NF4)", bases.quantised, {"init": "loftq"}, {}),
    Case("(IA)³", bases.plain, {"method": "ia3"}, {}),
    Case("prefix, 10 tokens", bases.plain, {"method": "prefix"}, {}),
    Case("prompt, 10 tokens", bases.plain, {"method": "prompt"}, {}),
    Case("Houlsby", bases.plain, {"method": "houlsby"}, {}),
    Case("Adapter L", bases.plain, {"method": "adapter-l"}, {}),
    Case("BitFit (biases added)", bases.biased, {"method": "bitfit"}, {}),
    Case("LoRA and biases", bases.biased, {"bias": "all"}, {}),
    Case("full fine-tuning", bases.plain, {"method": "full"}, {}),
)


@dataclass(frozen=True)
class Found:
    """The result of one case with one seed."""

    trained: int
    base_loss: float
    loss: float
    latency: float
    merged_latency: float | None
    storage: int
    merge_error: float | None
    reopened: bool


def logits(session: Session) -> torch.Tensor:
    ids = session.tokenizer(PROMPT + "\n", return_tensors="pt").input_ids.to(session.model.device)
    with torch.no_grad():
        found: torch.Tensor = session.model(input_ids=ids).logits
    return found


def base_loss(session: Session, rows: Any) -> float:
    """The base's loss on the held-out rows: that of a LoRA whose B is 0."""
    session.attach("zero", replace=True)
    before = session.train("zero", rows, eval=50, steps=1, lr=1e-9, seed=0).held_out_before
    session.detach("zero", discard=True)
    assert before is not None
    return before


@torch.no_grad()
def seconds(session: Session) -> float:
    """The seconds for a fixed sequence of tokens, read one by one with a cache."""
    ids = session.tokenizer(PROMPT + "\n")["input_ids"]
    tokens = torch.tensor([(ids * TOKENS)[:TOKENS]], device=session.model.device)
    began = time.perf_counter()
    cache = None
    for place in range(TOKENS):
        step = tokens[:, place : place + 1]
        made = session.model(input_ids=step, past_key_values=cache, use_cache=True)
        cache = made.past_key_values
    made.logits[0, -1, 0].item()  # waits for a GPU
    return time.perf_counter() - began


def latency(session: Session, name: str, merged: bool, rounds: int) -> float:
    """The adapter's time over the base's, the median of alternating rounds."""
    ratios = []
    torch.set_num_threads(1)
    for _ in range(rounds):
        session.swap("base")
        base = seconds(session)
        session.swap(name)
        if merged:
            session.merge(name)
        ratios.append(seconds(session) / base)
        if merged:
            session.unmerge()
    return statistics.median(ratios)


def measured(case: Case, seed: int, steps: int = STEPS, rounds: int = ROUNDS) -> Found:
    session = case.base()
    rows = bases.rows(seed)
    before = base_loss(session, rows)
    adapter = session.attach("one", seed=seed, **case.attach)
    run = session.train("one", rows, eval=50, steps=steps, seed=seed, **case.train)
    trained = logits(session)
    with tempfile.TemporaryDirectory() as folder:
        session.save("one", f"{folder}/one")
        storage = Path(folder, "one", "adapter_model.safetensors").stat().st_size
        session.open(f"{folder}/one", "again")
        reopened = torch.equal(logits(session), trained)
    error = merged = None
    if not METHODS[adapter.spec.method].not_merged:
        session.merge("one")
        error = float((logits(session) - trained).abs().max() / trained.abs().max())
        session.unmerge()
        merged = latency(session, "one", True, rounds)
    slower = latency(session, "one", False, rounds)
    assert session.verify()
    session.reset()
    assert run.held_out_after is not None
    return Found(
        adapter.trainable, before, run.held_out_after, slower, merged, storage, error, reopened
    )


def line(case: Case, found: list[Found]) -> str:
    first = found[0]
    losses = [f.loss for f in found]
    merge = (
        "cannot be merged"
        if first.merge_error is None
        else f"{max(f.merge_error or 0 for f in found):.0e}"
    )
    merged = "" if first.merged_latency is None else (
        f", merged {statistics.median(f.merged_latency or 0 for f in found):.2f}×"
    )  # fmt: skip
    return (
        f"| {case.title} | {first.trained:,} | {statistics.mean(f.base_loss for f in found):.3f} → "
        f"{statistics.mean(losses):.3f} ({min(losses):.3f} to {max(losses):.3f}) | "
        f"{statistics.median(f.latency for f in found):.2f}×{merged} | "
        f"{first.storage / 1e3:,.0f} kB"
        f" | {merge} | {'yes' if all(f.reopened for f in found) else 'NO'} |"
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    names = ("torch", "transformers", "peft", "bitsandbytes")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"$ python {shlex.join(sys.argv)}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions}, CPU\n")
    print("| method | trained | held-out loss, base → adapter | time a token, of the base's "
          "| storage | merge error | reopened identical |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        if given.only is None or case.title in given.only:
            found = [measured(case, seed) for seed in range(given.seeds)]
            print(line(case, found), flush=True)


if __name__ == "__main__":
    main()
