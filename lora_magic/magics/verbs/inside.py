"""Verbs that look inside an adapter: ratio, spectrum, similarity, lens."""

from __future__ import annotations

from collections.abc import Callable

from lora_magic.adapters.methods import METHODS
from lora_magic.cost.known import KNOWN
from lora_magic.interrupts import Stop
from lora_magic.magics.variables import data, model
from lora_magic.magics.verb import AN_ADAPTER, Argument, Call, Thing, Verb, names, text, whole
from lora_magic.magics.verbs.adapters import A_NAME, TARGETS

_ALL_ACTIVE = "the active adapters; with base active all"
_MODULES = (Thing.MODULE,)
_MODULE = Argument("--module", text, "only modules with this in their name", "all", (), _MODULES)

#: Which singular vectors `similarity` compares: those of ΔW, or of one of its factors.
SIDES = ("inputs", "outputs", "A", "B")


def _lens(call: Call) -> object:
    """The readings, with a line of progress; ■ ends them after the next token."""

    def watch(line: Callable[[], str]) -> bool:
        if call.reporter is not None:
            call.reporter.count(line)
        return stop.requested

    with Stop() as stop:
        return call.session.lens(call.words.get("name"), **call.flags, watch=watch)


def _below(call: Call) -> dict[str, object] | None:
    """What the controls below a count begin with; without a base there are none."""
    if RATIO.alone & call.flags.keys():
        return None
    return {"adapter": call.words.get("name"), **call.flags}


RATIO = Verb(
    "ratio",
    "count trainable parameters against the base's",
    (
        A_NAME,
        Argument("--method", text, "as if it used this method", "its own", tuple(METHODS)),
        Argument("--rank", whole, "as if it had this rank", "its own"),
        Argument(
            "--targets",
            text,
            "as if it had these targets",
            "its own",
            TARGETS,
            _MODULES,
            several=True,
        ),
        Argument("--virtual-tokens", whole, "as if it had this many virtual tokens", "its own"),
        Argument(
            "--matrix",
            text,
            "one matrix of this shape, without a model",
            "none",
            shape="4096x11008",
        ),
        Argument(
            "--model",
            text,
            "a model that is not loaded, as plan takes it",
            "the loaded base",
            tuple(KNOWN),
            (Thing.FOLDER, Thing.MODEL),
            shape="MODEL|VAR",
            reads=model,
        ),
    ),
    (
        "%lora ratio",
        "%lora ratio --rank 64",
        "%lora ratio --method houlsby --rank 8",
        "%lora ratio --matrix 4096x4096 --rank 8",
        "%lora ratio --model gpt3-175b --rank 4",
    ),
    controls=_below,
    alone=frozenset(["matrix", "model"]),
)

SPECTRUM = Verb(
    "spectrum",
    "show the singular values of ΔW, module by module",
    (
        Argument("NAME", names, "adapters", _ALL_ACTIVE, (), AN_ADAPTER, "*", several=True),
        _MODULE,
        Argument(
            "--measure",
            text,
            "what the heat map shows; sigma_3 and so on too",
            "effective_rank",
            (
                *("effective_rank", "stable_rank", "energy_90", "norm", "relative_norm"),
                *("intruders", "sigma_1", "sigma_2"),
            ),
        ),
        Argument("--intruders", None, "mark top singular vectors of W + ΔW that W lacks"),
    ),
    (
        "%lora spectrum pirate",
        "%lora spectrum pirate,formal --module 0.q_proj",
        "%lora spectrum pirate --measure relative_norm",
    ),
    controls=lambda call: {
        "adapters": call.words.get("name"),
        "measure": call.flags.get("measure"),
        **call.flags,
    },
)

SIMILARITY = Verb(
    "similarity",
    "show how far the directions of two adapters overlap, and what ΔW amplifies of W",
    (
        Argument("NAME", names, "adapters", _ALL_ACTIVE, (), AN_ADAPTER, "*", several=True),
        _MODULE,
        Argument("--side", text, "which directions are compared", "inputs", SIDES),
    ),
    (
        "%lora similarity pirate,formal",
        "%lora similarity pirate,formal --module 0.q_proj --side outputs",
    ),
)

LENS = Verb(
    "lens",
    "show what an adapter learned, as tokens: from its answers to questions, and from its states",
    (
        A_NAME,
        Argument(
            "--data",
            text,
            "a variable or a file with a general question in each row",
            "100 questions",
            (),
            (Thing.VARIABLE, Thing.FILE),
            shape="VAR|PATH",
            reads=data,
        ),
        Argument("--column", text, "the column of questions", "prompt, or the only one of text"),
        Argument("--seed", whole, "seed of the random direction to compare with"),
    ),
    ("%lora lens pirate", "%lora lens pirate --data questions"),
    answers=True,
    run=_lens,
)
