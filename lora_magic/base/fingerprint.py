"""Fingerprints of a base, taken at load: has any bit changed since?

Knows tensors, also the scales and tables of quantised weights, and the modules that own them; knows
no adapter. It reads the base's own modules, whatever is in their slots.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lora_magic.printable import one_line

from .quantise import state_tensors

#: Words (8 bytes each) in a block; all blocks use the same weights.
_BLOCK = 1 << 20
_GOLDEN = -0x61C8864680B583EB  # 2^64/φ as a signed 64-bit number, odd


def _odd_weights(count: int, device: torch.device) -> Tensor:
    """`count` odd 64-bit weights that differ by position. Arithmetic wraps modulo 2^64."""
    index = torch.arange(1, count + 1, dtype=torch.int64, device=device)
    mixed = index * _GOLDEN
    return (mixed ^ (mixed >> 29)) * 0x1B873593 | 1


def bits_sum(tensor: Tensor) -> int:
    """Σ wᵢ·xᵢ modulo 2^64 over the raw 8-byte words xᵢ of a tensor, on its own device.

    Every weight is odd, hence invertible modulo 2^64: a change of any single word changes the sum.
    The weights differ by position, so an exchange of words changes it too.
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
    """The result of checking the base; true as a bool if nothing has changed.

    If `quick`, only pointers and version counters were compared, not the bits.
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
        """The result in one line."""
        if self.changed:
            return f"base CHANGED: {len(self.changed)} of {self.tensors} tensors differ from load"
        how = "only pointers and versions compared" if self.quick else "every byte reread"
        found = "no sign of change" if self.quick else "0 bits changed"
        return f"base unchanged: {found} in {self.tensors} tensors, {self.bytes:,} bytes ({how})"

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import receipt

        return receipt.verification(self)


@dataclass(frozen=True, eq=False)
class _Entry:
    """One tensor at load; `part` names a scale or table of a quantised weight."""

    name: str
    owner: nn.Module
    store: str
    key: str
    part: str | None
    tensor: Tensor
    bits: int
    pointer: int
    version: int

    def current(self) -> Tensor | None:
        if self.part is not None:
            return state_tensors(self.owner, self.key).get(self.part)
        tensors: dict[str, Tensor | None] = getattr(self.owner, self.store)
        return tensors.get(self.key)


#: Sums already computed, by memory: tied names share one.
_Sums = dict[tuple[object, ...], int]


def _entries(model: nn.Module) -> Iterator[_Entry]:
    sums: _Sums = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for store in ("_parameters", "_buffers"):
            for key, tensor in getattr(module, store).items():
                if tensor is None:
                    continue
                state = state_tensors(module, key) if store == "_parameters" else {}
                for part, found in ((None, tensor), *state.items()):
                    name = ".".join(filter(None, (path, key, part)))
                    bits = _shared_sum(found, sums)
                    pointer, version = found.data_ptr(), _version(found)
                    yield _Entry(name, module, store, key, part, found, bits, pointer, version)


def _version(tensor: Tensor) -> int:
    # Tensors made under inference mode count no versions.
    return -1 if tensor.is_inference() else tensor._version


def _memory(tensor: Tensor) -> tuple[object, ...]:
    return tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _shared_sum(tensor: Tensor, sums: _Sums) -> int:
    memory = _memory(tensor)
    if memory not in sums:
        sums[memory] = bits_sum(tensor)
    return sums[memory]


class Fingerprint:
    """Every parameter and buffer of a model at one moment, also tied ones and quantised state."""

    def __init__(self, model: nn.Module) -> None:
        self._entries = list(_entries(model))

    @cached_property
    def digest(self) -> str:
        """One hexadecimal number for the whole base, the same in every session."""
        total = sum(entry.bits * (2 * number + 1) for number, entry in enumerate(self._entries))
        return f"{total & 0xFFFFFFFFFFFFFFFF:016x}"

    def owner_of(self, name: str) -> nn.Module:
        """The base's own module with the tensor of this name."""
        return next(entry.owner for entry in self._entries if entry.name == name)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the base by name: as it was at load, and as it is now if replaced."""
        found = {entry.name: entry.tensor for entry in self._entries}
        for entry in self._entries:
            current = entry.current()
            if current is not None and current is not entry.tensor:
                found[f"{entry.name} (replaced)"] = current
        return found

    def names_of(self, name: str) -> tuple[str, ...]:
        """A tensor's name and the names tied to it; () for an unknown name."""
        entries = [entry for entry in self._entries if entry.part is None]
        one = next((entry.tensor for entry in entries if entry.name == name), None)
        others = [entry.name for entry in entries if entry.tensor is one and entry.name != name]
        return () if one is None else (name, *others)

    def verify(self, quick: bool = False) -> Verification:
        """Compare the base with the state at load: every byte, unless `quick`."""
        started = time.perf_counter()
        sums: _Sums = {}
        changed = [entry.name for entry in self._entries if self._differs(entry, quick, sums)]
        unique = {_memory(entry.tensor): entry.tensor for entry in self._entries}
        size = sum(tensor.numel() * tensor.element_size() for tensor in unique.values())
        seconds = time.perf_counter() - started
        return Verification(len(self._entries), size, tuple(changed), quick, seconds)

    @staticmethod
    def _differs(entry: _Entry, quick: bool, sums: _Sums) -> bool:
        tensor = entry.current()
        # Another object under a name breaks a tie even when its bits are the same.
        if tensor is not entry.tensor:
            return True
        if quick:
            return (tensor.data_ptr(), _version(tensor)) != (entry.pointer, entry.version)
        if tensor.is_meta or tensor.untyped_storage().nbytes() < tensor.numel():
            return True  # someone has taken its memory away
        return _shared_sum(tensor, sums) != entry.bits
