"""The same tokens under base and adapters: the log-probability of each, and perplexities.

Knows models, slots and prompt forms; knows no session and no method. The views draw the scores.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lora_magic.adapters.slots import Slots
from lora_magic.base.model import context_of
from lora_magic.frames import frame
from lora_magic.printable import one_line

from .comparison import Pane
from .generate import answering
from .mix import Mix, average
from .stack import Stack, Variant, stacked

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = ("prompt", "answer_of", "adapter", "position", "token", "log_probability")
_SUMMARY = ("prompt", "answer_of", "adapter", "tokens", "log_probability", "perplexity")
#: Most logits of one forward pass: 512 MiB of float32.
MOST = 2**27
#: Tokens before one that its text can depend on.
WINDOW = 8


@dataclass(frozen=True)
class ScoredAnswer:
    """The tokens of one answer, and the log-probability of each under every adapter.

    `log_probabilities[i][t]` is ln p(token t | prompt, tokens before t) under `adapters[i]`: of the
    model as it is, without temperature and top-p, and after the adapter's own prompt form. It is
    NaN for tokens beyond the context. The end token is the last one if the answer `ended` itself.
    """

    prompt: str
    answer_of: str
    tokens: tuple[str, ...]
    ended: bool
    adapters: tuple[str, ...]
    log_probabilities: tuple[tuple[float, ...], ...]

    def under(self, adapter: str) -> tuple[float, ...]:
        """The log-probabilities under an adapter."""
        return self.log_probabilities[self.adapters.index(adapter)]

    def perplexity(self, adapter: str) -> float:
        """exp(−mean log-probability) under an adapter; NaN without tokens."""
        values = self.under(adapter)
        mean = math.fsum(values) / len(values) if values else math.nan
        return math.exp(-mean) if -mean < 700 else math.inf if -mean > 0 else math.nan


@dataclass(frozen=True)
class Scores:
    """Every answer of a comparison, scored under the base and every adapter.

    `stopped` says that the user ended it before all answers were scored.
    """

    answers: tuple[ScoredAnswer, ...]
    stopped: bool = False

    def of(self, prompt: str, adapter: str) -> ScoredAnswer | None:
        """The scores of an adapter's answer to a prompt; None if it has no tokens."""
        return next(
            (one for one in self.answers if (one.prompt, one.answer_of) == (prompt, adapter)), None
        )

    def to_frame(self) -> DataFrame:
        """Columns prompt, answer_of, adapter, position (from 1), token, log_probability (natural
        logarithm): one row for each token and adapter."""
        return frame(self._rows(), _COLUMNS)

    def _rows(self) -> Iterator[tuple[object, ...]]:
        for one in self.answers:
            for adapter, values in zip(one.adapters, one.log_probabilities, strict=True):
                for place, (token, value) in enumerate(zip(one.tokens, values, strict=True), 1):
                    yield one.prompt, one.answer_of, adapter, place, token, value

    def summary(self) -> DataFrame:
        """Columns prompt, answer_of, adapter, tokens, log_probability (the sum), perplexity: one
        row for each answer and adapter."""
        rows = (
            (
                one.prompt,
                one.answer_of,
                adapter,
                len(one.tokens),
                math.fsum(one.under(adapter)),
                one.perplexity(adapter),
            )
            for one in self.answers
            for adapter in one.adapters
        )
        return frame(rows, _SUMMARY)

    @property
    def line(self) -> str:
        """One line: answers and tokens."""
        tokens = sum(len(one.tokens) for one in self.answers)
        stopped = " · stopped by you" if self.stopped else ""
        return f"{len(self.answers)} answers · {tokens:,} tokens scored{stopped}"

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import scores as view

        return view.bundle(self)


@torch.no_grad()
def score(
    model: Any,
    slots: Slots,
    tokenizer: Any,
    variants: Sequence[Variant],
    panes: Sequence[Pane],
    *,
    context: int | None = None,
    stop: Callable[[], bool] | None = None,
    mix: Mix | None = None,
) -> Scores:
    """Score the tokens of every pane under every variant, each after the variant's own prompt ids.

    A token's probability under a `mix` is the average of its probabilities under the members.

    All variants share a forward pass if each has `deltas`, as in `compare`; otherwise each has its
    own. In 16 bits the rows of a batch can change the last bits of the logits. `stop` is called
    before each prompt and ends the scoring. Slots and model are restored, also after an error or an
    interrupt.
    """
    shown = [variant.name for variant in variants] + ([mix.name] if mix else [])
    named = {one.name: one for one in [*variants, *(mix.variants if mix else ())]}
    variants = list(named.values())
    run = _Run(model, slots, variants, stacked(slots, variants), context or context_of(model))
    scored: list[ScoredAnswer] = []
    for prompt, group in groupby(panes, key=lambda pane: pane.prompt):
        if stop is not None and stop():
            return Scores(tuple(scored), stopped=True)
        answered = [pane for pane in group if pane.ids]
        distinct = list(dict.fromkeys(pane.ids for pane in answered))
        prompts = [variant.form.encode(tokenizer, prompt) for variant in variants]
        values = {}
        for ids, found in zip(distinct, run.scores(prompts, distinct), strict=True):
            under = dict(zip(named, found, strict=True))
            if mix is not None:
                own = [under[member.name] for member in mix.variants]
                under[mix.name] = average(own, mix.weights)
            values[ids] = tuple(under[name] for name in shown)
        scored += [
            ScoredAnswer(
                prompt,
                pane.adapter,
                _tokens(tokenizer, pane.ids),
                pane.ended,
                tuple(shown),
                values[pane.ids],
            )
            for pane in answered
        ]
    return Scores(tuple(scored))


