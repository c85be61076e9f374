"""Runs a reader in another process: what it answers, or why it could not.

A reader is a script in `readers/` that imports nothing of this package: what reads an export is the
library that people will read it with. Knows processes and files; knows no model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from lora_magic.errors import ExportError

READERS = Path(__file__).parent / "readers"

#: Seconds between two looks at a reader, in which an interrupt is noticed.
_PAUSE = 0.1


@dataclass(frozen=True, eq=False)
class ReadBack:
    """What a reader found.

    `reader` is the engine and its version; `inputs` are the ids that its own tokenizer makes of the
    prompts' texts, `answers` its greedy ids, `logits` those of the given answers' tokens, or of
    labels, as in `Reference`, as far as the engine gives them. `facts` are what else it says.
    """

    reader: str
    inputs: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    logits: tuple[Tensor, ...]
    facts: Mapping[str, Any]


def read_back(script: str, request: Mapping[str, Any], what: str) -> ReadBack:
    """Run `readers/SCRIPT.py` on a request; `what` names the export in an error.

    The script is called with two paths: of the request, a JSON file, and of an empty folder, into
    which it writes result.json (`reader`, `inputs`, `answers`, and more) and, if it has logits,
    logits.safetensors with tensors "0", "1", … . Raises `ExportError` with the last line that a
    failing script has written; an interrupt ends the script.
    """
    with tempfile.TemporaryDirectory(prefix="lora_magic-") as room:
        given, results, errors = (
            Path(room, "request.json"),
            Path(room, "results"),
            Path(room, "log"),
        )
        results.mkdir()
        given.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, str(READERS / f"{script}.py"), str(given), str(results)]
        # A session of its own: ■ interrupts a kernel's whole group of processes.
        with open(errors, "wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
            )
        try:
            while process.poll() is None:
                try:
                    process.wait(_PAUSE)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode:
            lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            why = lines[-1].strip() if lines else f"exit status {process.returncode}"
            raise ExportError(f"{what} could not be read back: {why}")
        found = json.loads((results / "result.json").read_text(encoding="utf-8"))
        path = results / "logits.safetensors"
        tensors = load_file(str(path)) if path.exists() else {}
        logits = tuple(tensors[str(number)].clone() for number in range(len(tensors)))
    return ReadBack(
        reader=found.pop("reader"),
        inputs=tuple(tuple(row) for row in found.pop("inputs")),
        answers=tuple(tuple(row) for row in found.pop("answers")),
        logits=logits,
        facts=found,
    )
