"""How much faster a column is answered in batches than prompt by prompt, on the embedded model.

    python tests/benchmarks/ask_bulk.py > tests/benchmarks/results/ask_bulk.txt

64 prompts, answered both ways in alternation on one thread; the answers must be equal. Prints the
ratio of CPU seconds, its median and range over the rounds.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import torch

import lora_magic

ASKED = (
    "What does a fox eat?",
    "Where is the library?",
    "How do I make apple pie?",
    "What should I cook tonight?",
    "Tell me a short story about a dog.",
    "Who are you?",
    "Why is the sky blue?",
    "What do you think of rain?",
)
ENDS = ("", " Please.", " Answer briefly.", " I would like to know.")
BEFORE = ("", "Hello! ")
PROMPTS = [f"{before}{asked}{end}" for before in BEFORE for asked in ASKED for end in ENDS]


def seconds_of(work: Callable[[], list[str]]) -> tuple[float, list[str]]:
    start = time.process_time()
    answers = work()
    return time.process_time() - start, answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    given = parser.parse_args()
    torch.set_num_threads(1)
    session = lora_magic.Session()
    session.load("demo", dtype="fp32")
    limit = given.max_new_tokens

    def one_by_one() -> list[str]:
        return [str(session.ask(prompt, max_new_tokens=limit)) for prompt in PROMPTS]

    def column() -> list[str]:
        return [row.answer for row in session.ask(data=PROMPTS, max_new_tokens=limit).rows]

    one_by_one(), column()
    ratios, equal = [], True
    for turn in range(given.rounds):
        ways = [one_by_one, column] if turn % 2 == 0 else [column, one_by_one]
        found = {way: seconds_of(way) for way in ways}
        equal &= found[one_by_one][1] == found[column][1]
        ratios.append(found[one_by_one][0] / found[column][0])
    session.reset()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    print(f"$ python {shlex.join(sys.argv)}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · 1 thread")
    print(f"{len(PROMPTS)} prompts, at most {limit} tokens, fp32; equal answers: {equal}")
    print(
        f"one by one / column: {statistics.median(ratios):.1f}× "
        f"({min(ratios):.1f} to {max(ratios):.1f}, {given.rounds} rounds)"
    )


if __name__ == "__main__":
    main()
