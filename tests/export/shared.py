"""What the tests of exports share: adapters with a ΔW, and readers that run in this process."""

from __future__ import annotations

import json
import runpy
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers

from lora_magic.export import process, reference, request
from lora_magic.state.session import Session


def changed(session: Session, name: str, size: float = 0.1, seed: int = 0) -> None:
    """Give every parameter of an adapter a random change, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, tensor in session._state.attached[name].tensors():
            tensor.add_(torch.randn(tensor.shape, generator=generator).to(tensor) * size)


def read_here(patch: pytest.MonkeyPatch) -> None:
    """Run the reader with transformers in this process: the same script, imports already done."""
    apart = process._run

    def run(command: Sequence[str], log: Path) -> int:
        script, asked, results = command[1:]
        if Path(script).name != "with_transformers.py":
            return apart(command, log)
        threads = torch.get_num_threads()
        try:
            with warnings.catch_warnings():
                main = runpy.run_path(script)["main"]
                main(json.loads(Path(asked).read_text()), Path(results))
        except Exception as error:  # noqa: BLE001 - as the script itself tells it
            log.write_text(f"{type(error).__name__}: {error}")
            return 1
        finally:
            torch.set_num_threads(threads)
            transformers.utils.logging.set_verbosity_warning()
            transformers.utils.logging.enable_progress_bar()
        return 0

    patch.setattr(process, "_run", run)


def answer_briefly(patch: pytest.MonkeyPatch) -> None:
    """Compare two tokens of each answer, for tests of other things."""
    for module in (reference, request):
        patch.setattr(module, "TOKENS", 2)
