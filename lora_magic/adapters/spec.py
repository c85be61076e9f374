"""What an adapter is to be: its method, rank, alpha, dropout, targets and seed.

Knows numbers and names only; whether the targets exist is for `targets` to say.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import asdict, dataclass

from lora_magic.checks import is_number, is_whole
from lora_magic.errors import AdapterError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
BASE_NAME = "base"
_LARGEST_ALPHA = 1e6  # Beyond it α/r leaves the range of half precision.


@dataclass(frozen=True)
class AdapterSpec:
    """A LoRA adapter: W = W0 + (α/r)·B·A with W0 frozen (Hu et al. 2021, section 4.1).

    For a target of d outputs and k inputs, A is r×k (Kaiming-uniform at first) and B is d×r (zero
    at first, so that the adapter changes nothing until it is trained). `alpha` is α, `dropout` the
    share of A's inputs dropped in training, `seed` what A is drawn from.

    Raises `AdapterError`, with every fault at once, for a rank below 1, an alpha that is not
    positive or a dropout outside [0, 1).
    """

    rank: int
    alpha: float
    dropout: float
    targets: str
    seed: int
    method: str = "lora"

    def __post_init__(self) -> None:
        faults = []
        if not is_whole(self.rank) or self.rank < 1:
            faults.append(f"rank {self.rank!r}: expected a whole number from 1, say --rank 8")
        if not is_number(self.alpha) or not 0 < self.alpha <= _LARGEST_ALPHA:
            faults.append(f"alpha {self.alpha!r}: expected a positive number, say --alpha 16")
        if not is_number(self.dropout) or not 0 <= self.dropout < 1:
            faults.append(f"dropout {self.dropout!r}: expected 0 ≤ dropout < 1, say --dropout 0.05")
        if not is_whole(self.seed) or not 0 <= self.seed < 2**63:
            faults.append(f"seed {self.seed!r}: expected a whole number from 0")
        if faults:
            raise AdapterError("; ".join(faults) + ".")
        # One spelling, so that equal specs are equal: 16 and 16.0 are one alpha.
        object.__setattr__(self, "rank", int(self.rank))
        object.__setattr__(self, "seed", int(self.seed))
        object.__setattr__(self, "alpha", float(self.alpha))
        object.__setattr__(self, "dropout", float(self.dropout))

    def against(self, other: AdapterSpec) -> str:
        """Where two specs differ: `rank 8, asked for 4; …`."""
        one, two = asdict(self), asdict(other)
        return "; ".join(f"{k} {one[k]}, asked for {two[k]}" for k in one if one[k] != two[k])

    @property
    def line(self) -> str:
        """`lora r8 α16 q_proj,v_proj`, with the dropout where there is one."""
        dropout = f" dropout {self.dropout:g}" if self.dropout else ""
        return f"{self.method} r{self.rank} α{self.alpha:g} {self.targets}{dropout}"


def seed_of(name: str) -> int:
    """The seed that belongs to a name: two adapters never start alike by accident."""
    return zlib.crc32(name.encode())


def check_name(name: str, command: str = "%lora attach") -> str:
    """The name itself; raises `AdapterError` for one that paths and PEFT could not carry.

    `command` is what the message says to type with a name that can be.
    """
    if not isinstance(name, str):
        raise AdapterError(f"adapter name {name!r}: expected text; type: {command} pirate")
    if name == BASE_NAME:
        raise AdapterError(
            f"{BASE_NAME!r} is the base model's own name; choose another: {command} pirate"
        )
    if name.startswith("$"):
        raise AdapterError(
            f"adapter name {name!r}: for what a variable holds type {command} {{{name[1:]}}}"
        )
    if _NAME.fullmatch(name) is None:
        mended = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-") or "adapter"
        mended = mended[:40]
        mended = mended if _NAME.fullmatch(mended) else f"a_{mended}"
        raise AdapterError(
            f"adapter name {name!r}: expected a–z, A–Z, digits, - and _ (no slash, dot or space), "
            f"at most 64, starting with a letter; type: {command} {mended}"
        )
    return name
