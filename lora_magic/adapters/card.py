"""An adapter's card: which base it was made for, how it was made, which prompt form it expects.

lora_magic.json holds the card for this package, README.md for people. Knows records and JSON
values; knows no files, no tensors and no session.
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

from .files import CARD_FILE
from .live_adapter import History, LiveAdapter
from .spec import AdapterSpec, spec_from

_PACKAGES = ("lora_magic", "torch", "transformers", "peft", "bitsandbytes")


@dataclass(frozen=True)
class Card:
    """The contents of lora_magic.json; every field is empty if there is no such file."""

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

    def mismatch(self, base: BaseModel) -> str:
        """Why this adapter was not made for this base; empty if it was, or if nothing is known.

        The same weights in another number format are the same base: their fingerprints differ, and
        adapters are often opened on them.
        """
        same_weights = self.fingerprint in ("", base.fingerprint.digest)
        seen = (self.architecture, self.parameters)
        expected = (type(base.model).__name__, base.parameters)
        if not same_weights and seen not in (expected, ("", 0)):
            return (
                f"it was made for {self.base}, a {self.architecture} of {self.parameters:,} "
                f"parameters, and {base.name} is a {expected[0]} of {expected[1]:,}"
            )
        if not same_weights and self.format == number_format(base):
            return (
                f"it was made for {self.base} with the weights {self.fingerprint}, and those of "
                f"{base.name} are {base.fingerprint.digest}"
            )
        if self._other_labels(base):
            labels = ", ".join(base.task.labels) or "none"
            return f"its labels are {', '.join(self.labels)}; the base's labels are {labels}"
        return ""

    def _other_labels(self, base: BaseModel) -> bool:
        return bool(self.labels) and self.labels != base.task.labels

    def remedy(self, base: BaseModel) -> str:
        """What to type to load the base that this adapter was made for."""
        if self.fingerprint and self.fingerprint == base.fingerprint.digest:
            return "It was made for this base, so its config and its weights disagree."
        if self.base == LIVE:
            return "It was made for a live model; type: %lora use MODEL TOKENIZER"
        if self.base and self._other_labels(base):
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
    """The versions of Python and of the packages that made an adapter."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def fields_of(base: BaseModel, attached: LiveAdapter) -> dict[str, Any]:
    """The contents of an adapter's lora_magic.json."""
    return {
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


def page_of(base: BaseModel, attached: LiveAdapter) -> str:
    """README.md as the hub expects it: fields, then text."""
    method = attached.method
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
        *([f"- made from: {', '.join(attached.parents)}"] if attached.parents else []),
        "",
        "Open it in a notebook with lora_magic: `%lora open DIR`.",
    ]
    if not method.peft:
        lines.append("Plain PEFT does not have this method and cannot read the adapter.")
    return "\n".join(lines) + "\n"


def card_of(fields: Any, folder: Path) -> Card:
    """The card in these contents of a folder's lora_magic.json.

    Raises `AdapterError` for any invalid content.
    """
    try:
        base = fields.get("base") or {}
        spec, history, form = (fields.get(key) for key in ("spec", "history", "prompt_form"))
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
    # A card edited by hand can be wrong in any way; the remedy is always the same.
    except (ValueError, TypeError, KeyError, AttributeError, AdapterError) as error:
        raise AdapterError(
            f"{folder / CARD_FILE} cannot be read ({error}); remove it to open the adapter "
            "without its card."
        ) from error
