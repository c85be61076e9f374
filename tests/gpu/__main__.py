"""One table for a GPU: memory, number formats, laws and speeds.

    python -m tests.gpu [--size full|small] [--device cuda|cpu] [--only NAME,NAME] [--out FILE]

README.md says what a bare machine needs. The exit status is 1 if a line says FAULT.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import sys
import tempfile
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=("full", "small"), help="full on a GPU, else small")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="cuda if there is a GPU")
    parser.add_argument("--only", help="names of rows, with commas")
    parser.add_argument("--budget", type=float, default=420, help="no row starts later (seconds)")
    parser.add_argument("--out", type=Path, help="the file of results ($OUT/gpu.txt if OUT is set)")
    return parser.parse_args()


def _versions() -> str:
    names = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")
    found = [f"Python {platform.python_version()}"]
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def main() -> int:
    """Run the rows, print the table, write it."""
    given = _given()
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # also the product then finds no GPU
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    from . import table

    for module in ("memory", "speed", "workers", "benchmarks"):  # in the order of their rows
        import_module(f"{__package__}.{module}")
    cuda = torch.cuda.is_available()
    if given.device == "cuda" and not cuda:
        sys.exit("--device cuda: torch finds no GPU; type --device cpu --size small")
    names = list(table.ROWS) if given.only is None else given.only.split(",")
    if unknown := [name for name in names if name not in table.ROWS]:
        sys.exit(f"--only {','.join(unknown)}: expected names among {', '.join(table.ROWS)}")
    device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
    out = given.out or (Path(os.environ["OUT"]) / "gpu.txt" if os.environ.get("OUT") else None)
    out = None if out is None else out.resolve()
    small = not cuda if given.size is None else given.size == "small"
    figures: list[table.Figure] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = table.Settings(device, small, Path(folder))
            for figure in table.run(names, settings, given.budget):
                figures.append(figure)
                print(*filter(None, figure.cells), sep="  ", file=sys.stderr, flush=True)
    finally:
        called = torch.cuda.get_device_name() if cuda else f"CPU ({platform.machine()})"
        head = f"$ python -m tests.gpu {shlex.join(sys.argv[1:])}".rstrip()
        date = datetime.date.today()
        text = f"{head}\n{date} · {_versions()} · {called}\n{table.printed(figures)}\n"
        print(text, flush=True)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text, encoding="utf-8")
    return int(any(figure.ok is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
