"""The verb that measures base and adapters on the same rows."""

from __future__ import annotations

from collections.abc import Callable

from lora_magic.adapters.spec import BASE_NAME
from lora_magic.interrupts import Stop
from lora_magic.magics.variables import metrics
from lora_magic.magics.verb import AN_ADAPTER, Argument, Call, Thing, Verb, names, whole
from lora_magic.magics.verbs.looking import ANSWERING, MIX
from lora_magic.magics.verbs.training import ON_RAY, READING, rows_of


def _evaluate(call: Call) -> object:
    """The evaluation, with a line of progress; ■ ends it after the next token, a second at once."""
    named = call.words.get("adapters") or None
    typed = " ".join(["evaluate", *([",".join(named)] if named else [])])
    given = rows_of(call, typed, f"%%lora {typed}")
    reporter = call.reporter

    def watch(line: Callable[[], str]) -> bool:
        if reporter is not None:
            reporter.count(line)
        return stop.requested

    with Stop() as stop:
        return call.session.evaluate(named, **given, watch=watch)


EVALUATE = Verb(
    "evaluate",
    "measure base and adapters on the same rows: loss, answers, a function of your own",
    (
        Argument(
            "ADAPTERS",
            names,
            "the adapters to measure",
            "all that were trained",
            (BASE_NAME,),
            AN_ADAPTER,
            "*",
            several=True,
        ),
        *READING,
        Argument(
            "--metric",
            names,
            "your own function of prompt, answer and reference: a number, higher is better",
            "none",
            (),
            (Thing.VARIABLE,),
            several=True,
            repeated=True,
            shape="FUNCTION",
            reads=metrics,
        ),
        Argument("--rows", whole, "only the first N rows", "all"),
        MIX,
        *ANSWERING,
        *ON_RAY,
    ),
    (
        "%lora evaluate --data held_out",
        "%lora evaluate pirate,formal --data held_out.csv --metric politeness",
        "result = %lora evaluate pirate --data greetings --rows 50",
        "%lora evaluate pirate --data held_out.csv --engine ray --workers 4",
    ),
    body="rows: prompt => completion, JSONL, or blocks of text",
    answers=True,
    run=_evaluate,
    notes=(
        "exact match: the answer is the completion, without white space at both ends; ROUGE-L: F1",
        "of their longest common subsequence of words; length: tokens; repetition: the share of",
        "runs of 4 words that were there before. Differences: paired bootstrap over the rows,",
        "10,000 resamples, 95 % intervals, p adjusted by Holm over the pairs of a metric.",
    ),
)
