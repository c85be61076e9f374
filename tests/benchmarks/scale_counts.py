"""What several devices send and compute: sizes, formulas, assumptions. `scale` makes the page.

Knows the package's counts (lora_magic.cost), links and rates; knows no text, and reads no weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from lora_magic.adapters.spec import AdapterSpec
from lora_magic.cost import compute
from lora_magic.cost.cards import CARDS, REACHED
from lora_magic.cost.config import model_of
from lora_magic.cost.count import trainable
from lora_magic.cost.memory import Memory, memory
from lora_magic.cost.model import Model
from lora_magic.cost.setting import Setting

MODELS = {
    "7B": "llama-2-7b",
    "13B": "llama-2-13b",
    "33B": "llama-33b",
    "70B": "llama-3-70b",
    "405B": "llama-3.1-405b",
}
SPECS = {
    "LoRA r8 q,v": AdapterSpec(rank=8, alpha=16, targets="q_proj,v_proj"),
    "LoRA r16 all-linear": AdapterSpec(rank=16, alpha=32, targets="all-linear"),
    "full": AdapterSpec(method="full"),
}
DATA, FSDP = "data parallel", "FSDP"
DEVICES = (8, 64)
CARD, OTHER_CARD = "h100", "a100-80"

#: What each device reads in a step: so many rows of so many tokens, in one pass.
ROWS, LENGTH = 4, 1024
TOKENS = ROWS * LENGTH
#: Without checkpointing a card of 80 GB does not hold the activations of a 70B model.
WITHOUT_CHECKPOINTING = ("7B",)

#: Bytes of a number: of the base and of full fine-tuning's gradients, and of an adapter's.
NARROW, WIDE = 2, 4
#: Bytes a parameter of full fine-tuning in mixed precision with AdamW (ZeRO, section 3.1): weight
#: and gradient in 16 bits; weight and two moments in 32.
FULL_STATE = 16
#: Bytes a parameter of a checkpoint: weights and AdamW's two moments in float32.
CHECKPOINT = 12

#: Bytes a second in one direction, as the makers print them.
LINKS = {
    "NVLink 4": 450e9,
    "400 Gb/s": 400e9 / 8,
    "100 Gb/s": 100e9 / 8,
    "25 Gb/s": 25e9 / 8,
    "10 Gb/s": 10e9 / 8,
}
HUB, DISK = 1e9 / 8, 5e9
#: The share of a link that large messages reach.
REACHED_LINK = 0.8

#: Rows of a step in the break-even: the default of a base above a billion parameters.
STEP_ROWS = 16
#: Seconds that two workers of an engine take longer to the end of a first step than one process,
#: and of a restart on Ray: measured on two cores (results/scale.txt), where starting is slowest.
START = {"accelerate": 8.0, "ray": 49.0}
RESTART = 42.0
#: Seconds between two checkpoints; test_scale.py compares with the session's.
EVERY = 60.0
#: Device-seconds between two failures: 419 in 54 days on 16,384 H100 (Llama 3, arXiv 2407.21783,
#: section 3.3.4).
BETWEEN_FAILURES = 16_384 * 54 * 86_400 / 419


class Case(NamedTuple):
    """A model and what is trained of it."""

    size: str
    what: str

    @property
    def model(self) -> Model:
        return model(self.size)

    @property
    def spec(self) -> AdapterSpec:
        return SPECS[self.what]

    @property
    def full(self) -> bool:
        return self.what == "full"

    @property
    def trained(self) -> int:
        """Parameters that are trained."""
        return trainable(self.model, self.spec)

    @property
    def base(self) -> int:
        """Bytes of the base in 16 bits."""
        return NARROW * self.model.parameters

    @property
    def gradients(self) -> int:
        """Bytes of the gradients that are summed."""
        return (NARROW if self.full else WIDE) * self.trained

    def setting(self, bits: int | None = None) -> Setting:
        """One device's pass."""
        again = self.size not in WITHOUT_CHECKPOINTING
        return Setting(spec=self.spec, rows=ROWS, length=LENGTH, checkpointing=again, bits=bits)

    def operations(self, tokens: int = TOKENS) -> float:
        """Floating-point operations of training on so many tokens."""
        return compute.operations(self.model, self.setting(), self.trained, tokens)

    def seconds(self, card: str = CARD, tokens: int = TOKENS) -> float:
        """Seconds that a card computes."""
        return self.operations(tokens) / (REACHED * CARDS[card].flops)

    def wire(self, way: str, devices: int) -> float:
        """Bytes that each device sends in a step, and receives."""
        if way == DATA:
            return all_reduced(self.gradients, devices)
        if self.full:
            return 2 * gathered(self.base, devices) + gathered(self.gradients, devices)
        return 2 * gathered(self.base, devices) + all_reduced(self.gradients, devices)

    def needed(self, way: str, devices: int) -> float:
        """Bytes that a card must hold."""
        split = devices if way == FSDP else 1
        if self.full:
            other = Case(self.size, "LoRA r16 all-linear").held()
            return FULL_STATE * self.model.parameters / split + moving(other)
        held = self.held()
        return held.peak - held.of("weights") * (1 - 1 / split)

    def cards(self) -> int:
        """The fewest cards that FSDP must split it over."""
        room = CARDS[CARD].room
        return next(n for n in range(1, 1000) if self.needed(FSDP, n) <= room)

    def held(self, bits: int | None = None) -> Memory:
        """The memory of one device alone."""
        return memory(self.model, self.setting(bits))


