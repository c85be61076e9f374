"""Control, bidi and escape characters, and surrogates, are never raw in any MIME value."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from lora_magic.adapters.live_adapter import Adapter, History
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.model import BaseRecord
from lora_magic.compare.comparison import Comparison
from lora_magic.compare.prediction import Classification
from lora_magic.errors import LoraMagicError
from lora_magic.state.receipt import Receipt
from lora_magic.state.status import Status
from lora_magic.views.comparison import progress_bundle
from lora_magic.views.controls.compare import CompareControls, Request
from lora_magic.views.controls.outputs import outputs
from lora_magic.views.controls.ratio import Choices, Plan, RatioControls
from lora_magic.views.controls.widgets import Page
from tests.views.samples import ALL, labelled, modules, pane, spectrum

EVIL = "a\x1b[31mred\x07\x9b\u202eevil\u2066\u200e\u061c\ud800\x00\x7f\u2028z"


def base(text: str) -> BaseRecord:
    return BaseRecord(text, text, 9, text, text, text, 9, text, text, text, (text, "b"))


def adapter(text: str) -> Adapter:
    past = History(3, 2.0, 1.0, 4, made=text, lost=text)
    spec = AdapterSpec(8, 16.0, 0.0, "q_proj,v_proj", 0)
    return Adapter(text, spec, (text,), 9, 9, (text,), 99, 36, past, text, (text,), ((text, 2),))


def status(text: str) -> Status:
    return Status(text, base(text), True, (adapter(text),), text, text, (text,), (text,))


def controls(text: str) -> dict[str, Any]:
    request = Request(text, (text,))
    compare = CompareControls([text], lambda *_: "", request)
    choices = Choices(["lora"], 8, [text], {text: [text]}, "lora", 2, text)
    ratio = RatioControls(choices, lambda *_: Plan("", [text], frozenset({"rank"})))
    page = Page()
    page.say(text)
    page.show(lambda: (_ for _ in ()).throw(LoraMagicError(text)))
    told = [box.description for box in compare.boxes.values()]
    told += [box.description for box in ratio.boxes] + [page.message]
    made = outputs(ratio.widget, text, {"text/html": "", "text/plain": text})
    return {"text/html": told, "text/plain": [one["text/plain"] for one in made]}


def left_out(text: str) -> dict[str, Any]:
    record = Comparison((pane("base", text, prompt=text, note=text, stopped=True),))
    return shown(replace(record, left_out=(text,)))


def shown(record: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"repr": repr(record), **record._repr_mimebundle_()}
    return made


MORE: dict[str, Callable[[str], Any]] = {
    "base": lambda text: shown(base(text)),
    "adapter": lambda text: shown(adapter(text)),
    "state": lambda text: shown(status(text)),
    "state without a base": lambda text: shown(replace(status(text), base=None)),
    "short receipt": lambda text: shown(Receipt(text, ((text, text),))),
    "controls": controls,
    "left out": left_out,
    "labels left out": lambda text: shown(
        Classification((labelled("base", {text: 1.0}, text, text),), (text,))
    ),
    "a prediction": lambda text: shown(labelled(text, {text: 1.0}, text, text)),
    "unfinished": lambda text: progress_bundle([(text, [(text, text), (text, None)])], 2),
    "chart": lambda text: {
        f"{place}": one
        for place, one in enumerate(spectrum(modules(2, (text,), adapter=text)).outputs())
    },
    "error": lambda text: {"text": str(LoraMagicError(text))},
}


def raw(value: object) -> Iterator[str]:
    """Every character in a MIME value, at any depth, that no view may show."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from raw(key)
            yield from raw(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from raw(one)
    elif isinstance(value, str):
        for character in value:
            odd = unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
            if (odd and character not in "\n\t") or unicodedata.bidirectional(character) in BIDI:
                yield f"{character!a} in {value[:80]!a}"


#: The classes of the bidirectional controls.
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize("name", [*ALL, *MORE])
def test_no_character_of_a_file_or_a_model_is_raw(name: str) -> None:
    make = MORE.get(name) or ALL[name]
    assert list(raw(make("tame"))) == []
    made = make(EVIL)
    assert list(raw(made)) == []
    json.dumps(made).encode()
