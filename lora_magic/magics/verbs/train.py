"""`%%lora_train NAME` and `%lora train NAME --data VAR|PATH`."""

from __future__ import annotations

from lora_magic.base.prompt import FORMS as TEMPLATES
from lora_magic.errors import CommandError
from lora_magic.magics.variables import data
from lora_magic.magics.verb import (
    AN_ADAPTER,
    Argument,
    Call,
    Completes,
    Thing,
    Verb,
    count_or_share,
    number,
    whole,
)
from lora_magic.training.files import FILE_FORMATS
from lora_magic.training.rows import FORMATS
from lora_magic.training.spec import OPTIMIZERS


def run(call: Call) -> object:
    """Train an adapter on the cell's text, or on what `--data` names."""
    name = call.words["name"]
    flags = dict(call.flags)
    source = flags.pop("data", None)
    if source is not None and call.body and call.body.strip():
        raise CommandError(
            f"%%lora train {name}: rows below and --data {source} at once. Keep one of the two."
        )
    if source is None and call.body is None:
        raise CommandError(
            f"%lora train {name}: no rows. Type %%lora_train {name} with rows below it,"
            f" or %lora train {name} --data VAR"
        )
    try:
        if source is not None:
            rows = data(source, call.variables)
            return call.session.train(name, rows, **flags, reporter=call.reporter)
        return call.session.train(name, text=call.body, **flags, reporter=call.reporter)
    finally:
        if call.reporter is not None:
            call.reporter.close()


VERB = Verb(
    name="train",
    summary="train an adapter on rows below, or on --data",
    run=run,
    changes=True,
    trains=True,
    body="rows: prompt => completion, JSONL, or blocks of text",
    arguments=(
        Argument("NAME", "the adapter's name", completes=AN_ADAPTER),
        Argument(
            "--data",
            "a variable, or a file",
            placeholder="VAR|PATH",
            completes=Completes(things=(Thing.VARIABLE, Thing.FILE)),
        ),
        Argument("--columns", 'which columns, as "body => reply"'),
        Argument(
            "--format",
            "how the rows are written, if it can be read two ways",
            completes=Completes(FILE_FORMATS, below=FORMATS),
        ),
        Argument("--epochs", "times through the rows", number),
        Argument("--steps", "optimizer steps", whole),
        Argument("--lr", "learning rate", number),
        Argument("--batch-size", "rows in a step", whole),
        Argument("--max-length", "tokens a row, at most", whole),
        Argument("--eval", "rows held out, a number or a share", count_or_share),
        Argument("--seed", "of the order of the rows", whole),
        Argument("--lora-plus", "B learns at so many times A's rate; 16 is usual", number),
        Argument(
            "--optimizer",
            "adamw, paged-adamw or paged-adamw-8bit",
            placeholder="NAME",
            completes=Completes(OPTIMIZERS),
        ),
        Argument("--template", "the prompt's form, chat or plain", completes=Completes(TEMPLATES)),
        Argument("--system", "a system message before each prompt"),
        Argument("--more", "go on from where it stands, not from its beginning", kind=None),
    ),
    examples=(
        "%%lora_train pirate",
        "Where is the library? => Arr, it be down by the harbour!",
        '%lora train support --data mails.csv --columns "body => reply"',
    ),
)
