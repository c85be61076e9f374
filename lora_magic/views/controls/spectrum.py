"""An adapter and a module to pick, and the singular values of its ΔW. Knows names alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import ipywidgets

from lora_magic.views.controls.widgets import Page, named, row, set_options

ALL = "all"

#: (adapter or None for all of them, module or None) to a page.
Look = Callable[[str | None, str | None], str]


class SpectrumControls:
    """Pickers for an adapter and a module."""

    def __init__(self, modules: Mapping[str, Sequence[str]], look: Look, start: str = ALL) -> None:
        """`modules`: for each adapter with a ΔW the modules, or parts of their names, to pick."""
        self._look, self._busy = look, False
        self.page = Page()
        self.adapter = named(ipywidgets.Dropdown, "Adapter", options=[ALL])
        self.module = named(ipywidgets.Dropdown, "Modules", options=[ALL])
        self.widget = ipywidgets.VBox([row(self.adapter, self.module), self.page.widget])
        self._modules: Mapping[str, Sequence[str]] = {}
        self.offer(modules, start)
        self.adapter.observe(lambda _: self._adapter_picked(), "value")
        self.module.observe(lambda _: self.refresh(), "value")

    def offer(self, modules: Mapping[str, Sequence[str]], start: str | None = None) -> None:
        """Other adapters to pick from; what was picked stays, if it is still there."""
        self._modules = dict(modules)
        wanted = start or self.adapter.value
        kept = wanted if wanted in self._modules else ALL
        self._set(self.adapter, [ALL, *self._modules], kept)
        self._offer_modules()

    def _offer_modules(self) -> None:
        names = (
            self._modules.values()
            if self.adapter.value == ALL
            else [self._modules[str(self.adapter.value)]]
        )
        options = [ALL, *dict.fromkeys(name for several in names for name in several)]
        kept = self.module.value if self.module.value in options else ALL
        self._set(self.module, options, kept)

    def _set(self, picker: ipywidgets.Dropdown, options: list[str], value: str) -> None:
        busy, self._busy = self._busy, True
        try:
            set_options(picker, options, value)
        finally:
            self._busy = busy

    def _adapter_picked(self) -> None:
        if self._busy:
            return
        self._offer_modules()
        self.refresh()

    @property
    def picked(self) -> str | None:
        """The adapter that is picked; None for all of them."""
        return self._chosen(self.adapter)

    def refresh(self) -> None:
        """Look anew and show it."""
        if not self._busy:
            self.page.show(lambda: self._look(self.picked, self._chosen(self.module)))

    @staticmethod
    def _chosen(picker: ipywidgets.Dropdown) -> str | None:
        return None if picker.value == ALL else str(picker.value)
