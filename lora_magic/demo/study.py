"""Which shape for the embedded model: `python -m lora_magic.demo.study`.

Each shape gets the same CPU time on one thread, with a schedule that ends with it. What counts is
the share of right facts on validation prompts. Knows shapes and the clock; what a run is, is in
`making.run`.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lora_magic.demo import command
from lora_magic.demo.making.plan import Plan
from lora_magic.demo.making.run import Run, train
from lora_magic.demo.texts import corpus
from lora_magic.errors import TrainingError

# hidden width, layers, heads, inner width
SHAPES = {
    "128x4": (128, 4, 4, 352),
    "192x3": (192, 3, 6, 512),
    "192x4": (192, 4, 6, 512),
    "256x4": (256, 4, 8, 704),
    "256x6": (256, 6, 8, 704),
    "320x4": (320, 4, 10, 864),
}
_TIMED = 40


def shape(name: str, steps: int) -> Plan:
    """The plan of a shape for so many steps."""
    hidden, layers, heads, inner = SHAPES[name]
    return replace(Plan(), steps=steps, hidden=hidden, layers=layers, heads=heads, inner=inner)


def steps_within(name: str, seconds: float) -> int:
    """How many steps of a shape fit into a time, measured on its first steps."""
    with TemporaryDirectory() as work:
        run = Run(shape(name, 10_000), Path(work))
        train(run, every=10**9, stop=10)
        begun = time.process_time()
        train(run, every=10**9, stop=10 + _TIMED)
        # Compiling is over by then; the texts of a shard, a second or two, are not counted.
        return round(seconds * _TIMED / (time.process_time() - begun))


def measured(name: str, seconds: float, work: Path) -> dict[str, Any]:
    """One shape trained for the time; its last point and its size."""
    if (work / name / "state.pt").exists():
        raise TrainingError(f"{work / name} holds a run already; give --work another folder.")
    run = Run(shape(name, steps_within(name, seconds)), work / name)
    run.begin()
    begun = time.process_time()
    train(run, every=max(1, run.plan.steps // 8))
    return {
        "shape": name,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "steps": run.step,
        "tokens": run.tokens,
        "cpu_seconds": round(time.process_time() - begun),
        "corpus": corpus.fingerprint(run.plan.seed),
        "curve": [asdict(point) for point in run.curve],
        "versions": run.sessions[-1],
    }


def main(argv: list[str] | None = None) -> None:
    """Train the shapes one after another and write what came out."""
    parser = command.parser("study", __doc__)
    parser.add_argument("--minutes", type=command.above_zero, default=8.0, help="for each shape")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--work", type=Path, default=Path(".lora_magic/study"))
    flags = parser.parse_args(argv)
    torch.set_num_threads(1)
    for name in flags.shapes:
        told = measured(name, flags.minutes * 60, flags.work)
        (flags.work / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        last = told["curve"][-1]
        print(
            f"{name}: {told['parameters']:,} parameters, {told['tokens'] / 1e6:.1f}M tokens, "
            f"loss {last['loss']}, right {last['right']:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    command.run(main)
