"""Plain PEFT in one other process for all tests of a worker; it knows nothing of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

#: `plain_peft([(base, adapter), …], classifier=False)` gives the logits of each pair.
PlainPeft = Callable[..., list[Tensor]]

PROGRAM = """
import json, sys, torch, transformers
from peft import PeftModel
for line in sys.stdin:
    kind, jobs = json.loads(line)
    for base, adapter, out in jobs:
        model = getattr(transformers, kind).from_pretrained(base)
        model = PeftModel.from_pretrained(model, adapter).eval()
        with torch.no_grad():
            # A prompt's own positions come first in PEFT's logits.
            torch.save(model(input_ids=torch.arange(10, 26)[None]).logits[:, -16:], out)
    assert "lora_magic" not in sys.modules
    print("all read", flush=True)
"""


@pytest.fixture(scope="session")
def plain_peft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainPeft]:
    room = tmp_path_factory.mktemp("plain-peft")
    with (
        (room / "errors").open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=room,
        ) as process,
    ):

        def logits(jobs: Sequence[tuple[Path, Path]], *, classifier: bool = False) -> list[Tensor]:
            assert process.stdin
            assert process.stdout
            task = "SequenceClassification" if classifier else "CausalLM"
            outs = [room / f"{number}.pt" for number in range(len(jobs))]
            for out in outs:
                out.unlink(missing_ok=True)
            work = [[*map(str, pair), str(out)] for pair, out in zip(jobs, outs, strict=True)]
            process.stdin.write(json.dumps([f"AutoModelFor{task}", work]) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "all read\n", (room / "errors").read_text()
            return [torch.load(out) for out in outs]

        yield logits
        # It ends when nothing more can come; the block waits for it.
