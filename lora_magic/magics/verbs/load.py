"""`%lora load MODEL`."""

from __future__ import annotations

import re

from lora_magic.base import BITS, DEMO, DEVICES, DTYPES, KINDS
from lora_magic.magics.variables import labels
from lora_magic.magics.verb import A_FOLDER, Argument, Call, Completes, Thing, Verb, whole


def bits(seen: str) -> int:
    """A number of bits: `4`, and `4bit` as people say it."""
    return whole(re.sub(r"[-_ ]?bits?$", "", seen.lower()))


def run(call: Call) -> object:
    """Load a base model by its name."""
    flags = dict(call.flags)
    if "labels" in flags:
        flags["labels"] = labels(flags["labels"], call.variables)
    return call.session.load(call.words["model"], **flags)


VERB = Verb(
    name="load",
    summary="a base model: demo (built in, offline), a hub id, or a folder",
    run=run,
    changes=True,
    arguments=(
        Argument(
            "MODEL",
            "demo, a hub id such as owner/model, or a folder",
            completes=Completes((DEMO,), (Thing.FOLDER,)),
        ),
        Argument(
            "--bits",
            "4 (NF4) or 8 (int8): quantise the base",
            bits,
            placeholder="4|8",
            completes=Completes(tuple(map(str, BITS))),
        ),
        Argument("--4bit", "the same as --bits 4", kind=None, short_for=("bits", 4)),
        Argument(
            "--dtype",
            "the weights' type; chosen for the device unless given",
            completes=Completes(tuple(DTYPES)),
        ),
        Argument("--device", "where it runs; a GPU if there is one", completes=Completes(DEVICES)),
        Argument(
            "--task", "causal, or classification", placeholder="TASK", completes=Completes(KINDS)
        ),
        Argument(
            "--labels",
            "a classifier's",
            placeholder="NAMES|VAR|N",
            completes=Completes(things=(Thing.VARIABLE,)),
        ),
        Argument(
            "--home",
            "where adapters are kept; .lora_magic here",
            placeholder="DIR",
            completes=A_FOLDER,
        ),
        Argument("--trust-remote-code", "run the code that comes with the model", kind=None),
        Argument("--replace", "even if trained adapters are not saved", kind=None),
    ),
    examples=(
        "%lora load demo",
        "%lora load owner/model --bits 4",
        "%lora load owner/model --task classification --labels negative,positive",
    ),
)
