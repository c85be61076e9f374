"""What `doctor` says about the front end: which one, whether controls work, how to stop a cell.

Knows IPython's shell, as far as a kernel can tell what is connected to it. Outside a notebook there
is one line.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Any

from lora_magic.errors import sentence
from lora_magic.magics.progress import has_subshell, supports_subshells
from lora_magic.magics.show import has_person
from lora_magic.state.doctor import FRONT_END, NOTE, OK, PROBLEM, Finding

_RUN_BY_A_PERSON = "open it in JupyterLab, Colab or VS Code for controls"


def findings() -> list[Finding]:
    """The shell, controls, and how to stop a cell."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        return [Finding(FRONT_END, "shell", OK, "Python, without a notebook")]
    name = _name(shell)
    found = [Finding(FRONT_END, "shell", OK, f"{name}, IPython {version('ipython')}")]
    if getattr(shell, "kernel", None) is None:
        stop = Finding(FRONT_END, "stop", OK, "Ctrl-C stops a verb; controls need a notebook")
        return [*found, stop]
    return [*found, _controls(shell), _stop(shell)]


def _name(shell: Any) -> str:
    """The front end, by what each leaves in the kernel."""
    if getattr(shell, "kernel", None) is None:
        return "plain IPython"
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    metadata = parent.get("metadata", {}) if isinstance(parent, dict) else {}
    signs = {
        "Colab": "google.colab" in sys.modules,
        "VS Code": "__vsc_ipynb_file__" in shell.user_ns or "VSCODE_PID" in os.environ,
        "Kaggle": "KAGGLE_KERNEL_RUN_TYPE" in os.environ,
        "JupyterLab or Notebook 7": "cellId" in metadata,
    }
    found = next((name for name, seen in signs.items() if seen), "a notebook of another kind")
    return found if has_person(shell) else f"{found}, run by a program"


def _controls(shell: Any) -> Finding:
    try:
        from lora_magic.views.controls import widgets  # noqa: F401  # does ipywidgets work?
    except Exception as error:  # noqa: BLE001  # a broken library raises anything
        why = f"none: ipywidgets cannot be imported ({sentence(error)})"
        install = "%pip install ipywidgets, then restart the kernel and reload the page"
        return Finding(FRONT_END, "controls", PROBLEM, why, install)
    text = f"ipywidgets {version('ipywidgets')}"
    if has_person(shell):
        return Finding(FRONT_END, "controls", OK, text)
    nobody = f"{text}, not shown: a program runs this notebook"
    return Finding(FRONT_END, "controls", NOTE, nobody, _RUN_BY_A_PERSON)


def _stop(shell: Any) -> Finding:
    """■ works everywhere; a Stop button needs a kernel and a front end with subshells."""
    kernel = f"ipykernel {version('ipykernel')}"
    if not supports_subshells(shell):
        text = f"■ works; no Stop button on {kernel}"
        advice = 'for the button: %pip install "ipykernel>=7.1", then restart the kernel'
        return Finding(FRONT_END, "stop", NOTE, text, advice)
    if not has_subshell(shell):
        text = f"■ works; no Stop button: this front end opened no subshell ({kernel})"
        return Finding(FRONT_END, "stop", NOTE, text, "for the button: JupyterLab 4.4 or later")
    return Finding(FRONT_END, "stop", OK, f"■ and the Stop button work ({kernel})")
