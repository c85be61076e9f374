"""The verbs that train, show what would be trained, and keep typed rows."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lora_magic.base import FORMS as TEMPLATES
from lora_magic.base.recipe import SMALL
from lora_magic.data import FILE_FORMATS, FORMATS
from lora_magic.data.shapes import LABELLED, SHAPES
from lora_magic.demo import RECIPE
from lora_magic.errors import CommandError
from lora_magic.magics.variables import data, function, guard, held_out, name_of
from lora_magic.magics.verb import (
    AN_ADAPTER,
    Argument,
    Call,
    Thing,
    Verb,
    count_share_or_rows,
    each,
    number,
    one_or_several,
    rate_or_find,
    shared,
    text,
    whole,
)
from lora_magic.magics.verbs.adapters import A_NAME, ATTACH, NAME, by_base
from lora_magic.scale.work import ENGINES
from lora_magic.state.receipt import Receipt
from lora_magic.state.sweep_plan import OF_ATTACH, OF_TRAIN, target_choices
from lora_magic.training.spec import (
    BETA,
    HOLD_OUT_FROM,
    HOLD_OUT_MOST,
    OPTIMIZERS,
    PATIENCE,
    SCHEDULES,
    TRACKERS,
    WARMUP,
)

_DATA = (Thing.VARIABLE, Thing.KEPT, Thing.FILE)
_STEPS = f"{SMALL.steps}; with held-out rows more, up to --epochs"
_EPOCHS = f"with held-out rows at most {by_base('epochs')}"
_PATIENCE = f"{PATIENCE}; none with --steps or --epochs"
_BATCH = f"{SMALL.batch_size * SMALL.accumulation}; demo {RECIPE['batch_size']}"
_LENGTH = f"{by_base('max_length')}; at most the context"
_EVAL = f"10%, at most {HOLD_OUT_MOST}; none below {HOLD_OUT_FROM} rows"
_OPTIMIZER = f"{OPTIMIZERS[0]}; on a quantised base {OPTIMIZERS[1]}"
_TEMPLATE = "chat if the tokenizer has a template"


def rows_of(call: Call, typed: str, cell: str) -> dict[str, Any]:
    """The flags, and the rows as keyword argument: the cell's text, or what `--data` names."""
    flags = dict(call.flags)
    source = flags.pop("data", None)
    if source is None and call.body is None:
        raise CommandError(
            f"%lora {typed}: no rows. Type {cell} with rows below it, or %lora {typed} --data VAR"
        )
    if source is None:
        return {"text": call.body, **flags}
    if call.body and call.body.strip():
        raise CommandError(f"%%lora {typed}: there are rows below and --data; keep one.")
    return {"data": source, **flags}


def _train(call: Call) -> object:
    """Train an adapter, or several, on the cell's text, or on what `--data` names."""
    name = call.words["name"]
    typed = name if isinstance(name, str) else ",".join(name)
    given = rows_of(call, f"train {typed}", f"%%lora_train {typed}")
    source = [given.pop("data")] if "data" in given else []
    return call.session.train(name, *source, **given, reporter=call.reporter)


def _sweep(call: Call) -> object:
    """Train one adapter for each combination of values, on the cell's text or on `--data`."""
    name = call.words["name"]
    given = rows_of(call, f"sweep {name}", f"%%lora sweep {name}")
    known = {**call.session.kept, **call.variables}
    names = {flag: name_of(given.get(flag), known) for flag in ("data", "eval", "map_")}
    names = {flag: name for flag, name in names.items() if name}
    return call.session.sweep(name, **given, variables=names, reporter=call.reporter)


def _preview(call: Call) -> object:
    """Show what a run would be trained on: the cell's text, or what `--data` names."""
    typed = " ".join(["preview", *call.words.values()])
    return call.session.preview(**call.words, **rows_of(call, typed, f"%%lora {typed}"))


def _keep(call: Call) -> object:
    """Keep the cell's rows; say which other thing of that name `--data` reads first or instead."""
    name = call.words["name"]
    if call.body is None:
        raise CommandError(f"%lora data {name}: no rows. Type %%lora data {name} with rows below")
    kept = call.session.data(name, call.body, **call.flags)
    if name in call.variables:
        return Receipt(f"{kept.line}; --data {name} reads the variable {name}, which comes first")
    if os.path.exists(name):
        return Receipt(f"{kept.line}; --data {name} reads them, not the file {name}")
    return kept


_NAMES = Argument(
    "NAME",
    one_or_several,
    "an adapter, or several on the same rows: a,b,c",
    things=AN_ADAPTER,
    several=True,
)

