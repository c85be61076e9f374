"""The verb that trains."""

from __future__ import annotations

from lora_magic.base.prompt import FORMS as TEMPLATES
from lora_magic.base.recipe import SMALL
from lora_magic.demo import RECIPE
from lora_magic.errors import CommandError
from lora_magic.magics.variables import data, held_out
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
from lora_magic.magics.verbs.adapters import NAME, by_base
from lora_magic.training.files import FILE_FORMATS
from lora_magic.training.rows import FORMATS
from lora_magic.training.spec import (
    HOLD_OUT_FROM,
    HOLD_OUT_MOST,
    OPTIMIZERS,
    PATIENCE,
    SCHEDULES,
    WARMUP,
)

_DATA = (Thing.VARIABLE, Thing.FILE)
_STEPS = f"{SMALL.steps}; with held-out rows more, up to --epochs"
_EPOCHS = f"with held-out rows at most {by_base('epochs')}"
_PATIENCE = f"{PATIENCE}; none with --steps or --epochs"
_BATCH = f"{SMALL.batch_size * SMALL.accumulation}; demo {RECIPE['batch_size']}"
_LENGTH = f"{by_base('max_length')}; at most the context"
_EVAL = f"10%, at most {HOLD_OUT_MOST}; none below {HOLD_OUT_FROM} rows"
_OPTIMIZER = f"{OPTIMIZERS[0]}; on a quantised base {OPTIMIZERS[1]}"
_TEMPLATE = "chat if the tokenizer has a template"


def _train(call: Call) -> object:
    """Train an adapter on the cell's text, or on what `--data` names."""
    name, flags = call.words["name"], dict(call.flags)
    source = flags.pop("data", None)
    if source is None and call.body is None:
        raise CommandError(
            f"%lora train {name}: no rows. Type %%lora_train {name} with rows below it,"
            f" or %lora train {name} --data VAR"
        )
    if source is None:
        return call.session.train(name, text=call.body, **flags, reporter=call.reporter)
    if call.body and call.body.strip():
        raise CommandError(f"%%lora train {name}: there are rows below and --data; keep one.")
    return call.session.train(name, source, **flags, reporter=call.reporter)


TRAIN = Verb(
    "train",
    "train an adapter on the rows below, or on --data",
    (
        NAME,
        Argument(
            "--data",
            text,
            "a variable or a file",
            "the rows below",
            (),
            _DATA,
            shape="VAR|PATH",
            reads=data,
        ),
        Argument("--columns", text, 'the columns to use, as "body => reply"', "by their names"),
        Argument("--format", text, "the rows' format", "detected", FILE_FORMATS, below=FORMATS),
        Argument("--epochs", number, "passes over the rows", _EPOCHS),
        Argument("--steps", whole, "optimizer steps", _STEPS),
        Argument("--minutes", number, "end after the step that passes this time", "no limit"),
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
            "--schedule", text, "how the rate goes on after the warm-up", SCHEDULES[0], SCHEDULES
        ),
        Argument("--warmup", number, "share of the steps in which the rate rises", f"{WARMUP:g}"),
        Argument("--batch-size", whole, "rows per step", _BATCH),
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
        Argument("--seed", whole, "seed of the rows' order", "0"),
        Argument("--lora-plus", number, "B's rate as a multiple of A's; 16 is usual", "1"),
        Argument("--optimizer", text, "the optimizer", _OPTIMIZER, OPTIMIZERS),
        Argument("--template", text, "the prompt's form", _TEMPLATE, TEMPLATES),
        Argument("--system", text, "a system message before each prompt", "none"),
        Argument(
            "--continue", None, "train from the current state, not the initial one", was="--more"
        ),
    ),
    (
        "%%lora_train pirate",
        "Where is the library? => Arr, it be down by the harbour!",
        '%lora train support --data mails.csv --columns "body => reply"',
    ),
    changes=True,
    body="rows: prompt => completion, JSONL, or blocks of text",
    trains=True,
    run=_train,
)
