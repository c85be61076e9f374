"""The readers' processes: what they may import, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lora_magic.export.process import READERS
from tests.processes import is_there

#: A kernel that waits for a reader; the reader waits for its request, in a pipe that nobody fills.
KERNEL = """
import subprocess, sys
reader = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE)
print(reader.pid, flush=True)
reader.wait()
"""


def test_a_reader_ends_with_a_kernel_that_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "request.json")
    reader = [str(READERS / "with_llama_cpp.py"), str(tmp_path / "request.json"), str(tmp_path)]
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL, *reader], stdout=subprocess.PIPE)
    assert kernel.stdout is not None  # a pipe
    process = int(kernel.stdout.readline())
    assert is_there(process)
    kernel.kill()
    kernel.communicate()
    deadline = time.monotonic() + 20
    while is_there(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_there(process)