#: Which rows are read, and how.
READING = (
    Argument(
        "--data",
        text,
        "a variable, else rows kept by %%lora data, else a file",
        "the rows below",
        (),
        _DATA,
        shape="VAR|PATH",
        reads=data,
    ),
    Argument("--columns", text, 'the columns to use, as "question + context => answer"', "by name"),
    Argument(
        "--map",
        text,
        "turns each row (a dict) into a pair, a list of turns, a text or None",
        "none",
        (),
        (Thing.VARIABLE,),
        shape="FUNCTION",
        reads=function,
    ),
    Argument("--format", text, "the rows' format", "detected", FILE_FORMATS, below=FORMATS),
    Argument("--skip-bad", None, "leave out rows that cannot be read, and list them"),
)

#: How long rows may be, and which are held out.
_SHAPING = (
    Argument("--max-length", whole, "most tokens per row", _LENGTH),
    Argument(
        "--eval",
        count_share_or_rows,
        "held-out rows: a number, a share, or other rows",
        _EVAL,
        (),
        _DATA,
        reads=held_out,
    ),
)

_FORM = (
    Argument("--template", text, "the prompt's form", _TEMPLATE, TEMPLATES),
    Argument("--system", text, "a system message before each prompt", "none"),
)

#: Which processes do the work.
WORKERS = (
    Argument("--workers", whole, "processes that share the work", "this one; 2 with --engine ray"),
    Argument("--engine", text, "what starts them", f"{ENGINES[0]}, on this machine", ENGINES),
    Argument("--address", text, "Ray's cluster", "the one on this machine", shape="HOST:PORT"),
)

_TYPED = "rows: prompt => completion, JSONL, or blocks of text"

TRAIN = Verb(
    "train",
    "train an adapter on the rows below, or on --data",
    (
        _NAMES,
        *READING,
        Argument("--epochs", number, "passes over the rows", _EPOCHS),
        Argument("--steps", whole, "optimizer steps", _STEPS),
        Argument("--minutes", number, "stop after this many minutes", "no limit"),
        Argument(
            "--patience",
            whole,
            "end after N measurements without improvement; keep the best",
            _PATIENCE,
        ),
        Argument(
            "--lr",
            rate_or_find,
            "learning rate; find: show the loss against the rate, and train nothing",
            by_base("learning_rate"),
        ),
        Argument(
            "--schedule", text, "the learning rate after the warm-up", SCHEDULES[0], SCHEDULES
        ),
        Argument("--warmup", number, "share of the steps in which the rate rises", f"{WARMUP:g}"),
        Argument("--batch-size", whole, "rows per step", _BATCH),
        *_SHAPING,
        Argument("--seed", whole, "seed of the rows' order", "0"),
        Argument("--lora-plus", number, "B's rate as a multiple of A's; 16 is usual", "1"),
        Argument("--optimizer", text, "the optimizer", _OPTIMIZER, OPTIMIZERS),
        Argument("--beta", number, "β of DPO's loss, for preferences", f"{BETA:g}"),
        Argument(
            "--guard",
            text,
            "general rows, whose loss is measured before and after",
            "none",
            (),
            _DATA,
            shape="VAR|PATH",
            reads=guard,
        ),
        Argument("--replay", number, "share of each step taken from half of --guard", "none"),
        Argument("--plain-step", None, "pad the rows and compute every logit: slower, same result"),
        Argument("--checkpointing", None, "compute activations twice: less memory, same result"),
        *_FORM,
        Argument("--report-to", text, "a tracker for losses and rates", "none", TRACKERS),
        Argument(
            "--continue", None, "train from the current state, not the initial one", was="--more"
        ),
        Argument("--resume", None, "finish the run that was stopped or killed"),
        Argument("--checkpoint-every", number, "seconds between checkpoints; 0 for none", "60"),
        *WORKERS,
        Argument("--fsdp", None, "split the base over the workers, for one larger than a device"),
    ),
    (
        "%%lora_train pirate",
        "Where is the library? => Arr, it be down by the harbour!",
        '%lora train support --data mails.csv --columns "body => reply"',
        "%lora train low,high --data mails.csv",
        "%lora train support --data mails.csv --workers 2",
    ),
    changes=True,
    body=_TYPED,
    trains=True,
    run=_train,
    notes=(
        r"rows below: \n is a newline, \\n a backslash and n, \=> an arrow that does not split;",
        r"\n stays in paths (C:\new) and LaTeX commands (\nu)",
        "columns that are known by name, with a column named system beside them:",
        *(f"  {shape.line}" for shape in SHAPES),
        "columns that are known to a classifier:",
        *(f"  {shape.line}" for shape in LABELLED),
    ),
)

