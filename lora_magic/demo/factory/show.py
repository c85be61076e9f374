"""Twenty held-out prompts, base and six adapters: `python -m lora_magic.demo.factory.show`.

Trains each adapter first, on 150 rows without the subjects of these prompts. Knows how to lay out
answers on a terminal; the training is in `adapters`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import textwrap
from pathlib import Path

import torch

from lora_magic import demo
from lora_magic.demo.factory import adapters, command, measure
from lora_magic.demo.texts import tasks

PROMPTS = 20
BASE = "base"
# The least readable width of a column, and the gap between two.
COLUMN, GAP = 30, 3


def answers(weights: Path | None = None) -> dict[str, tuple[measure.Answered, ...]]:
    """The answers of the base and of each adapter to the same questions, by name."""
    asked = tasks.shown(PROMPTS)
    model, tokenizer = measure.load(weights)
    found = {BASE: measure.answers(model, tokenizer, asked)}
    for task in demo.ADAPTERS:
        adapted, tokenizer, _ = adapters.trained(task, 0, weights=weights)
        found[task] = measure.answers(adapted, tokenizer, asked)
    return found


def page(found: dict[str, tuple[measure.Answered, ...]], width: int) -> str:
    """Each prompt, and below it its answers in as many columns as `width` holds."""
    lines, names, beside = [], list(found), max(1, width // COLUMN)
    for place, answered in enumerate(found[BASE]):
        lines.append(f"\n» {answered.question.prompt}")
        for first in range(0, len(names), beside):
            band = names[first : first + beside]
            lines += _band({name: found[name][place].text for name in band}, width // beside)
    return "\n".join(lines)


def _band(texts: dict[str, str], width: int) -> list[str]:
    """Texts in columns of one width, each below its name."""
    columns = [[name.upper(), *_wrapped(text, width - GAP)] for name, text in texts.items()]
    rows = itertools.zip_longest(*columns, fillvalue="")
    return ["", *("".join(cell.ljust(width) for cell in row).rstrip() for row in rows)]


def _wrapped(text: str, width: int) -> list[str]:
    return [part for line in text.split("\n") for part in textwrap.wrap(line, width) or [""]]


def listed(found: dict[str, tuple[measure.Answered, ...]]) -> list[dict[str, str]]:
    """Every answer with its prompt and its adapter."""
    return [
        {"prompt": answer.question.prompt, "adapter": name, "text": answer.text}
        for name, answered in found.items()
        for answer in answered
    ]


def weights_sum(folder: Path) -> str:
    """The sha256 of the weights that gave the answers."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def main(argv: list[str] | None = None) -> None:
    """Print the page; with --json also write prompts, names and answers to a file."""
    parser = command.parser("show", __doc__)
    parser.add_argument("--json", type=command.new_file, help="also write the answers to this file")
    parser.add_argument(
        "--weights", type=Path, help="a folder that pretrain wrote (the embedded model)"
    )
    parser.add_argument(
        "--width",
        type=command.width,
        default=shutil.get_terminal_size().columns,
        help="page width in characters (the terminal's); 210 fits all seven columns",
    )
    parser.add_argument(
        "--threads", type=command.positive, default=1, help="torch threads (%(default)s)"
    )
    flags = parser.parse_args(argv)
    torch.set_num_threads(flags.threads)
    found = answers(flags.weights)
    print(page(found, flags.width))
    if flags.json:
        record = {"weights": weights_sum(flags.weights or demo.WEIGHTS), "answers": listed(found)}
        flags.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    command.run(main)
