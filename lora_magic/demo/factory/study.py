"""Which shape for the embedded model: `python -m lora_magic.demo.factory.study`.

Trains each shape for the same CPU time on one thread, with a schedule of that length, and reports
the share of right facts on validation prompts. Knows shapes and the clock; `run` does the training.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lora_magic.demo.factory import command, corpus
from lora_magic.demo.factory.plan import Plan
from lora_magic.demo.factory.run import Run, train
from lora_magic.errors import TrainingError

# hidden size, layers, heads, MLP size
SHAPES = {
    "128x4": (128, 4, 4, 352),
    "192x3": (192, 3, 6, 512),
    "192x4": (192, 4, 6, 512),
    "256x4": (256, 4, 8, 704),
    "256x6": (256, 6, 8, 704),
}
_TIMED = 40


def shape(name: str, steps: int) -> Plan:
    """The plan of a shape for a number of steps."""
    hidden, layers, heads, inner = SHAPES[name]
    return replace(Plan(), steps=steps, hidden=hidden, layers=layers, heads=heads, inner=inner)


def steps_within(name: str, seconds: float) -> int:
    """How many steps of a shape fit into `seconds` of CPU time, measured on its first steps."""
    with TemporaryDirectory() as work:
        run = Run(shape(name, 10_000), Path(work))
        train(run, every=10**9, stop=10)
        begun = time.process_time()
        train(run, every=10**9, stop=10 + _TIMED)
        # Compiling is over by then; generating the texts of a shard takes a second or two more.
        return round(seconds * _TIMED / (time.process_time() - begun))


def measured(name: str, seconds: float, work: Path) -> dict[str, Any]:
    """Train one shape for `seconds` of CPU time; its size, curve and versions."""
    if (work / name / "state.pt").exists():
        raise TrainingError(
            f"{work / name} already holds a run; choose another folder with --work."
        )
    run = Run(shape(name, steps_within(name, seconds)), work / name)
    run.start_session()
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
    """Train the shapes one after another and write each result as JSON."""
    parser = command.parser("study", __doc__)
    parser.add_argument(
        "--minutes",
        type=command.above_zero,
        default=8.0,
        help="CPU minutes for each shape (%(default)s)",
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        choices=SHAPES,
        default=list(SHAPES),
        help="hidden size x layers (all)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(".lora_magic/study"),
        help="folder for checkpoints and results (%(default)s)",
    )
    flags = parser.parse_args(argv)
    torch.set_num_threads(1)
    for name in flags.shapes:
        result = measured(name, flags.minutes * 60, flags.work)
        (flags.work / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        last = result["curve"][-1]
        print(
            f"{name}: {result['parameters']:,} parameters, {result['tokens'] / 1e6:.1f}M tokens, "
            f"loss {last['loss']}, right {last['right']:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    command.run(main)
