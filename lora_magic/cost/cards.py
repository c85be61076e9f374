"""Cards by name: memory, speed and bandwidth, as their makers publish them.

Knows numbers; knows no machine. `machine` finds out which card is in this one.

Compared with printed data sheets and tables made from them: speed and bandwidth of T4, V100, P100's
bandwidth, A10, RTX 3090 (half of 142 TFLOPS, which are for sums in 16 bits), RTX 4090, RTX 5090
(a quarter of 838, which are sparse and for sums in 16 bits), A100, L4, L40S, RTX A6000's bandwidth,
H100, H200, B200 and MI300X, and H100 PCIe's bandwidth. Not compared: the speeds of P100, A10G (its
maker prints 70 TFLOPS, to the author's knowledge), RTX A6000 and H100 PCIe. Memory is what torch
reports, which is less than what is printed on a card; of these only H100's was seen in a log.
"""

from __future__ import annotations

from typing import NamedTuple

from lora_magic.errors import CommandError, near

#: What CUDA itself takes of a card's memory before the first tensor: its context and libraries.
CONTEXT = 700_000_000

#: The share of a card's dense speed that training reaches: a good run of a large model.
REACHED = 0.4

#: The word for this machine, measured.
HERE = "here"


class Card(NamedTuple):
    """One card, as torch sees it: its memory in bytes, dense operations a second in 16 bits with
    float32 sums, bytes a second; `bf16` says whether it has bfloat16 in hardware."""

    name: str
    title: str
    memory: float
    flops: float
    bandwidth: float
    bf16: bool = True

    @property
    def room(self) -> int:
        """The bytes for tensors on an empty card."""
        return int(self.memory - CONTEXT)


_TABLE = (
    Card("t4", "T4", 15.8e9, 65e12, 0.32e12, bf16=False),
    Card("p100", "P100", 17.0e9, 18.7e12, 0.732e12, bf16=False),
    Card("v100", "V100 16 GB", 16.9e9, 125e12, 0.9e12, bf16=False),
    Card("v100-32", "V100 32 GB", 34.0e9, 125e12, 0.9e12, bf16=False),
    Card("l4", "L4", 23.6e9, 121e12, 0.3e12),
    Card("a10g", "A10G", 23.7e9, 70e12, 0.6e12),
    Card("a10", "A10", 23.7e9, 125e12, 0.6e12),
    Card("rtx3090", "RTX 3090", 25.3e9, 71e12, 0.936e12),
    Card("rtx4090", "RTX 4090", 25.3e9, 165e12, 1.008e12),
    Card("rtx5090", "RTX 5090", 33.6e9, 210e12, 1.792e12),
    Card("a100-40", "A100 40 GB", 42.2e9, 312e12, 1.555e12),
    Card("l40s", "L40S", 47.6e9, 362e12, 0.864e12),
    Card("a6000", "RTX A6000", 50.9e9, 155e12, 0.768e12),
    Card("a100-80", "A100 80 GB", 84.9e9, 312e12, 2.039e12),
    Card("h100-pcie", "H100 PCIe", 84.9e9, 756e12, 2e12),
    Card("h100", "H100", 84.9e9, 989e12, 3.35e12),
    Card("h200", "H200", 150.0e9, 989e12, 4.8e12),
    Card("b200", "B200", 191.0e9, 2250e12, 8e12),
    Card("mi300x", "MI300X", 205.8e9, 1307e12, 5.3e12),
)

#: By name, the smallest memory first.
CARDS: dict[str, Card] = {card.name: card for card in sorted(_TABLE, key=lambda c: c.memory)}

_ALIASES = {
    "colab": "t4",
    "a100": "a100-80",
    "3090": "rtx3090",
    "4090": "rtx4090",
    "5090": "rtx5090",
    "v100-16": "v100",
}


def card_of(name: object) -> Card:
    """The card of that name. Raises `CommandError` that lists the names."""
    plain = str(name).strip().lower().replace(" ", "").removeprefix("nvidia").lstrip("-")
    found = CARDS.get(_ALIASES.get(plain, plain))
    if found is None:
        raise CommandError(
            f"--gpu {name}: expected {HERE} or one of {', '.join(CARDS)}."
            f"{near(plain, [*CARDS, *_ALIASES, HERE])}"
        )
    return found


def card_called(title: str, memory: float) -> Card | None:
    """The card that a driver calls `title` and whose memory is about this; None if unknown."""
    plain = title.lower().replace(" ", "").replace("-", "")
    for card in CARDS.values():
        words = [word for word in card.name.split("-") if not word.isdecimal()]
        if all(word in plain for word in words) and 0.9 < memory / card.memory < 1.1:
            return card
    return None


def smallest(bytes_needed: int) -> Card | None:
    """The card of the table with the least memory that has room for so many bytes."""
    return next((card for card in CARDS.values() if card.room >= bytes_needed), None)
