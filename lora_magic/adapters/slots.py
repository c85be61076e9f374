"""Slots: the entries of a base model's module tree where modules can be replaced.

PEFT's wrappers nest and refuse each other, so each adapter is captured once, on the pristine base,
as replacement modules by path. Activating an adapter writes its replacements, deactivating it the
originals. That never touches a tensor of the base. The model itself has no slot, since
`session.model` is always the object that was loaded: the replacement at its path is a `PreForward`,
which changes the arguments of its forward.

Knows module trees; knows no method, no PEFT, no session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from torch import nn
from torch.utils.hooks import RemovableHandle

from lora_magic.interrupts import undisturbed

from .read_shapes import shapes_of
from .shapes import ROOT as ROOT


@runtime_checkable
class PreForward(Protocol):
    """The replacement at `ROOT`: a module that changes the arguments of the model's forward."""

    def before(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments for the model's forward."""
        ...


class AdapterLayer(nn.Module):
    """A layer of our own for a slot, around the base's module: `base_layer`, as in PEFT's layers.

    Attributes that it does not have are those of `base_layer`: models read `weight`, `bias` or
    settings of a layer that they also call.
    """

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.base_layer = original
        self.training = original.training

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_layer":
                raise
            return getattr(super().__getattr__("base_layer"), name)


class Slots:
    """Every slot of one base model, and the model's `shapes`, recorded while the tree is pristine.

    Writing costs a dict entry per slot and is all or nothing: an interrupt waits until it is done,
    and a path that the base does not have raises `KeyError` before anything is written.
    """

    def __init__(self, model: nn.Module) -> None:
        self._root = model
        self.shapes = shapes_of(model)
        self._hook: RemovableHandle | None = None
        self._slots: dict[str, tuple[nn.Module, str, nn.Module]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            if path:
                parent, _, child = path.rpartition(".")
                self._slots[path] = (model.get_submodule(parent), child, module)
        self._written: dict[str, nn.Module] = {}

    def original(self, path: str) -> nn.Module:
        """The base's own module at a path; the model itself at `ROOT`."""
        return self._root if path == ROOT else self._slots[path][2]

    def paths(self) -> list[str]:
        """Every path of the tree, in the model's own order."""
        return list(self._slots)

    @property
    def written(self) -> Mapping[str, nn.Module]:
        """The current replacements; empty when no adapter is active."""
        return dict(self._written)

    def write(self, replacements: Mapping[str, nn.Module]) -> None:
        """Write these replacements into their slots and the originals into all others."""
        unknown = [path for path in replacements if path != ROOT and path not in self._slots]
        if unknown:
            raise KeyError(unknown[0])
        if ROOT in replacements and not isinstance(replacements[ROOT], PreForward):
            raise TypeError("the replacement at the root must be a PreForward.")
        with undisturbed():
            self._place(self._written, replacements)

    def _place(self, previous: Mapping[str, nn.Module], following: Mapping[str, nn.Module]) -> None:
        for path in previous:
            if path != ROOT:
                parent, child, original = self._slots[path]
                parent._modules[child] = original
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        for path, module in following.items():
            if path == ROOT:
                assert isinstance(module, PreForward)  # checked by `write`
                before = module.before
                self._hook = self._root.register_forward_pre_hook(before, with_kwargs=True)
            else:
                parent, child, _ = self._slots[path]
                parent._modules[child] = module
        self._written = dict(following)

    def restore(self, replacements: Mapping[str, nn.Module]) -> None:
        """Write these replacements whatever is in the slots, after a `write` that failed."""
        with undisturbed():
            for parent, child, original in self._slots.values():
                parent._modules[child] = original
            self._place({}, replacements)

    @contextmanager
    def using(self, replacements: Mapping[str, nn.Module]) -> Iterator[None]:
        """Write these replacements for a block, then the previous ones again, even on errors."""
        before = self.written
        try:
            self.write(replacements)
            yield
        finally:
            self.write(before)

    def foreign_paths(self) -> list[str]:
        """Paths whose slot has neither its original nor the last written replacement."""
        return [
            path
            for path, (parent, child, original) in self._slots.items()
            if parent._modules.get(child) is not self._written.get(path, original)
        ]

    def collect(self) -> dict[str, nn.Module]:
        """Remove and return the modules that a library has put into slots since the last `write`.

        Afterwards the tree has what was written last, whatever the library did.
        """
        found = {}
        with undisturbed():
            for path in self.foreign_paths():
                parent, child, original = self._slots[path]
                module = parent._modules.get(child)
                if module is not None:
                    found[path] = module
                parent._modules[child] = self._written.get(path, original)
        return found
