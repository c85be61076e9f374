"""Verbs about the base model: load, use, verify, reset."""

from __future__ import annotations

import re

from lora_magic.adapters.spec import BASE_NAME
from lora_magic.base import BITS, DEMO, DEVICES, DTYPES, KINDS
from lora_magic.magics.variables import labels, variable
from lora_magic.magics.verb import Argument, Call, Thing, Verb, text, whole

_FOLDER, _VARIABLE = (Thing.FOLDER,), (Thing.VARIABLE,)
_REPLACE = Argument("--replace", None, "discard trained adapters that are not saved")


def bits(seen: str) -> int:
    """A number of bits: `4`, and `4bit` as people say it."""
    return whole(re.sub(r"[-_ ]?bits?$", "", seen.lower()))


LOAD = Verb(
    "load",
    "load a base model: demo (built in, offline), a hub id, or a folder",
    (
        Argument(
            "MODEL", text, "demo, a hub id such as owner/model, or a folder", "", (DEMO,), _FOLDER
        ),
        Argument(
            "--bits",
            bits,
            "quantise the base with NF4 or int8",
            "not quantised",
            tuple(map(str, BITS)),
            shape="4|8",
        ),
        Argument("--4bit", None, "the same as --bits 4", short_for=("bits", 4)),
        Argument("--dtype", text, "the weights' type", "chosen for the device", tuple(DTYPES)),
        Argument("--device", text, "where the model runs", "a GPU if there is one", DEVICES),
        Argument("--task", text, "the base's task", words=KINDS),
        Argument(
            "--labels",
            text,
            "a classifier's labels",
            "the model's own",
            things=_VARIABLE,
            shape="NAMES|VAR|N",
            reads=labels,
        ),
        Argument(
            "--home", text, "where adapters are saved", ".lora_magic in this folder", things=_FOLDER
        ),
        Argument("--trust-remote-code", None, "run the code that comes with the model"),
        _REPLACE,
    ),
    (
        "%lora load demo",
        "%lora load owner/model --bits 4",
        "%lora load owner/model --task classification --labels negative,positive",
    ),
    changes=True,
)


def _use(call: Call) -> object:
    """Use a live model; with an adapter's name it swaps to that adapter, which loses nothing."""
    name = call.words["var"]
    is_adapter = name not in call.variables and name in (BASE_NAME, *call.session.adapters)
    if is_adapter and "tokenizer" not in call.words:
        return call.session.swap(name)
    given = [variable(word, call.variables) for word in call.words.values()]
    return call.session.use(*given, **call.flags)


USE = Verb(
    "use",
    "use a base model that is in a variable",
    (
        Argument("VAR", text, "the model's variable", things=(Thing.MODEL, Thing.VARIABLE)),
        Argument(
            "TOKENIZER",
            text,
            "its tokenizer's variable",
            "none",
            (),
            (Thing.TOKENIZER, Thing.VARIABLE),
            "?",
        ),
        _REPLACE,
    ),
    ("%lora use model tokenizer",),
    changes=True,
    run=_use,
)

VERIFY = Verb(
    "verify",
    "check whether any bit of the base has changed",
    (Argument("--quick", None, "compare pointers and versions; do not read the bytes"),),
    ("%lora verify",),
)

RESET = Verb(
    "reset", "free everything, restore the base as it was", (), ("%lora reset",), changes=True
)
