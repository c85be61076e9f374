"""From a cold kernel to the plan of a 70B model, against building it without its weights in PEFT.

    python -m tests.benchmarks.plan_cost [--pairs 7]

Each run is a process of its own: Python with IPython's shell and ipykernel imported, as a kernel
has them, and nothing of ours. Then the clock starts: CPU seconds of the process and of those that
it starts. `magic` is one cell with `%load_ext lora_magic` and `%lora plan`, its display included,
`python` the same without magics and display. The peer imports transformers and peft, makes the
model with accelerate's `init_empty_weights`, and its adapter with `get_peft_model`. The runs
alternate; a figure is the median, a ratio that of pairs, each with its range. One run of each comes
first and does not count: it writes the bytecode that later imports read. Both sides must count the
same parameters. pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.steps import in_turn, ratio

TOP = Path(__file__).resolve().parents[2]
#: Llama 3 70B, and a LoRA of rank 16 on its linear layers.
SIZES = "layers=80,width=8192,heads=64,kv_heads=8,inner=28672,vocabulary=128256"
COUNTS = [70_553_706_496, 207_093_760]
TO_REACH = 100

MAGIC = f"""
%load_ext lora_magic
found = %lora plan {SIZES} --rank 16 --targets all-linear
display(found)
counts = [found.base_parameters, found.trainable_parameters]
"""
PYTHON = f"""
import lora_magic
found = lora_magic.Session().plan("{SIZES}", rank=16, targets="all-linear")
counts = [found.base_parameters, found.trainable_parameters]
"""
PEER = """
import transformers, peft
from accelerate import init_empty_weights
config = transformers.LlamaConfig(
    vocab_size=128256, hidden_size=8192, intermediate_size=28672,
    num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8,
)
with init_empty_weights():
    model = transformers.LlamaForCausalLM(config)
    adapter = peft.LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, adapter)
trained, both = model.get_nb_trainable_parameters()
counts = [both - trained, trained]
"""
CELLS = {"magic": MAGIC, "python": PYTHON, "peer": PEER}

#: A process: it reads a cell, runs it, and prints CPU seconds and counts on its last line.
PROCESS = """
import json, resource, sys
import ipykernel.ipkernel
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

def spent():
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)

shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
cell = sys.stdin.read()
began = spent()
shell.run_cell(cell).raise_error()
seconds = spent() - began
print()
print(json.dumps([seconds, shell.user_ns["counts"]]))
"""


def run(side: str) -> float:
    """CPU seconds of one cold run."""
    path = os.pathsep.join(filter(None, (str(TOP), os.environ.get("PYTHONPATH"))))
    set_ones = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    # Without the bytecode of the first run, later ones would compile all files again.
    environment = {**os.environ, **set_ones, "PYTHONDONTWRITEBYTECODE": ""}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", PROCESS],
            input=CELLS[side],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stdout}\n{done.stderr}")
    seconds, counts = json.loads(done.stdout.splitlines()[-1])
    if counts != COUNTS:
        sys.exit(f"{side} counted {counts}, expected {COUNTS}")
    return float(seconds)


def main() -> None:
    """Print the seconds of each side, and how many times the peer's are ours."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.plan_cost")
    parser.add_argument("--pairs", type=int, default=7)
    given = parser.parse_args()
    names = ("torch", "transformers", "peft", "IPython")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"$ {shlex.join(['python', '-m', 'tests.benchmarks.plan_cost', *sys.argv[1:]])}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions}")
    print(f"CPU seconds of cold processes, {given.pairs} pairs", flush=True)
    ways = {side: lambda side=side: run(side) for side in CELLS}
    in_turn(ways, 1)
    found = in_turn(ways, given.pairs)
    print(f"both count {COUNTS[0]:,} parameters, {COUNTS[1]:,} of them in the adapter\n")
    for side in CELLS:
        values = found[side]
        print(
            f"{side:8} {statistics.median(values):.3f} s ({min(values):.3f} to {max(values):.3f})"
        )
    for side in ("magic", "python"):
        middle, low, high = ratio(found["peer"], found[side])
        reached = "reached" if middle >= TO_REACH else "MISSED"
        print(f"{side}: {middle:.0f} times less CPU ({low:.0f} to {high:.0f}); "
              f"to reach: ≥ {TO_REACH} ({reached})")  # fmt: skip


if __name__ == "__main__":
    main()