#: How a flag's text becomes a list, where commas do not separate values, or not always.
_CHOICES: dict[str, Callable[[str], list[Any]]] = {
    "targets": target_choices,
    "rank_pattern": lambda seen: [seen],
    "alpha_pattern": lambda seen: [seen],
}


def _several(argument: Argument) -> Argument:
    """A flag of `attach` or `train` with a list of values; a switch as it is."""
    if argument.kind is None:
        return argument
    kind = _CHOICES.get(argument.key) or each(number if argument.key == "lr" else argument.kind)
    about = argument.about.partition("; find")[0]
    shape = "X" if argument.key == "lr" else argument.typed.rpartition(" ")[2]
    return replace(
        argument, kind=kind, about=about, shape=f"{shape},…", several=True, repeated=True
    )


def _shared(argument: Argument) -> Argument:
    """A flag that all arms share."""
    if argument.kind not in (whole, number):
        return argument
    return replace(argument, kind=shared(argument.kind), shape=argument.typed.rpartition(" ")[2])


def _of(verb: Verb, keys: tuple[str, ...]) -> list[Argument]:
    return [argument for argument in verb.arguments if argument.key in keys]


#: Flags of `train` that all arms share, with those of the rows.
_OF_EVERY_ARM = (
    *("data", "columns", "map_", "format", "skip_bad", "epochs", "steps", "patience"),
    *("batch_size", "max_length", "eval", "beta", "checkpointing", "template", "system"),
)

SWEEP = Verb(
    "sweep",
    "train an adapter for each combination of values, compare them, keep the best",
    (
        replace(NAME, about="the best arm's name"),
        *map(_several, _of(ATTACH, OF_ATTACH)),
        *map(_several, _of(TRAIN, OF_TRAIN)),
        Argument(
            "--seeds", shared(whole), "seeds of the initial A for each setting", "1", shape="N"
        ),
        *map(_shared, _of(TRAIN, _OF_EVERY_ARM)),
        Argument(
            "--minutes",
            shared(number),
            "end after this many minutes; alone, a grid of ranks and rates around the defaults",
            "no limit",
            shape="X",
        ),
        Argument("--no-halving", None, "train every arm to its end"),
        Argument("--finish", None, "train the best arm to its end"),
        Argument("--resume", None, "finish the sweep that was stopped or killed"),
        Argument("--replace", None, "replace a trained adapter of that name"),
    ),
    (
        "%lora sweep pirate --data rows --rank 4,8,16 --lr 1e-3,3e-3 --seeds 3",
        "%lora sweep pirate --data rows --method lora,dora --targets attention,all-linear",
        "%lora sweep pirate --data rows --targets q_proj,v_proj --targets all-linear",
        "%lora sweep pirate --data rows --minutes 5 --finish",
    ),
    changes=True,
    body=_TYPED,
    trains=True,
    run=_sweep,
    notes=(
        "a flag typed twice adds its values; --targets q_proj,v_proj is one choice of two modules,",
        "and --targets attention,all-linear are two choices",
        "every setting is trained for a part of its run (a ninth with 12 settings), the best third",
        "of them for three times as many steps, and so on until one is left; one half of the",
        "held-out rows decides, the other half gives the loss that is reported",
    ),
)

PREVIEW = Verb(
    "preview",
    "show what would be trained, token by token, and what is odd about the rows",
    (
        replace(A_NAME, default="the base"),
        *READING,
        *_SHAPING,
        *_FORM,
        Argument("--rows", whole, "how many rows to show"),
    ),
    (
        '%lora preview pirate --data mails.csv --columns "body => reply"',
        "%%lora preview",
        "Where is the library? => Arr, it be down by the harbour!",
    ),
    body=_TYPED,
    run=_preview,
)

DATA = Verb(
    "data",
    "keep the rows below under a name, for --data",
    (
        Argument("NAME", text, "the rows' name, as of a variable", things=(Thing.KEPT,)),
        Argument("--format", text, "the rows' format", "detected", FORMATS),
    ),
    (
        "%%lora data greetings",
        "Where is the library? => Arr, it be down by the harbour!",
        "%lora train pirate --data greetings",
    ),
    changes=True,
    body=_TYPED,
    run=_keep,
    notes=("--data NAME reads a variable of that name first, then kept rows, then a file.",),
)
