"""What `%load_ext lora_magic` adds to a shell, and `%unload_ext` removes.

The magics, one pass over a cell's lines, one over its tokens, one over its tree, what TAB offers,
and how controls are displayed. The session is not part of it and stays on the shell. Both calls may
be repeated.
"""

from __future__ import annotations

from typing import Any

from lora_magic.magics.completer import completer_hook
from lora_magic.magics.lines import LoraLine, lift_cell_magic
from lora_magic.magics.places import MAGICS, Marker, remember
from lora_magic.magics.router import LoraMagics
from lora_magic.magics.show import say, show_outputs, show_panel

#: The types that need more than one output; by name, since their modules import torch.
PANEL = ("lora_magic.magics.panel", "Panel")
PLAN_PANEL = ("lora_magic.magics.plan_panel", "PlanPanel")
SPECTRUM = ("lora_magic.lowrank.spectrum", "Spectrum")
BALLOT = ("lora_magic.state.voting", "Ballot")
KEPT_AS = "_lora_magic_hooks"


def load(shell: Any) -> None:
    """Add the extension to `shell`; a second call does nothing."""
    if getattr(shell, KEPT_AS, None):
        return
    shell.register_magics(LoraMagics)
    hooks = [
        (shell.input_transformers_cleanup, lift_cell_magic),
        (shell.input_transformer_manager.token_transformers, LoraLine),
        (shell.ast_transformers, Marker()),
        completer_hook(shell),
    ]
    for registry, hook in hooks:
        registry.append(hook)
    controls = shell.display_formatter.ipython_display_formatter
    controls.for_type_by_name(*PANEL, show_panel)
    controls.for_type_by_name(*PLAN_PANEL, show_panel)
    controls.for_type_by_name(*SPECTRUM, show_outputs)
    controls.for_type_by_name(*BALLOT, _show_ballot)
    # Kept on the shell: after a reload of our modules these are the only references to the hooks.
    setattr(shell, KEPT_AS, hooks)
    for line in remember(shell):
        say(f"{line.strip()}  ← IPython took its ? for help: run it again in the next cell.")


def unload(shell: Any) -> None:
    """Remove what `load` added, and nothing else; a second call does nothing."""
    hooks = getattr(shell, KEPT_AS, None)
    if not hooks:
        return
    for registry, hook in hooks:
        if hook in registry:
            registry.remove(hook)
    for name in MAGICS:
        shell.magics_manager.magics["line"].pop(name, None)
        shell.magics_manager.magics["cell"].pop(name, None)
    for kind in (PANEL, PLAN_PANEL, SPECTRUM, BALLOT):
        shell.display_formatter.ipython_display_formatter.pop(".".join(kind), None)
    shell.magics_manager.registry.pop(LoraMagics.__name__, None)
    setattr(shell, KEPT_AS, None)


def _show_ballot(ballot: Any) -> None:
    """Import ipywidgets only when there is a ballot to show."""
    from lora_magic.magics.ballots import show_ballot

    show_ballot(ballot)
