"""Token ids in, answers out: transformers' `generate` without the base's own generation config.

Knows a model and a tokenizer; knows no adapter and no slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lora_magic.base.finite import finite_rows
from lora_magic.base.model import context_of
from lora_magic.base.restore import attributes, evaluating, restoring

from .limits import check_flags, new_tokens
from .mix import Mixed

#: Called after each new token with a function that returns each row's text so far; True ends all.
OnToken = Callable[[Callable[[], list[str]]], bool]

#: Called after each new token with which rows are at their end, and a function that decodes one
#: row's answer so far; returns which of the rows end there.
OnRows = Callable[[Sequence[bool], Callable[[int], "Generation"]], Sequence[bool]]

#: Called with the logits [N, V] of every row's first new token, in fp32.
OnFirst = Callable[[Tensor], None]


@dataclass(frozen=True)
class Generation:
    """One answer: text, generated tokens (with the end token), and whether it ended itself.

    `ids` are those tokens.
    `finite` is False if it was ended because its logits were not finite.
    """

    text: str
    tokens: int
    ended: bool
    finite: bool = True
    ids: tuple[int, ...] = ()


@torch.no_grad()
def generate(
    model: Any,
    tokenizer: Any,
    inputs: Sequence[Sequence[int]],
    *,
    stop_ids: Sequence[int] | Sequence[Sequence[int]],
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    context: int | None = None,
    watch: OnToken | None = None,
    rows: OnRows | None = None,
    first: OnFirst | None = None,
    mix: Mixed | None = None,
) -> list[Generation]:
    """Answers to rows of token ids, in one batch, left-padded under a mask.

    `temperature` 0 takes the most likely token; above 0 it samples from softmax(logits/T) with
    Gumbel draws that depend only on `seed` and the position; `top_p` below 1 keeps only the fewest
    most likely tokens whose probabilities reach it (Holtzman et al. 2020, "nucleus sampling").
    `stop_ids` end an answer: one set for all rows, or one for each row, and so do logits that are
    not finite. `max_new_tokens` defaults to 200; the longest row and its answer never exceed
    `context` (default: the config's). The base's generation config (sampling, penalties, forced
    tokens) is ignored. The model's flags, generation config and hooks and the global random state
    are restored. `watch` can end all answers, `rows` single ones, which the batch may continue all
    the same. `first` is called once, with the logits as the model gives them. The rows of a `mix`
    all continue with the tokens of the mixture of their probabilities, and should have the
    same `stop_ids`; temperature and `top_p` apply to the mixture.

    Raises `PromptError` for max_new_tokens < 1, a temperature below 0, and a `top_p` outside
    (0, 1] or below 1 with temperature 0.
    """
    from transformers import GenerationConfig

    check_flags(max_new_tokens, temperature, seed, top_p)
    longest = max(map(len, inputs))
    limit = new_tokens(longest, context or context_of(model), max_new_tokens)
    ids, mask = _padded(inputs, longest, tokenizer.pad_token_id or 0, model.device)
    stops = _stops(stop_ids, len(inputs))
    steps = _Steps(len(inputs), model.device, first, mix, _sampling(temperature, top_p, seed))

    def answer(written: Tensor, row: int) -> Generation:
        made, finite = written[row, longest:].tolist(), bool(steps.finite[row])
        return _answer(tokenizer, made, set(stops[row]), finite)

    def answers(written: Tensor) -> list[Generation]:
        return [answer(written, row) for row in range(len(inputs))]

    ends = _StopIds(stops, steps, model.device)
    criteria: list[Any] = [ends]
    if watch is not None:
        criteria.append(_TokenCallback(watch, answers))
    if rows is not None:
        criteria.append(_RowsCallback(rows, ends, answer))
    with answering(model):
        written = model.generate(
            input_ids=ids,
            attention_mask=mask,
            # Compiled code would outlive the modules now in the slots.
            generation_config=GenerationConfig(
                max_new_tokens=limit, do_sample=False, use_cache=True, disable_compile=True
            ),
            logits_processor=[steps],
            stopping_criteria=criteria,
        )
    return answers(written)


@contextmanager
def answering(model: Any) -> Iterator[None]:
    """As `evaluating`, and with an empty generation config.

    `generate` fills what its own config leaves unset from `model.generation_config`, so an explicit
    config alone does not exclude the base's penalties and forced tokens.
    """
    from transformers import GenerationConfig

    with restoring(attributes([model], "generation_config")):
        model.generation_config = GenerationConfig()
        with evaluating(model):
            yield


def _sampling(temperature: float, top_p: float, seed: int) -> list[Any]:
    """The logits processors that sample; none for greedy decoding."""
    if temperature == 0:
        return []
    nucleus = [Nucleus(temperature, top_p)] if top_p < 1 else []
    return [*nucleus, SharedGumbel(temperature, seed)]


class Nucleus:
    """Leaves only the tokens that transformers' top-p keeps of softmax(logits/T); others get −∞.

    transformers calls it as a logits processor, once for each position.
    """

    def __init__(self, temperature: float, top_p: float) -> None:
        from transformers import TopPLogitsWarper

        self._temperature = temperature
        self._keep = TopPLogitsWarper(top_p)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V]; those that are kept are not changed."""
        # Less the largest, so that a tiny T cannot overflow.
        scaled = (scores.float() - scores.amax(-1, keepdim=True).float()) / self._temperature
        return scores.masked_fill(self._keep(input_ids, scaled) == -torch.inf, -torch.inf)


class SharedGumbel:
    """Adds temperature · g to logits [N, V], with one Gumbel vector g [V] for all N rows.

    argmax(z/T + g) is an exact sample of softmax(z/T) if g = −ln(−ln u), u uniform (the Gumbel
    trick; Maddison et al. 2014, "A* sampling", section 2). All rows share g, and a seed fixes the
    sequence of g, so rows with equal logits sample equal tokens: two answers differ because of the
    models, not by chance. The global random state is not read.

    transformers calls it as a logits processor, once for each position.
    """

    def __init__(self, temperature: float, seed: int) -> None:
        self.temperature = temperature
        # On the CPU, so that a seed means the same on every device.
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] whose argmax is the sample."""
        # In float64: among 2^24 values of fp32 a zero would occur once in a few hundred positions
        # of a large vocabulary, and that token could never be chosen.
        uniform = torch.rand(scores.shape[-1], generator=self._generator, dtype=torch.float64)
        gumbel = -uniform.clamp_min(torch.finfo(torch.float64).tiny).log().neg().log()
        # Logits + T·g, not logits/T + g: the same argmax, and a tiny T cannot overflow.
        return scores + (self.temperature * gumbel).to(scores)


class _Steps:
    """All that happens to the logits of a step, as one logits processor.

    It passes the first logits on, mixes the rows of a mix, notes which rows were finite until now,
    and applies the processors for sampling. One, because transformers inspects the signature of
    each at each token.
    """

    def __init__(
        self,
        rows: int,
        device: torch.device,
        first: OnFirst | None,
        mix: Mixed | None,
        sampling: Sequence[Any],
    ) -> None:
        self.finite = torch.ones(rows, dtype=torch.bool, device=device)
        self._first, self._mix, self._sampling = first, mix, sampling

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._first is not None:
            self._first(scores.float().clone())
            self._first = None
        if self._mix is not None:
            scores = self._mix.applied(scores)
        self.finite &= finite_rows(scores)
        for processor in self._sampling:
            scores = processor(input_ids, scores)
        return scores


class _StopIds:
    """A stopping criterion with a set of token ids for each row of the batch.

    A row whose logits are not finite ends too.
    """

    def __init__(self, stops: Sequence[Sequence[int]], steps: _Steps, device: torch.device) -> None:
        self._steps = steps
        width = max(1, *map(len, stops))
        table = [[*stop, *[-1] * (width - len(stop))] for stop in stops]
        self._table = torch.tensor(table, dtype=torch.long, device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        return (input_ids[:, -1:] == self._table).any(dim=1) | ~self._steps.finite


class _TokenCallback:
    """A stopping criterion that calls `watch`, and stops all rows if it returns True.

    Texts are decoded only when `watch` requests them.
    """

    def __init__(self, watch: OnToken, answers: Callable[[Tensor], list[Generation]]) -> None:
        self._watch, self._answers = watch, answers

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        end = self._watch(lambda: [answer.text for answer in self._answers(input_ids)])
        return torch.full((len(input_ids),), end, device=input_ids.device)


class _RowsCallback:
    """A stopping criterion that calls `rows`, and ends those rows for which it says so.

    A row is decoded only when `rows` requests it: each time takes as long as its answer is.
    """

    def __init__(
        self, rows: OnRows, ends: _StopIds, answer: Callable[[Tensor, int], Generation]
    ) -> None:
        self._rows, self._ends, self._answer = rows, ends, answer

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        at_end = self._ends(input_ids, scores).tolist()
        ended = self._rows(at_end, lambda row: self._answer(input_ids, row))
        return torch.tensor(list(ended), dtype=torch.bool, device=input_ids.device)


def _stops(given: Sequence[int] | Sequence[Sequence[int]], rows: int) -> list[list[int]]:
    """One list of stop ids for each row."""
    by_row = [list(stop) for stop in given if not isinstance(stop, int)]
    return by_row or [[stop for stop in given if isinstance(stop, int)]] * rows


def _padded(
    inputs: Sequence[Sequence[int]], longest: int, pad: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Ids and mask [N, longest], padded on the left, so that all answers start at one position."""
    ids = [[*[pad] * (longest - len(row)), *row] for row in inputs]
    mask = [[*[0] * (longest - len(row)), *[1] * len(row)] for row in inputs]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _answer(tokenizer: Any, row: list[int], stops: set[int], finite: bool) -> Generation:
    """The text up to the row's first stop token; the batch may have continued after it."""
    end = next((place for place, token in enumerate(row) if token in stops), None)
    text = tokenizer.decode(row[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    ids = tuple(row[: None if end is None else end + 1])
    return Generation(text, len(ids), end is not None, finite, ids)
