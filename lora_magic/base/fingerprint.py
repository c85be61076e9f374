"""Is every bit of the base model what it was? Fingerprints taken at load, checked on demand.

Knows tensors, also those that a quantised weight keeps beside itself, and the modules that own
them; knows no adapter. It looks at the base's own modules, so it holds whatever stands in their
slots just now.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .quantise import state_tensors

#: Words (8 bytes each) per block; a block's weights are made once and used for every block.
_BLOCK = 1 << 20
_GOLDEN = -0x61C8864680B583EB  # 2^64/φ as a signed 64-bit number, odd


def _odd_weights(count: int, device: torch.device) -> Tensor:
    """`count` odd 64-bit weights that differ by position. Arithmetic wraps modulo 2^64."""
    index = torch.arange(1, count + 1, dtype=torch.int64, device=device)
    mixed = index * _GOLDEN
    return (mixed ^ (mixed >> 29)) * 0x1B873593 | 1


def bits_sum(tensor: Tensor) -> int:
    """Σ wᵢ·xᵢ modulo 2^64 over the raw 8-byte words xᵢ of a tensor, on its own device.

    Every weight is odd, hence invertible modulo 2^64: a change within any single word always
    changes the sum. The weights differ by position, so an exchange of words shows too.
    """
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    padding = -raw.numel() % 8
    if padding:
        raw = torch.cat([raw, raw.new_zeros(padding)])
    words = raw.view(torch.int64) if raw.data_ptr() % 8 == 0 else raw.clone().view(torch.int64)
    weights = _odd_weights(min(_BLOCK, max(words.numel(), 1)), words.device)
    total = 0
    for number, block in enumerate(torch.split(words, _BLOCK)):
        part = int((block * weights[: block.numel()]).sum())
        total += part * (2 * number + 1)
    return total & 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True)
class Verification:
    """What a check of the base found; true as a bool when nothing has changed.

    `quick` means that only pointers and version counters were compared, not the bits.
    """

    tensors: int
    bytes: int
    changed: tuple[str, ...]
    quick: bool
    seconds: float

    def __bool__(self) -> bool:
        return not self.changed

    @property
    def line(self) -> str:
        """The finding in one line."""
        if self.changed:
            return f"base CHANGED: {len(self.changed)} of {self.tensors} tensors differ from load"
        how = "pointers and versions compared only" if self.quick else "every byte reread"
        found = "no sign of change" if self.quick else "0 bits changed"
        return f"base unchanged: {found} in {self.tensors} tensors, {self.bytes:,} bytes ({how})"

    def __repr__(self) -> str:
        return self.line

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import receipt

        return receipt.verification(self)


@dataclass(frozen=True, eq=False)
class _Entry:
    """One tensor at load; `part` names one that a quantised weight keeps beside itself."""

    name: str
    owner: nn.Module
    store: str
    key: str
    part: str | None
    tensor: Tensor
    bits: int
    pointer: int
    version: int

    def found(self) -> Tensor | None:
        if self.part is not None:
            return state_tensors(self.owner, self.key).get(self.part)
        tensors: dict[str, Tensor | None] = getattr(self.owner, self.store)
        return tensors.get(self.key)


def _version(tensor: Tensor) -> int:
    # Tensors made under inference mode count no versions.
    return -1 if tensor.is_inference() else tensor._version


_Owned = tuple[str, nn.Module, str, str, str | None, Tensor]


def _owned(model: nn.Module) -> Iterator[_Owned]:
    for path, module in model.named_modules(remove_duplicate=False):
        for store in ("_parameters", "_buffers"):
            for key, tensor in getattr(module, store).items():
                if tensor is None:
                    continue
                name = f"{path}.{key}" if path else key
                yield name, module, store, key, None, tensor
                if store == "_parameters":
                    for part, state in state_tensors(module, key).items():
                        yield f"{name}.{part}", module, store, key, part, state


def _place(tensor: Tensor) -> tuple[object, ...]:
    return tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


class _Sums:
    """Each stretch of memory summed once, however many names it has."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], int] = {}

    def of(self, tensor: Tensor) -> int:
        place = _place(tensor)
        if place not in self._known:
            self._known[place] = bits_sum(tensor)
        return self._known[place]


class Fingerprint:
    """Every parameter and buffer of a model at one moment, tied names and quantised state too."""

    def __init__(self, model: nn.Module) -> None:
        sums = _Sums()
        self._entries = [
            _Entry(*owned, sums.of(owned[-1]), owned[-1].data_ptr(), _version(owned[-1]))
            for owned in _owned(model)
        ]

    @property
    def digest(self) -> str:
        """One hexadecimal number for the whole base, the same in every session."""
        total = 0
        for number, entry in enumerate(self._entries):
            total += entry.bits * (2 * number + 1)
        return f"{total & 0xFFFFFFFFFFFFFFFF:016x}"

    def owner_of(self, name: str) -> nn.Module:
        """The module that has a tensor of this name, whatever stands in its slot just now."""
        return next(entry.owner for entry in self._entries if entry.name == name)

    def names_of(self, name: str) -> tuple[str, ...]:
        """A tensor's name and, where it is tied, its others; () for a name that there was not."""
        entries = [entry for entry in self._entries if entry.part is None]
        one = next((entry.tensor for entry in entries if entry.name == name), None)
        others = [entry.name for entry in entries if entry.tensor is one and entry.name != name]
        return () if one is None else (name, *others)

    def verify(self, quick: bool = False) -> Verification:
        """Compare the base with what was taken at load; all of it, unless `quick`."""
        started = time.perf_counter()
        sums = _Sums()
        changed = [entry.name for entry in self._entries if self._differs(entry, quick, sums)]
        unique = {_place(entry.tensor): entry.tensor for entry in self._entries}
        size = sum(tensor.numel() * tensor.element_size() for tensor in unique.values())
        seconds = time.perf_counter() - started
        return Verification(len(self._entries), size, tuple(changed), quick, seconds)

    @staticmethod
    def _differs(entry: _Entry, quick: bool, sums: _Sums) -> bool:
        tensor = entry.found()
        # Another object under a name breaks a tie even when its bits are the same.
        if tensor is not entry.tensor:
            return True
        if quick:
            return (tensor.data_ptr(), _version(tensor)) != (entry.pointer, entry.version)
        return sums.of(tensor) != entry.bits
