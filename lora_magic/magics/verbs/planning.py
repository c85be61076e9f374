"""The verb about what is not loaded yet: plan."""

from __future__ import annotations

from lora_magic.base import BITS, DTYPES, KINDS
from lora_magic.cost.cards import CARDS
from lora_magic.cost.known import KNOWN
from lora_magic.magics.verb import Argument, Call, Thing, Verb, number, text, whole
from lora_magic.magics.verbs.adapters import ATTACH
from lora_magic.magics.verbs.base import bits

#: The flags of attach that a plan reads.
_OF_ATTACH = tuple(
    argument
    for argument in ATTACH.arguments
    if argument.name not in ("NAME", "--seed", "--replace", "--dropout", "--alpha-pattern")
)


def _below(call: Call) -> dict[str, object]:
    """What the controls below a plan begin with."""
    return {"model": call.words.get("model"), **call.flags}


PLAN = Verb(
    "plan",
    "show what a model, an adapter and a run will cost, before any weight is read",
    (
        Argument(
            "MODEL",
            text,
            "a hub id, a folder, a name such as gpt3-175b, sizes, or a variable",
            "the loaded base",
            tuple(KNOWN),
            (Thing.FOLDER, Thing.MODEL),
            "?",
        ),
        Argument(
            "--bits",
            bits,
            "a base in NF4 or int8",
            "both ways are shown",
            tuple(map(str, BITS)),
            shape="4|8",
        ),
        Argument("--4bit", None, "the same as --bits 4", short_for=("bits", 4)),
        Argument("--dtype", text, "the weights' type", "as it would be loaded", tuple(DTYPES)),
        Argument("--task", text, "the base's task", words=KINDS),
        Argument("--labels", text, "a classifier's labels", "the model's own", shape="NAMES|N"),
        Argument("--trust-remote-code", None, "run the code that comes with the model"),
        *_OF_ATTACH,
        Argument("--batch-size", whole, "rows in one optimizer step", "the recipe's"),
        Argument("--max-length", whole, "tokens in a row", "the recipe's"),
        Argument("--optimizer", text, "the run's optimizer", "the recipe's"),
        Argument("--checkpointing", None, "with gradient checkpointing"),
        Argument("--tokens", number, "tokens that the run reads", "one million", shape="N"),
        Argument("--trained-tokens", number, "those of them with a label", "all", shape="N"),
        Argument("--tasks", whole, "adapters to store", "1,000"),
        Argument("--gpu", text, "a card, or here: this machine, measured", "none", tuple(CARDS)),
        Argument("--price", number, "what an hour on one card costs", "none"),
    ),
    (
        "%lora plan gpt3-175b --rank 4",
        "%lora plan owner/model --bits 4 --gpu h100 --price 2.5 --tokens 10e6",
        "%lora plan layers=32,width=4096 --method full",
    ),
    controls=_below,
)
