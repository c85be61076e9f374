"""Verbs that look and change nothing: ask, compare, status, history, board, doctor, panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lora_magic.adapters.spec import BASE_NAME
from lora_magic.compare.limits import DEFAULT_NEW_TOKENS
from lora_magic.evaluation import COLUMNS
from lora_magic.interrupts import Stop
from lora_magic.magics.variables import data, models_in, variable
from lora_magic.magics.verb import (
    AN_ADAPTER,
    Argument,
    Call,
    Thing,
    Verb,
    names,
    number,
    text,
    weighted,
    whole,
)

if TYPE_CHECKING:
    from lora_magic.compare.comparison import Unfinished

#: The panel's controls, by the verb whose record they are shown below.
VIEWS = {
    "ratio": "What other ranks, targets and methods would train; nothing is attached.",
    "spectrum": "The current spectra.",
    "compare": "Ask something else.",
    "board": "The adapters, sorted by any column.",
    "plan": "What another model, method or setting would cost; nothing is loaded.",
}

ANSWERING = (
    Argument("--max-new-tokens", whole, "most tokens in an answer", str(DEFAULT_NEW_TOKENS)),
    Argument("--temperature", number, "sampling temperature; 0 is greedy decoding"),
    Argument("--top-p", number, "sample only from the likeliest tokens with this total"),
    Argument("--seed", whole, "seed of sampling, for a temperature above 0"),
)

_PROMPTS = (
    Argument(
        "--data",
        text,
        "a variable or a file with a prompt in each row",
        "the prompt typed",
        (),
        (Thing.VARIABLE, Thing.FILE),
        shape="VAR|PATH",
        reads=data,
        asks=True,
    ),
    Argument("--column", text, "the column of prompts", "prompt, or the only one of text"),
)
MIX = Argument(
    "--mix",
    weighted,
    "one answer from several adapters, whose probabilities are averaged token by token",
    "none",
    (),
    AN_ADAPTER,
    several=True,
    weighed=True,
    shape="a=0.5,b=0.5",
)

_MIXING = (
    "--mix a=0.5,b=0.5 runs each adapter and averages their probabilities of the next token, with",
    "the weights divided by their sum; base can be one of them. %lora swap a=0.5,b=0.5 adds their",
    "changes of the weights with these factors and runs one model.",
)


def _ask(call: Call) -> object:
    """The answer, shown while it is generated; ■ ends it after the next token, a second at once."""
    flags, reporter = call.flags, call.reporter
    shown = call.prompts[0] if call.prompts else _last(flags.get("messages"))
    adapter = f"mix {flags['mix']}" if "mix" in flags else call.session.active

    def watch(text: Callable[[], str]) -> bool:
        if reporter is not None and "data" in flags:
            reporter.count(text)
        elif reporter is not None:
            reporter.answer(shown, adapter, text)
        return stop.requested

    with Stop() as stop:
        return call.session.ask(*call.prompts, **flags, watch=watch)


def _last(messages: Any) -> str:
    """The text of a conversation's last turn; whether it is one is checked by the session."""
    try:
        return str(messages[-1]["content"])
    except (TypeError, LookupError):
        return ""


ASK = Verb(
    "ask",
    "answer with the active adapter: a prompt, a conversation, or a column of prompts",
    (
        *ANSWERING,
        *_PROMPTS,
        MIX,
        Argument(
            "--messages",
            text,
            "a conversation: a variable with a list of messages",
            "the prompt typed",
            (),
            (Thing.VARIABLE,),
            shape="VAR",
            reads=variable,
            asks=True,
        ),
    ),
    (
        "%lora ask What's up?",
        "%lora ask --max-new-tokens 40 How do I make apple pie?",
        "answers = %lora ask --data mails.csv --column body",
    ),
    prompt="one",
    body="one prompt of any number of lines",
    notes=_MIXING,
    answers=True,
    run=_ask,
)


def _compare(call: Call) -> object:
    """The comparison, shown while it is generated; ■ ends it after the next token, a second one at
    once."""
    if call.flags.get("blind"):
        return _vote(call)

    def watch(written: Callable[[], Unfinished]) -> bool:
        if call.reporter is not None:
            call.reporter.answers(written)
        return stop.requested

    with Stop() as stop:
        return call.session.compare(*call.prompts, **call.flags, watch=watch)


