"""Compares what another process has read with the notebook, prompt by prompt.

Three answers to each prompt are compared: the notebook's, with the adapter unmerged; the expected
one, of the session's model with what the files hold; and what the reader found. The reader must
agree with the expected answer, up to the noise of rounding; its difference from the notebook is
reported. Knows references and numbers; knows no model and no file.

    worst = max |expected − found|        must be at most the limit
    difference = max |notebook − found|   is reported, with the reason
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lora_magic.errors import ExportError
from lora_magic.numbers import figures

from .process import ReadBack
from .receipt import LOGITS, Check, PromptCheck
from .reference import Reference

#: Units in the last place of the largest logit by which two runs of the same model may differ:
#: kernels sum in another order, and in 16 bits every layer's output is rounded as well.
_UNITS = {torch.float32: 64, torch.float64: 64}
_UNITS_IN_16_BITS = 4

#: Characters of a prompt in an error.
_PROMPT = 40


def noise(expected: Reference, dtype: torch.dtype) -> float:
    """How far logits may be from `expected` if the same weights are read in the same `dtype`.

    ε·u·max(1, max|logit|), with ε the dtype's spacing at 1 and u = 64, or 4 for 16 bits. The limit
    holds for label probabilities too, which change by at most half as much as their logits.
    """
    largest = max((float(one.abs().max()) for one in expected.logits if one.numel()), default=1.0)
    units = _UNITS.get(dtype, _UNITS_IN_16_BITS)
    return torch.finfo(dtype).eps * units * max(1.0, largest)


def compared(
    notebook: Reference,
    expected: Reference,
    found: ReadBack,
    *,
    limit: float,
    measure: str = LOGITS,
    why: str = "",
    notes: tuple[str, ...] = (),
) -> Check:
    """The check of an export; raises `ExportError` for other answers than expected.

    `expected` has the logits of the notebook's answers (`reference.replayed`); `found.logits` are
    those of the same answers, and `found.answers` the reader's own greedy ones. `why` says what
    makes a difference from the notebook that is larger than `limit`.
    """
    refuse_other_tokens(notebook, found)
    rows, worst = [], 0.0
    for place, prompt in enumerate(notebook.prompts):
        here, wanted, read = (
            _measured(which.logits[place], notebook.classifies)
            for which in (notebook, expected, found)
        )
        if read.shape != wanted.shape:
            raise ExportError(
                f"{found.reader} gives {tuple(read.shape)} {measure} for {cut(prompt)}, expected "
                f"{tuple(wanted.shape)}; nothing was kept."
            )
        off = largest(wanted - read)
        if not off <= limit:
            raise ExportError(
                f"{found.reader} differs from this notebook: {measure} for "
                f"{cut(prompt)} are {figures(off)} apart, expected at most {figures(limit)}; "
                "nothing was kept."
            )
        worst = max(worst, off)
        tie = "" if notebook.classifies else _follow(notebook, found, place, wanted, limit)
        rows.append(_row(notebook, found, place, (here, read), limit, tie or why))
    return Check(found.reader, measure, tuple(rows), worst, limit, notes)


def refuse_other_tokens(notebook: Reference, found: ReadBack) -> None:
    """Raise `ExportError` if the exported tokenizer reads a prompt as other tokens."""
    for prompt, here, there in zip(notebook.prompts, notebook.inputs, found.inputs, strict=True):
        if here != there:
            at = next(
                (n for n, (a, b) in enumerate(zip(here, there, strict=False)) if a != b),
                min(len(here), len(there)),
            )
            raise ExportError(
                f"{found.reader} reads {cut(prompt)} as other tokens than this tokenizer, from "
                f"token {at + 1} on ({_ids(here, at)} here, {_ids(there, at)} there); "
                "nothing was kept."
            )


def largest(values: Tensor) -> float:
    """The largest absolute value, 0 of none; NaN if one is."""
    return float(values.abs().max()) if values.numel() else 0.0


def _measured(logits: Tensor, classifies: bool) -> Tensor:
    return logits.double().softmax(-1) if classifies else logits.double()


def _follow(notebook: Reference, found: ReadBack, place: int, wanted: Tensor, limit: float) -> str:
    """Compare the reader's greedy tokens with those of the expected logits: a note on a tie.

    The logits are those after the notebook's tokens, so they tell the expected token as long as
    that is the notebook's. Two tokens whose logits are closer than twice the limit are a tie.
    """
    answer, given = notebook.answers[place], found.answers[place]
    for at, token in enumerate(answer):
        first, second = (int(one) for one in wanted[at].topk(2).indices)
        chosen = given[at] if at < len(given) else None
        gap = float(wanted[at, first] - wanted[at, second])
        if chosen == token == first:
            continue
        if chosen in (first, second, token) and gap < 2 * limit:
            return f"two tokens tie ({figures(gap)} apart)" if chosen != token else ""
        if chosen != first:
            raise ExportError(
                f"{found.reader} answers {cut(notebook.prompts[place])} with another token "
                f"{at + 1} ({chosen}) than expected ({first}), whose logit is {figures(gap)} "
                f"above the next; nothing was kept."
            )
        return ""  # what was written departs from the notebook here, as expected
    return ""


def _row(
    notebook: Reference,
    found: ReadBack,
    place: int,
    pair: tuple[Tensor, Tensor],
    limit: float,
    why: str,
) -> PromptCheck:
    here, read = pair
    answer, given = notebook.answers[place], found.answers[place]
    if notebook.classifies:
        same, at = bool(here.argmax() == read.argmax()), None
    else:
        same, at = answer == given, first_other(answer, given)
    off = largest(here - read)
    told = why if off > limit or not same else ""
    return PromptCheck(notebook.prompts[place], len(answer), same, off, at, told)


def first_other(answer: Sequence[int], given: Sequence[int]) -> int | None:
    """The first token that differs, from 1; None if all are the same."""
    if tuple(answer) == tuple(given):
        return None
    pairs = zip(answer, given, strict=False)
    shorter = min(len(answer), len(given))
    return 1 + next((at for at, (one, other) in enumerate(pairs) if one != other), shorter)


def _ids(ids: Sequence[int], at: int) -> str:
    return " ".join(map(str, ids[at : at + 3])) or "none"


def cut(prompt: str) -> str:
    """The beginning of a prompt, in quotes and on one line."""
    flat = " ".join(prompt.split())
    return repr(flat if len(flat) <= _PROMPT else flat[: _PROMPT - 1] + "…")
