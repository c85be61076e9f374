"""The best learning rate of each method, as a multiple of LoRA's.

    python tests/benchmarks/method_rates.py [METHOD …]

Trains each method at several rates: 150 rows in a pirate's voice, 60 steps, one seed. Prints the
loss on 50 held-out rows; the chosen rate is `rate` in `lora_magic/adapters/methods.py`. pytest does
not collect this file.
"""

from __future__ import annotations

import datetime
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lora_magic.adapters.methods import METHODS
from lora_magic.state.session import Session
from tests.benchmarks import bases

STEPS = 60
LORA = (0.125, 0.25, 0.5, 1, 2, 4)
LADDERS: dict[str, tuple[float, ...]] = {
    "lora": LORA,
    "adalora": (1, 2, 4, 8, 16, 32),
    "ia3": (1, 2, 4, 8, 16, 32),
    "prefix": (1, 4, 8, 16, 32, 64),
    "prompt": (1, 2, 4, 8, 16, 32),
    "houlsby": LORA,
    "adapter-l": LORA,
    "bitfit": (1, 2, 4, 8, 16, 32),
    "full": (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4),
}


def loss(session: Session, rate: float, method: str, steps: int = STEPS) -> float:
    """The held-out loss after a run at a multiple of the recipe's rate."""
    flags: dict[str, Any] = {"method": method, "seed": 0, "replace": True}
    session.attach("one", **flags)
    whole = session._state.base.recipe.learning_rate * rate
    run = session.train("one", bases.rows(0), eval=50, steps=steps, lr=whole, seed=0)
    assert run.held_out_after is not None
    return run.held_out_after


def main() -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ python {shlex.join(sys.argv)}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions}")
    wanted = sys.argv[1:] or list(LADDERS)
    for name in wanted:
        session = bases.biased() if name == "bitfit" else bases.plain()
        found = {rate: loss(session, rate, name) for rate in LADDERS[name]}
        told = "  ".join(f"{rate:g}× {value:.3f}" for rate, value in found.items())
        best = min(found, key=lambda rate: found[rate])
        chosen = METHODS[name].rate
        print(f"{name:10} {told}  best {best:g}×, chosen {chosen:g}×", flush=True)
        session.reset()


if __name__ == "__main__":
    main()
