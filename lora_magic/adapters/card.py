"""An adapter's card: which base it was made for, how it was made, which prompt form it expects.

lora_magic.json holds the card for this package, README.md for people. Knows records and JSON
values; knows no files, no tensors and no session.
"""

from __future__ import annotations

import json
import platform
import re
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lora_magic.base import FORMS
from lora_magic.base.device import short_name
from lora_magic.base.model import LIVE, BaseModel
from lora_magic.base.prompt import PromptForm
from lora_magic.errors import AdapterError, listed
from lora_magic.paths import quoted

from . import fields
from .files import CARD_FILE, SUMS
from .live_adapter import Evaluated, History, LiveAdapter
from .spec import AdapterSpec

_DATA_HASH = re.compile("[0-9a-f]{64}")
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
                f"its base is a {self.architecture} of {self.parameters:,} parameters, and "
                f"{base.name} is a {expected[0]} of {expected[1]:,}"
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

    def form_faults(self, base: BaseModel) -> list[str]:
        """What this base's tokenizer cannot do of the prompt form."""
        if self.form is None or base.tokenizer is None:
            return []
        ids = [*self.form.stop_ids, *filter(None, [self.form.end_token_id])]
        config: Any = base.model.config
        words = max(len(base.tokenizer), config.get_text_config().vocab_size)
        faults = []
        if max(ids, default=0) >= words:
            faults.append(f"its prompt form has token {max(ids):,}; the tokenizer has {words:,}")
        if self.form.kind == "chat" and not base.tokenizer.chat_template:
            faults.append("its prompt form is chat, and the tokenizer has no chat template")
        return [f"{fault}; remove {CARD_FILE} to open it without its card" for fault in faults]

    def remedy(self, base: BaseModel) -> str:
        """What to type to load the base that this adapter was made for."""
        own = bool(self.fingerprint) and self.fingerprint == base.fingerprint.digest
        if own and not self._other_labels(base):
            return (
                "It was made for this base, so its config and its weights disagree: save it again, "
                "or copy the folder again."
            )
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
        if self.base:
            return (
                f"It names {self.base} as its base, which is loaded: copy the folder again, or "
                "load the version that it was trained on (%lora load VERSION)."
            )
        return "Its files name no base: load the one that it was trained on (%lora load MODEL)."


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


def base_fields(base: BaseModel) -> dict[str, Any]:
    """What a card has of the base."""
    return {
        "name": base.name,
        "fingerprint": base.fingerprint.digest,
        "format": number_format(base),
        "architecture": type(base.model).__name__,
        "parameters": base.parameters,
        "labels": list(base.task.labels),
    }


def fields_of(base: BaseModel, attached: LiveAdapter) -> dict[str, Any]:
    """The contents of an adapter's lora_magic.json."""
    return {
        "name": attached.name,
        "base": base_fields(base),
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


#: The types of the fields of lora_magic.json; those of a record come from its class.
_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("base", "versions", SUMS), dict | None),
    "name": str | None,
    "run": dict[str, Any] | None,
    "parents": list[str] | None,
}
_BASE_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("name", "fingerprint", "format", "architecture"), str),
    "parameters": int,
    "labels": list[str] | None,
}


#: What the board and the status read of a run's record, and of its parts.
_LOSS = float | None
_RUN_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("held_out_before", "held_out_after", "base_held_out", "seconds"), _LOSS),
    **dict.fromkeys(("held_out_sha256", "guard_sha256", "when", "engine"), str | None),
    "workers": int | None,
    **dict.fromkeys(("forgetting", "guard", "sweep", "curve"), dict | None),
}
_RUN_PARTS: dict[str, dict[str, Any]] = {
    "forgetting": dict.fromkeys(("questions", "subject", "right"), int),
    "guard": {"after": _LOSS},
    "sweep": {"reported": _LOSS, "base_loss": _LOSS, "sha256": str | None},
    "curve": {"held_out": bool, "points": list[tuple[int, float]]},
}


def _run_faults(run: object) -> list[str]:
    """What does not fit in the record of the last run; fields that nothing reads are not judged."""
    if not isinstance(run, dict):
        return []
    found = fields.faults(_RUN_FIELDS, run)
    parts = [(run.get(name), hints) for name, hints in _RUN_PARTS.items()]
    for part, hints in parts:
        found += fields.faults(hints, part) if isinstance(part, dict) else []
    return [*(f"run: {fault}" for fault in found), *_invalid_evaluations(run)]


def card_of(values: Any, folder: Path) -> Card:
    """The card in these contents of a folder's lora_magic.json.

    Raises `AdapterError` with every fault.
    """
    found = fields.faults(_FIELDS, values)
    values = values if isinstance(values, dict) else {}
    base = values.get("base")
    base = base if isinstance(base, dict) else {}
    found += [*fields.faults(_BASE_FIELDS, base), *_run_faults(values.get("run"))]
    made: dict[str, Any] = {}
    for name, kind in (("spec", AdapterSpec), ("history", History), ("prompt_form", PromptForm)):
        part = values.get(name)
        try:
            made[name] = None if part in (None, {}) else fields.record(kind, part)
        except (ValueError, AdapterError) as error:
            found.append(f"{name}: {str(error).rstrip('.')}")
    if made.get("prompt_form"):
        found += _invalid_form(made["prompt_form"])
    if found:
        raise AdapterError(
            f"{folder / CARD_FILE} cannot be read ({listed(found, 6)}); remove it to open the "
            "adapter without its card."
        )
    return Card(
        name=values.get("name") or "",
        base=base.get("name", ""),
        fingerprint=base.get("fingerprint", ""),
        format=base.get("format", ""),
        architecture=base.get("architecture", ""),
        parameters=base.get("parameters", 0),
        labels=tuple(base.get("labels") or ()),
        spec=made["spec"],
        form=made["prompt_form"],
        history=made["history"],
        run=dict(values.get("run") or {}),
        parents=tuple(values.get("parents") or ()),
    )


def _invalid_form(form: PromptForm) -> list[str]:
    """What no prompt form can be."""
    if form.kind not in FORMS:
        return [f"prompt_form: kind {form.kind!r}: expected {' or '.join(FORMS)}"]
    if form.kind == "plain" and form.system is not None:
        return ["prompt_form: a system prompt needs kind 'chat'"]
    return []


def _invalid_evaluations(run: dict[str, Any]) -> list[str]:
    """What no evaluation can have recorded."""
    recorded = run.get("evaluations")
    if recorded is None:
        return []
    if not isinstance(recorded, dict):
        return ["run: evaluations: expected an object"]
    found = []
    for name, values in recorded.items():
        if not _DATA_HASH.fullmatch(name):
            found.append(f"run: evaluations: {name[:40]!r}: expected the sha256 of rows")
        try:
            fields.record(Evaluated, values)
        except ValueError as error:
            found.append(f"run: evaluations: {error}")
    return found


def of_config(config: Any) -> Card:
    """The base that PEFT's own config names, for a folder without a card."""
    named = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return Card(base=named if isinstance(named, str) else "")
