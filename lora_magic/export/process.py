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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load
from torch import Tensor

from lora_magic.errors import ExportError
from lora_magic.interrupts import undisturbed

READERS = Path(__file__).parent / "readers"

#: An export is read from its files alone, and its base from the hub's cache.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONWARNINGS": "ignore",
    "TOKENIZERS_PARALLELISM": "false",
}

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
        given, results = Path(room, "request.json"), Path(room, "results")
        errors = Path(room, "log")
        results.mkdir()
        given.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, str(READERS / f"{script}.py"), str(given), str(results)]
        status = _run(command, errors)
        if status:
            raise ExportError(f"{what} could not be read back: {_why(status, errors)}")
        found = json.loads((results / "result.json").read_text(encoding="utf-8"))
        path = results / "logits.safetensors"
        # Not mapped into memory: Windows deletes no file that is.
        tensors = load(path.read_bytes()) if path.exists() else {}
        logits = tuple(tensors[str(number)] for number in range(len(tensors)))
    return ReadBack(
        reader=found.pop("reader"),
        inputs=tuple(tuple(row) for row in found.pop("inputs")),
        answers=tuple(tuple(row) for row in found.pop("answers")),
        logits=logits,
        facts=found,
    )


def _run(command: Sequence[str], log: Path) -> int:
    """The exit status; whatever ends the wait, also an interrupt, ends the process."""
    process: subprocess.Popen[bytes] | None = None
    try:
        with open(log, "wb") as written, undisturbed():
            # A session of its own: ■ interrupts a kernel's whole group of processes.
            process = subprocess.Popen(
                command,
                # Closed with this process, however it ends: the reader's sign to end too.
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=written,
                start_new_session=True,
                env={**os.environ, **_ENVIRONMENT},
            )
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PAUSE)
        return process.returncode
    except BaseException:
        if process is not None:
            process.kill()
            process.wait()
        raise
    finally:
        if process is not None and process.stdin is not None:
            process.stdin.close()


def _why(status: int, log: Path) -> str:
    """Why a reader failed, in one line."""
    if status < 0:
        killed = f"the reader was ended by signal {-status}"
        return f"{killed}, which is how the system ends a process when memory runs out"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"exit status {status}"
