"""The verbs that train, show what would be trained, and keep typed rows."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from lora_magic.base.prompt import FORMS as TEMPLATES
from lora_magic.base.recipe import SMALL
from lora_magic.data.files import FILE_FORMATS
from lora_magic.data.rows import FORMATS
from lora_magic.data.shapes import LABELLED, SHAPES
from lora_magic.demo import RECIPE
from lora_magic.errors import CommandError
from lora_magic.magics.variables import data, function, guard, held_out
from lora_magic.magics.verb import (
    Argument,
    Call,
    Thing,
    Verb,
    count_share_or_rows,
    number,
    rate_or_find,
    text,
    whole,
)
from lora_magic.magics.verbs.adapters import A_NAME, NAME, by_base
from lora_magic.state.receipt import Receipt
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


def _rows(call: Call, typed: str, cell: str) -> dict[str, Any]:
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
    """Train an adapter on the cell's text, or on what `--data` names."""
    name = call.words["name"]
    given = _rows(call, f"train {name}", f"%%lora_train {name}")
    source = [given.pop("data")] if "data" in given else []
    return call.session.train(name, *source, **given, reporter=call.reporter)


def _preview(call: Call) -> object:
    """Show what a run would be trained on: the cell's text, or what `--data` names."""
    typed = " ".join(["preview", *call.words.values()])
    return call.session.preview(**call.words, **_rows(call, typed, f"%%lora {typed}"))


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


#: Which rows are read, and how.
_READING = (
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

_TYPED = "rows: prompt => completion, JSONL, or blocks of text"

TRAIN = Verb(
    "train",
    "train an adapter on the rows below, or on --data",
    (
        NAME,
        *_READING,
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
        *_FORM,
        Argument("--report-to", text, "a tracker for losses and rates", "none", TRACKERS),
        Argument(
            "--continue", None, "train from the current state, not the initial one", was="--more"
        ),
        Argument("--resume", None, "finish the run that was stopped or killed"),
        Argument("--checkpoint-every", number, "seconds between checkpoints; 0 for none", "60"),
    ),
    (
        "%%lora_train pirate",
        "Where is the library? => Arr, it be down by the harbour!",
        '%lora train support --data mails.csv --columns "body => reply"',
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

PREVIEW = Verb(
    "preview",
    "show what would be trained, token by token, and what is odd about the rows",
    (
        replace(A_NAME, default="the base"),
        *_READING,
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
