"""The card beside a saved adapter: whose it is, how it was made, what it was asked in.

`lora_magic.json` for us, `README.md` for people. Knows records and JSON; knows no tensors and no
session.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lora_magic.base.device import short_name
from lora_magic.base.model import LIVE, BaseModel
from lora_magic.base.prompt import PromptForm
from lora_magic.errors import AdapterError
from lora_magic.paths import quoted

from .live_adapter import History, LiveAdapter
from .methods import METHODS
from .spec import AdapterSpec, spec_from

CARD_FILE = "lora_magic.json"
_PACKAGES = ("lora_magic", "torch", "transformers", "peft", "bitsandbytes")


@dataclass(frozen=True)
class Card:
    """What `lora_magic.json` says beside an adapter's tensors; empty where there is none."""

    name: str = ""
    base: str = ""
    fingerprint: str = ""
    format: str = ""
    architecture: str = ""
    parameters: int = 0
    labels: tuple[str, ...] = ()
    spec: AdapterSpec | None = None
    form: PromptForm | None = None
    history: History | None = None
    run: dict[str, Any] = field(default_factory=dict)
    parents: tuple[str, ...] = ()

    def strangeness(self, base: BaseModel) -> str:
        """Why this adapter is not one for that base; empty where nothing speaks against it.

        The same weights in another number format are the same base: their bits differ, and an
        adapter is often opened on them.
        """
        if not self.fingerprint or self.fingerprint == base.fingerprint.digest:
            return self._other_labels(base)
        seen = (self.architecture, self.parameters)
        expected = (type(base.model).__name__, base.parameters)
        if seen != expected and seen != ("", 0):
            return (
                f"it was made for {self.base}, a {self.architecture} of {self.parameters:,} "
                f"parameters, and {base.name} is a {expected[0]} of {expected[1]:,}"
            )
        if self.format == number_format(base):
            return (
                f"it was made for {self.base} with the weights {self.fingerprint}, and those of "
                f"{base.name} are {base.fingerprint.digest}"
            )
        return self._other_labels(base)

    def _other_labels(self, base: BaseModel) -> str:
        if self.labels and self.labels != base.task.labels:
            return (
                f"its head gives {', '.join(self.labels)}, and the base "
                f"{', '.join(base.task.labels) or 'no labels'}"
            )
        return ""

    def way_out(self, base: BaseModel) -> str:
        """What to type for the base that this adapter was made for."""
        if self.fingerprint and self.fingerprint == base.fingerprint.digest:
            return "It was made for this base, so its config and its weights disagree."
        if self.base == LIVE:
            return "It was made for a live model: use that one first."
        if self.base and self.labels and self.labels != base.task.labels:
            return (
                f"It was made for {self.base} as a classifier; type: %lora load "
                f"{quoted(self.base)} --task classification --labels "
                f"{quoted(','.join(self.labels))}"
            )
        if self.base and self.base != base.name:
            return f"It was made for {self.base}; type: %lora load {quoted(self.base)}"
        return "Load the base that it was trained on."


def number_format(base: BaseModel) -> str:
    """`fp32`, `nf4`: the format in which a fingerprint was taken."""
    quantised = base.quantised
    return short_name(base.dtype) if quantised is None else quantised.kind


def versions() -> dict[str, str]:
    """The versions of what made an adapter."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write(base: BaseModel, attached: LiveAdapter, folder: Path) -> None:
    """Write both files of an adapter's card."""
    fields = {
        "name": attached.name,
        "base": {
            "name": base.name,
            "fingerprint": base.fingerprint.digest,
            "format": number_format(base),
            "architecture": type(base.model).__name__,
            "parameters": base.parameters,
            "labels": list(base.task.labels),
        },
        "spec": asdict(attached.spec),
        "prompt_form": asdict(attached.form) if attached.form else None,
        "history": asdict(attached.history),
        "run": attached.run,
        "parents": list(attached.parents),
        "versions": versions(),
    }
    text = json.dumps(fields, indent=2, ensure_ascii=False)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_page(base, attached), encoding="utf-8")


def _page(base: BaseModel, attached: LiveAdapter) -> str:
    """A page in the form that the hub reads: a head of fields, then text."""
    method = METHODS[attached.spec.method]
    record = attached.record()
    head = ["---", f"base_model: {json.dumps(base.name)}", "tags:", "- lora_magic"]
    head += ["library_name: peft"] if method.peft else []
    lines = [
        *head,
        "---",
        "",
        f"# {attached.name}",
        "",
        f"{method.title} ({method.source}) on {base.name}.",
        "",
        f"- {record!r}",
        f"- base: fingerprint {base.fingerprint.digest} in {number_format(base)}",
        *([f"- made of: {', '.join(attached.parents)}"] if attached.parents else []),
        "",
        "Open it in a notebook with lora_magic: `%lora open DIR`.",
    ]
    if not method.peft:
        lines.append("Plain PEFT has no such method and cannot read it.")
    return "\n".join(lines) + "\n"


def read(folder: Path) -> Card:
    """The card in a folder; raises `AdapterError` for one that cannot be read."""
    path = folder / CARD_FILE
    if not path.is_file():
        return Card()
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        base = fields.get("base") or {}
        form, history = fields.get("prompt_form"), fields.get("history")
        spec = fields.get("spec")
        return Card(
            name=str(fields.get("name") or ""),
            base=str(base.get("name", "")),
            fingerprint=str(base.get("fingerprint", "")),
            format=str(base.get("format", "")),
            architecture=str(base.get("architecture", "")),
            parameters=int(base.get("parameters", 0)),
            labels=tuple(base.get("labels") or ()),
            spec=spec_from(spec) if spec else None,
            form=PromptForm(**{**form, "stop_ids": tuple(form["stop_ids"])}) if form else None,
            history=History(**history) if history else None,
            run=dict(fields.get("run") or {}),
            parents=tuple(fields.get("parents") or ()),
        )
    # A card written by another hand can be wrong in every way; all of them mean the same.
    except (OSError, ValueError, TypeError, KeyError, AttributeError, AdapterError) as error:
        raise AdapterError(f"{path} cannot be read ({error}); remove it to go on.") from error
