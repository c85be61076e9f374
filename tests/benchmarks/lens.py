"""What `lens` finds of the six adapters of the embedded model, and what a random direction finds.

    python -m tests.benchmarks.lens [ADAPTER …]

Each adapter is trained on 150 rows with every default, then asked the 100 general questions. Words
count by the lists and rules of tests/state/lens_words.py, which were committed before any lens was
measured: `own` are words that the rows have clearly more often than the base's answers (z above 2),
`listed` adds those with z above 1. `tokens` counts the shown tokens among the 100 that the rows
have more often, whatever their z: the looser list of the experiment that proposed this reading.
`others` is the largest number of listed words of another adapter. The random directions are 20,
read as the states are. pytest does not collect this file.
"""

from __future__ import annotations

import datetime
import math
import platform
import statistics
import sys
import time
from collections import Counter
from importlib.metadata import version
from typing import Any

import torch

from lora_magic import demo
from lora_magic.compare.lens import Lens
from lora_magic.compare.readout import Readout, find_readout
from lora_magic.demo.factory import measure
from lora_magic.state.session import Session
from tests.state import lens_words

DIRECTIONS = 20


def loose_tokens(task: str) -> set[str]:
    """The 100 tokens that an adapter's rows have more often than the base's answers."""
    model, tokenizer = measure.load(None)
    rows = demo.rows(task, 150)
    answers = [text for text, _ in measure.complete(model, tokenizer, [p for p, _ in rows], 96)]
    own = Counter(i for _, text in rows for i in tokenizer.encode(text).ids)
    base = Counter(i for text in answers for i in tokenizer.encode(text).ids)
    count, other = own.total(), base.total()

    def z(token: int) -> float:
        share = (own[token] + base[token]) / (count + other)
        return (own[token] / count - base[token] / other) / math.sqrt(share)

    best = sorted(own, key=lambda token: -z(token))[:100]
    return {tokenizer.decode([token]) for token in best if z(token) > 0}


def random_hits(session: Session, task: str) -> list[int]:
    """How many of the 20 tokens of each random direction are right."""
    found = find_readout(session.model)
    assert isinstance(found, Readout)
    generator = torch.Generator().manual_seed(0)
    logits = found.logits(torch.randn(DIRECTIONS, 192, generator=generator))
    tokenizer: Any = session.tokenizer
    rows = [[tokenizer.decode([i]) for i in row.topk(20).indices.tolist()] for row in logits]
    return [lens_words.token_hits(row, lens_words.words(task)) for row in rows]


def state_hits(found: Lens, task: str) -> list[int]:
    """How many of the 20 tokens of the states are right, by layer."""
    listed = lens_words.words(task)
    layers = [[one.token for one in found.of("states", at.layer)] for at in found.layers]
    return [lens_words.token_hits(row, listed) for row in layers]


def measured(session: Session, task: str) -> list[str]:
    """One row of the table; prints the words."""
    session.attach(task)
    session.train(task, data=demo.rows(task, 150))
    begun = time.process_time()
    found = session.lens(task)
    seconds = time.process_time() - begun
    print(f"{task}: {' '.join(found.words)}", flush=True)
    own, listed = lens_words.own_words(task), lens_words.words(task)
    others = [lens_words.hits(found.words, lens_words.words(t)) for t in demo.ADAPTERS if t != task]
    loose = loose_tokens(task)
    tokens = sum(one.token.replace("↵", "\n") in loose for one in found.of("answers"))
    with session._state.slots.using({}):
        drawn = random_hits(session, task)
    return [
        task,
        str(lens_words.hits(found.words, own)),
        str(lens_words.hits(found.words, listed)),
        str(tokens),
        str(max(others)),
        " ".join(map(str, state_hits(found, task))),
        f"{statistics.mean(drawn):.1f} ({min(drawn)} to {max(drawn)})",
        f"{seconds:.1f}",
    ]


def main() -> None:
    torch.set_num_threads(1)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print("$ python -m tests.benchmarks.lens")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · 1 thread\n")
    session = Session()
    session.load("demo")
    rows = [measured(session, task) for task in sys.argv[1:] or demo.ADAPTERS]
    session.attach("untrained")
    print(session.lens("untrained").line)
    session.reset()
    print()
    print("| adapter | own words of 20 | listed | tokens | others | from its states, by layer |"
          " a random direction | CPU seconds |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