def _tokens(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """Each token's text with the blank before it, special tokens too; they join to the answer.

    A token alone would lose its blank. Of a character in several tokens all but the last are "".
    """
    texts: list[str] = []
    for at in range(len(ids)):
        before, now = (
            str(
                tokenizer.decode(
                    ids[max(0, at - WINDOW) : end],
                    skip_special_tokens=False,
                    clean_up_tokenization_spaces=False,
                )
            )
            for end in (at, at + 1)
        )
        part = now.endswith("\ufffd") and at + 1 < len(ids)
        texts.append("" if part else now[len(before.rstrip("\ufffd")) :])
    return tuple(texts)


#: The log-probabilities of one answer's tokens, for each variant.
_Values = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class _Run:
    """What the forward passes have in common. `stack` is None if each variant has its own."""

    model: Any
    slots: Slots
    variants: Sequence[Variant]
    stack: Stack | None
    context: int | None

    def scores(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[tuple[int, ...]]
    ) -> Iterator[_Values]:
        """The scores of each answer to one prompt, whose ids are given for each variant."""
        for batch in self._batches(prompts, answers):
            if self.stack is not None:
                rows = [(ids, answer) for ids in prompts for answer in batch]
                with self.stack.using(self.slots):
                    found = self._forward(rows)
            else:
                found = []
                for variant, ids in zip(self.variants, prompts, strict=True):
                    with self.slots.using(variant.replacements):
                        found += self._forward([(ids, answer) for answer in batch])
            # Row i·b + j is answer j under variant i.
            yield from zip(
                *(found[at : at + len(batch)] for at in range(0, len(found), len(batch))),
                strict=True,
            )

    def _batches(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[tuple[int, ...]]
    ) -> Iterator[Sequence[tuple[int, ...]]]:
        """The answers in batches whose logits fit into `MOST`, of at least one answer each."""
        spread = max(map(len, prompts)) - min(map(len, prompts))
        longest = spread + max(map(len, answers), default=0)
        rows = len(prompts) if self.stack is not None else 1
        one = rows * longest * self.model.get_input_embeddings().weight.shape[0]
        many = max(1, MOST // max(1, one))
        for at in range(0, len(answers), many):
            yield answers[at : at + many]

    def _forward(
        self, rows: Sequence[tuple[Sequence[int], tuple[int, ...]]]
    ) -> list[tuple[float, ...]]:
        fitting = [(prompt, self._fitting(prompt, answer)) for prompt, answer in rows]
        logits, firsts = forward(self.model, fitting)
        found = []
        for row, ((_, whole), (_, answer), first) in enumerate(
            zip(rows, fitting, firsts, strict=True)
        ):
            chosen = _chosen(logits[row, first : first + len(answer)], answer)
            found.append((*chosen, *[math.nan] * (len(whole) - len(answer))))
        return found

    def _fitting(self, prompt: Sequence[int], answer: tuple[int, ...]) -> tuple[int, ...]:
        """The tokens that this prompt leaves room for: another form of it may be longer."""
        if self.context is None:
            return answer
        return answer[: max(0, self.context - len(prompt) + 1)]


def forward(
    model: Any, rows: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> tuple[Tensor, list[int]]:
    """One pass over rows of (prompt, answer), padded on the right, where no token sees it.

    Returns the logits [N, T, V], of which those of the prompts may be left out, and for each row
    the place of those that its answer's first token is chosen by.
    """
    inputs = [[*prompt, *answer[:-1]] for prompt, answer in rows]
    width = max(map(len, inputs))
    padded = [[*row, *[0] * (width - len(row))] for row in inputs]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in inputs]
    keep = {}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        keep["logits_to_keep"] = width - min(len(prompt) for prompt, _ in rows) + 1
    with answering(model):
        logits: Tensor = model(
            input_ids=torch.tensor(padded, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            use_cache=False,
            **keep,
        ).logits
    # From the end: the logits of the prompt may be left out.
    return logits, [logits.shape[1] - width + len(prompt) - 1 for prompt, _ in rows]


def _chosen(logits: Tensor, tokens: Sequence[int]) -> list[float]:
    """ln softmax(logits [T, V]) of each of the T tokens."""
    shares = logits.float().log_softmax(-1)
    chosen: list[float] = shares.gather(
        1, torch.tensor(tokens, dtype=torch.long, device=shares.device)[:, None]
    )[:, 0].tolist()
    return chosen
