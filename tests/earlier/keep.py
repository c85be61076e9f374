"""Saves what this release writes, to test that later releases can read it.

    python -m tests.earlier.keep 0.1.0

makes the folder `tests/earlier/0.1.0`: a small base, one saved adapter for each method and variant,
the logits of each, every flag as typed, and the quickstart without its outputs. Run it once per
release, on the day of the release: a folder made later proves nothing about the old release.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import torch
from safetensors.torch import save_file

from lora_magic.magics.verbs import VERBS
from lora_magic.state.session import Session
from tests.tiny import tiny_model, tiny_tokenizer

TOP = Path(__file__).parents[2]

#: By folder name: the flags of `attach`, and the number of training steps.
KEPT: dict[str, tuple[dict[str, Any], int]] = {
    "lora": ({"rank": 2}, 3),
    "rslora": ({"rank": 2, "rslora": True}, 3),
    "dora": ({"rank": 2, "dora": True}, 3),
    "pissa": ({"rank": 2, "init": "pissa"}, 3),
    "olora": ({"rank": 2, "init": "olora"}, 3),
    "patterns": ({"rank": 2, "rank_pattern": "q_proj=3", "alpha_pattern": "q_proj=7"}, 3),
    "biases": ({"rank": 2, "bias": "all", "norms": True}, 3),
    "adalora": ({"method": "adalora", "rank": 2}, 12),
    "ia3": ({"method": "ia3"}, 3),
    "prefix": ({"method": "prefix", "virtual_tokens": 3}, 3),
    "prompt": ({"method": "prompt", "virtual_tokens": 3}, 3),
    "houlsby": ({"method": "houlsby", "rank": 2}, 3),
    "adapter-l": ({"method": "adapter-l", "rank": 2}, 3),
    "bitfit": ({"method": "bitfit"}, 3),
    "full": ({"method": "full"}, 3),
}
ROWS = "Where? => Arr, down by the harbour!\nWhat? => Fish stew, ye hungry dog!"
LABELLED = [("good stew", "good"), ("cold stew", "bad")]


def last_logits(session: Session) -> torch.Tensor:
    """The logits at the end of a fixed text, with the active adapter."""
    with torch.no_grad():
        logits: torch.Tensor = session.model(input_ids=torch.arange(10, 26)[None]).logits
    return logits[0].reshape(-1, logits.shape[-1])[-1].clone()


def keep(folder: Path) -> None:
    """Write everything into an empty folder."""
    base = folder / "base"
    # With biases, so that BitFit has something to train.
    tiny_model("llama", attention_bias=True).save_pretrained(base)
    tiny_tokenizer(chat=True).save_pretrained(base)
    logits = {}
    session = Session()
    # Load by a relative path, so that cards contain no path of this machine.
    os.chdir(folder)
    session.load("base")
    logits["base"] = last_logits(session)
    for name, (flags, steps) in KEPT.items():
        session.attach(name, **flags)
        session.train(name, text=ROWS, steps=steps, lr=0.01)
        logits[name] = last_logits(session)
        session.save(name, str(folder / "adapters" / name))
    session.reset()
    session.load("base", task="classification", labels="good,bad")
    session.attach("labels", rank=2)
    session.train("labels", data=LABELLED, steps=3, lr=0.01)
    logits["labels"] = last_logits(session)
    session.save("labels", str(folder / "adapters" / "labels"))
    session.reset()
    save_file(logits, str(folder / "logits.safetensors"))
    lines = [
        f"{verb.name} {argument.name}{' 1' * (argument.kind is not None)}"
        for verb in VERBS.values()
        for argument in verb.arguments
        if argument.is_flag
    ]
    (folder / "flags.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    notebook = nbformat.read(TOP / "notebooks" / "quickstart.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / "quickstart.ipynb")


if __name__ == "__main__":
    keep(Path(__file__).parent / sys.argv[1])