@cache
def model(name: str) -> Model:
    """A model, described once."""
    return model_of(MODELS[name])


CASES = [Case(size, what) for size in ("7B", "70B") for what in SPECS]


def gathered(array: float, devices: int) -> float:
    """Bytes that each device sends to gather an array of which each has a part, or to sum an array
    of which each then has a part."""
    return (devices - 1) / devices * array


def all_reduced(array: float, devices: int) -> float:
    """Bytes that each device sends until all have the sum: parts are summed, then gathered."""
    return 2 * gathered(array, devices)


def moving(held: Memory) -> int:
    """What a pass needs beside weights and states: activations and logits."""
    states = ("weights", "adapter", "gradients", "optimizer")
    return held.peak - sum(map(held.of, states))


def sent(array: float, link: str) -> float:
    """Seconds that a link takes for so many bytes."""
    return array / (REACHED_LINK * LINKS[link])


def break_even(alone: float, together: float, before: float, failures: float = 0.0) -> float:
    """Steps from which several workers are faster than one; infinite if they never are.

    `alone` and `together` are the seconds of a step, `before` those until the first one, and
    `failures` the share that restarts add to a run of several.
    """
    gain = alone - (1 + failures) * together
    return before / gain if gain > 0 else math.inf


def failure_share(workers: int, between: float = BETWEEN_FAILURES) -> float:
    """The share that restarts add to a run; each takes half of what is between checkpoints too."""
    return workers * (RESTART + EVERY / 2) / between


class Plan(NamedTuple):
    """A way to run on several workers, for the break-even: `base(bytes, workers)` is the seconds
    until all of them have the base."""

    title: str
    case: Case
    engine: str
    link: str
    base: Callable[[float, int], float]

    def steps(self, workers: int) -> tuple[float, float]:
        """Seconds of a step of the same rows: on one device, on so many workers."""
        alone = self.case.seconds(tokens=STEP_ROWS * LENGTH)
        return alone, alone / workers + sent(self.case.wire(DATA, workers), self.link)

    def before(self, workers: int) -> tuple[float, float]:
        """Seconds before the first step: of the engine's start, and until the base is read."""
        return START[self.engine], self.base(self.case.base, workers)


def from_disk(array: float, workers: int) -> float:
    """Seconds until each of several workers has a file of its own disk."""
    return array / DISK


def from_hub(array: float, workers: int) -> float:
    """Seconds until each has a file of a hub, on a line of its own."""
    return array / (REACHED_LINK * HUB)


def from_path(array: float, workers: int) -> float:
    """Seconds until each has a file of one server, which has one link of 100 Gb/s."""
    return workers * sent(array, "100 Gb/s")


SMALL, LARGE = (Case(size, "LoRA r16 all-linear") for size in ("7B", "70B"))
PLANS = (
    Plan("7B, one machine", SMALL, "accelerate", "NVLink 4", from_disk),
    Plan("7B, Ray, a shared path", SMALL, "ray", "10 Gb/s", from_path),
    Plan("7B, Ray, from a hub", SMALL, "ray", "10 Gb/s", from_hub),
    Plan("70B in 4 bits, Ray, a shared path", LARGE, "ray", "25 Gb/s", from_path),
)
