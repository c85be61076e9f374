"""`%lora load MODEL`."""

from __future__ import annotations

from lora_magic.magics.verb import Argument, Call, Verb


def run(call: Call) -> object:
    """Load a base model by its name."""
    return call.session.load(call.words["model"], **call.flags)


VERB = Verb(
    name="load",
    summary="a base model: demo (built in, offline), a hub id, or a folder",
    run=run,
    changes=True,
    arguments=(
        Argument("MODEL", "demo, a hub id such as owner/model, or a folder"),
        Argument("--dtype", "the weights' type; chosen for the device unless given"),
        Argument("--device", "where it runs; a GPU if there is one"),
        Argument("--home", "where adapters are kept; .lora_magic here", placeholder="DIR"),
        Argument("--trust-remote-code", "run the code that comes with the model", kind=None),
        Argument("--replace", "even if trained adapters are not saved", kind=None),
    ),
    examples=("%lora load demo", "%lora load owner/model --dtype float32"),
)
