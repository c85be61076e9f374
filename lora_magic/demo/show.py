"""Twenty held-out prompts, the base model and six adapters: `python -m lora_magic.demo.show`.

The adapters are trained on the spot, each on 150 rows; none of them has seen the subjects of these
prompts. Knows how answers are laid out on a terminal; the training is in `adapters`.
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
from lora_magic.demo import adapters, command, measure
from lora_magic.demo.texts import tasks

PROMPTS = 20
BASE = "base"
# The least width of a column that reads well, and the space between two.
COLUMN, GAP = 30, 3


def answers(weights: Path | None = None) -> dict[str, tuple[measure.Answered, ...]]:
    """What the base and each adapter answered to the same questions, by name."""
    asked = tasks.shown(PROMPTS)
    model, tokenizer = measure.load(weights)
    found = {BASE: measure.answers(model, tokenizer, asked)}
    for task in demo.ADAPTERS:
        adapted, tokenizer, _ = adapters.trained(task, 0, weights=weights)
        found[task] = measure.answers(adapted, tokenizer, asked)
    return found


def page(found: dict[str, tuple[measure.Answered, ...]], width: int) -> str:
    """All answers to a prompt side by side below it, as many beside each other as `width` holds."""
    lines, names, beside = [], list(found), max(1, width // COLUMN)
    for place, answered in enumerate(found[BASE]):
        lines.append(f"\n» {answered.question.prompt}")
        for first in range(0, len(names), beside):
            band = names[first : first + beside]
            lines += _band({name: found[name][place].text for name in band}, width // beside)
    return "\n".join(lines)


def _band(texts: dict[str, str], width: int) -> list[str]:
    """Texts in columns of one width, a name over each."""
    columns = [[name.upper(), *_wrapped(text, width - GAP)] for name, text in texts.items()]
    rows = itertools.zip_longest(*columns, fillvalue="")
    return ["", *("".join(cell.ljust(width) for cell in row).rstrip() for row in rows)]


def _wrapped(text: str, width: int) -> list[str]:
    return [part for line in text.split("\n") for part in textwrap.wrap(line, width) or [""]]


def listed(found: dict[str, tuple[measure.Answered, ...]]) -> list[dict[str, str]]:
    """Every answer with its prompt and who gave it."""
    return [
        {"prompt": answer.question.prompt, "adapter": name, "text": answer.text}
        for name, answered in found.items()
        for answer in answered
    ]


def weights_sum(folder: Path) -> str:
    """The sha256 of the weights that the answers are of."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def main(argv: list[str] | None = None) -> None:
    """Print the page; with --json write prompts, names and answers to a file."""
    parser = command.parser("show", __doc__)
    parser.add_argument("--json", type=command.new_file, help="a file for the answers as well")
    parser.add_argument("--weights", type=Path, help="a folder that pretraining wrote")
    parser.add_argument(
        "--width",
        type=command.width,
        default=shutil.get_terminal_size().columns,
        help="of the page in characters, instead of the terminal's; 210 holds all seven",
    )
    parser.add_argument("--threads", type=command.positive, default=1)
    flags = parser.parse_args(argv)
    torch.set_num_threads(flags.threads)
    found = answers(flags.weights)
    print(page(found, flags.width))
    if flags.json:
        told = {"weights": weights_sum(flags.weights or demo.WEIGHTS), "answers": listed(found)}
        flags.json.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    command.run(main)
