"""What `%load_ext lora_magic` puts into a shell, and `%unload_ext` takes out again.

The magics, one pass over a cell's lines, one over its tokens, one over its tree, what TAB offers,
and how controls are displayed. The session is not part of it: that stays on the shell. Both calls
may be made twice.
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
SPECTRUM = ("lora_magic.lowrank.spectrum", "Spectrum")
KEPT_AS = "_lora_magic_hooks"


def load(shell: Any) -> None:
    """Put the extension into `shell`; a second time does nothing."""
    if getattr(shell, KEPT_AS, None):
        return
    shell.register_magics(LoraMagics)
    hooks = [
        (shell.input_transformers_cleanup, lift_cell_magic),
        (shell.input_transformer_manager.token_transformers, LoraLine),
        (shell.ast_transformers, Marker()),
        completer_hook(shell),
    ]
    for held, hook in hooks:
        held.append(hook)
    controls = shell.display_formatter.ipython_display_formatter
    controls.for_type_by_name(*PANEL, show_panel)
    controls.for_type_by_name(*SPECTRUM, show_outputs)
    # Kept with the shell: after a reload of our modules these are the only names for them.
    setattr(shell, KEPT_AS, hooks)
    for line in remember(shell):
        say(f"{line.strip()}  ← IPython took its ? for help: run it again in the next cell.")


def unload(shell: Any) -> None:
    """Take out what `load` put in, and nothing else; a second time does nothing."""
    hooks = getattr(shell, KEPT_AS, None)
    if not hooks:
        return
    for held, hook in hooks:
        if hook in held:
            held.remove(hook)
    for name in MAGICS:
        shell.magics_manager.magics["line"].pop(name, None)
        shell.magics_manager.magics["cell"].pop(name, None)
    for kind in (PANEL, SPECTRUM):
        shell.display_formatter.ipython_display_formatter.pop(".".join(kind), None)
    shell.magics_manager.registry.pop(LoraMagics.__name__, None)
    setattr(shell, KEPT_AS, None)
