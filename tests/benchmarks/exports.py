"""The receipts of the embedded model's six adapters in every format.

    python -m tests.benchmarks.exports [ADAPTER …]

Each adapter is trained on 150 rows with every default, and exported in each format to a temporary
folder; each export is read back in another process, on the session's own ten prompts, by the
library that the receipt names. `tokens` are the prompts whose greedy tokens are all the notebook's,
`difference` is the largest of logits (transformers and PEFT) or log-probabilities (llama.cpp)
against the notebook's own, unmerged answers. pytest does not collect this file.
"""

from __future__ import annotations

import datetime
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lora_magic import demo
from lora_magic.export.receipt import Check, Export
from lora_magic.numbers import size
from lora_magic.state.session import Session

#: What is exported: a name, and the flags of `export`.
KINDS: dict[str, dict[str, Any]] = {
    "merged": {"to": "merged"},
    "peft": {"to": "peft"},
    "vllm": {"to": "vllm"},
    "gguf, f32": {"to": "gguf"},
    "gguf, f16": {"to": "gguf", "quantise": "f16"},
    "gguf, q8_0": {"to": "gguf", "quantise": "q8_0"},
    "gguf, adapter alone": {"to": "gguf", "adapter_only": True},
}


def receipt(session: Session, task: str, kind: str, folder: Path) -> tuple[Export, Check]:
    """An adapter exported in one format, and what reading it back found."""
    made = session.export(task, folder / f"{task}-{kind}", **KINDS[kind])
    assert made.check is not None  # it was asked for
    return made, made.check


def row(session: Session, task: str, kind: str, folder: Path) -> list[str]:
    """One line of the table."""
    made, check = receipt(session, task, kind, folder)
    return [
        task,
        kind,
        check.reader,
        f"{check.same} of {len(check.prompts)}",
        f"{check.difference:.1e}",
        size(sum(count for _, count in made.files)),
    ]


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    names = ("torch", "transformers", "peft", "gguf", "xllamacpp")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    print("$ python -m tests.benchmarks.exports")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · 1 thread\n")
    print("| adapter | format | read by | tokens | difference | size |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        session = Session()
        session.load("demo", home=folder)
        for task in sys.argv[1:] or demo.ADAPTERS:
            session.attach(task)
            session.train(task, data=demo.rows(task, 150), checkpoint_every=0)
            for kind in KINDS:
                print(f"| {' | '.join(row(session, task, kind, Path(folder)))} |", flush=True)


if __name__ == "__main__":
    main()
