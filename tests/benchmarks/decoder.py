"""A second decoder to measure on: 8.1 million parameters, trained on the demo world's texts.

    python -m tests.benchmarks.decoder FOLDER

One thread, a fixed number of steps: about twenty minutes of an idle core. Stop it with Ctrl-C and
start it again: it resumes from its last checkpoint, in FOLDER/work. The model and its tokenizer are
written to FOLDER, with a record of the parameters, tokens and the share of right facts. It does not
ship. Not collected by pytest.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from lora_magic.demo.factory import command
from lora_magic.demo.factory.plan import Plan
from lora_magic.demo.factory.pretrain import RECORD, write
from lora_magic.demo.factory.run import Run, train

PLAN = replace(Plan(), steps=1500, hidden=320, layers=6, heads=10, inner=864, rate=2e-3)


def main() -> None:
    """Train, or resume, to the last step; write the model and print its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the model is written")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    run = Run(PLAN, folder / "work")
    run.start_session()
    train(run, every=PLAN.steps // 10, on_step=_report)
    write(run, folder, "python -m tests.benchmarks.decoder FOLDER")
    record = json.loads((folder / RECORD).read_text("utf-8"))
    kept = ("parameters", "steps", "tokens", "minutes", "test")
    print(json.dumps({name: record[name] for name in kept}, indent=1))


def _report(run: Run) -> None:
    if run.step % 100 == 0:
        right = f", right {run.curve[-1].right:.1%}" if run.curve else ""
        print(
            f"step {run.step}, loss {run.smooth:.3f}, {run.tokens / 1e6:.2f}M tokens, "
            f"{run.seconds / 60:.1f} minutes{right}",
            flush=True,
        )


if __name__ == "__main__":
    command.run(main)