def _vote(call: Call) -> object:
    """The ballot; while it answers only the prompt's number is shown, since texts have names."""
    reporter = call.reporter

    def watch(written: Callable[[], Unfinished]) -> bool:
        def line() -> str:
            found = written()
            return f"answering prompt {len(found.begun)} of {found.total} …"

        if reporter is not None:
            reporter.count(line)
        return stop.requested

    with Stop() as stop:
        return call.session.compare(*call.prompts, **call.flags, watch=watch)


def _below(call: Call) -> dict[str, Any] | None:
    """What the controls below a comparison begin with; below a blind one they would name what is
    hidden. They have no data, so they suggest a prompt in its place."""
    if call.flags.get("blind"):
        return None
    given = {key: value for key, value in call.flags.items() if key not in _NO_CONTROL}
    return {"prompt": "\n\n".join(call.prompts), **given}


#: Flags of compare without a control.
_NO_CONTROL = ("data", "column", "blind", "mix")

COMPARE = Verb(
    "compare",
    "compare the answers of base and adapters side by side",
    (
        Argument(
            "--adapters",
            names,
            "the adapters to compare",
            "all",
            (BASE_NAME,),
            AN_ADAPTER,
            several=True,
        ),
        *_PROMPTS,
        Argument("--blind", None, "hide which adapter gave which answer, and vote"),
        Argument("--scores", None, "the probability that each gives to the same tokens"),
        MIX,
        *ANSWERING,
    ),
    (
        "%lora compare How do I make apple pie?",
        "%lora compare --adapters base,pirate How do I make apple pie?",
        "%lora compare --data mails.csv --column body --scores",
        "%lora compare --blind --adapters base,pirate How do I make apple pie?",
    ),
    prompt="several",
    body="prompts with blank lines between them",
    answers=True,
    controls=_below,
    run=_compare,
    notes=(
        *_MIXING,
        "--blind: run the cell again to go on; another --seed begins a new vote. Its .result() has",
        "the votes: .to_frame() lists them, one + another joins two, train --data trains on them.",
    ),
)


def _status(call: Call) -> object:
    """The session's status; before a base is loaded, with the models in the notebook."""
    status = call.session.status()
    return status if status.base is not None else status.with_found(models_in(call.variables))


STATUS = Verb(
    "status",
    "show what is loaded, attached, active and merged, and what to type next",
    (),
    ("%lora",),
    run=_status,
)


HISTORY = Verb(
    "history",
    "show what was done, from the ledger in the home folder; two adapters: how their runs differ",
    (
        Argument(
            "NAME", names, "an adapter, or two to compare", "all", (), AN_ADAPTER, "*", several=True
        ),
        Argument("--all", None, "also what earlier kernels did in this home folder"),
    ),
    ("%lora history", "%lora history --all", "%lora history pirate,formal"),
)


def _sorting(call: Call) -> Mapping[str, Any] | None:
    """The controls' initial values; there is nothing to sort with less than two adapters."""
    if len(call.session.adapters) < 2:
        return None
    return {"adapters": call.words.get("name"), **call.flags}


BOARD = Verb(
    "board",
    "show every adapter in one table: held-out loss, forgetting, parameters, time and size",
    (
        Argument("NAME", names, "adapters", "all", (), AN_ADAPTER, "*", several=True),
        Argument("--sort", text, "the column to sort by", "held_out, by data", COLUMNS),
    ),
    ("%lora board", "%lora board pirate,formal --sort truth"),
    controls=_sorting,
)


def _doctor(call: Call) -> object:
    """The examination, with a line that says what is being checked."""
    return call.session.doctor(**call.flags, watch=call.reporter and call.reporter.tell)


DOCTOR = Verb(
    "doctor",
    "check this installation: versions, machine, front end, and every method on the embedded model",
    (Argument("--report", None, "a block of text for a bug report, without paths or names"),),
    ("%lora doctor", "%lora doctor --report"),
    announces=True,
    run=_doctor,
)

PANEL = Verb(
    "panel",
    "show ratio, spectrum, comparison, board and plan as controls, in tabs",
    (Argument("VIEW", text, "one view alone", "all", tuple(VIEWS), many="?"),),
    ("%lora panel", "%lora panel ratio"),
)
