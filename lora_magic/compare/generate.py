"""Token ids in, answers out: transformers' `generate`, freed of what a base's files ask for.

Knows a model and a tokenizer as they stand; knows no adapter and no slot.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lora_magic.base.model import context_of
from lora_magic.base.modes import evaluating
from lora_magic.base.restore import attributes, restoring

from .gumbel import SharedGumbel
from .limits import check_flags, new_tokens

#: Called after each new token with a function that gives each row's text so far; true ends it.
Watch = Callable[[Callable[[], list[str]]], bool]


@dataclass(frozen=True)
class Generation:
    """One answer: text, tokens generated (the closing one counts), whether it closed by itself."""

    text: str
    tokens: int
    ended: bool


@torch.no_grad()
def generate(
    model: Any,
    tokenizer: Any,
    inputs: Sequence[Sequence[int]],
    *,
    stop_ids: Sequence[int] | Sequence[Sequence[int]],
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    context: int | None = None,
    watch: Watch | None = None,
) -> list[Generation]:
    """Answers to rows of token ids, in one batch, left-padded under a mask.

    `temperature` 0 takes the likeliest token; above 0 it draws from softmax(logits/T) with noise
    that depends on `seed` and the position alone. `stop_ids` end an answer: one set for all rows,
    or one set a row. `max_new_tokens` defaults to 200; `context` (default: the config's) is never
    passed, counted from the longest row. The base's generation config (sampling, penalties, forced
    tokens) has no say. The model is left as found: its flags, its generation config, its hooks, and
    the global random state. `watch` is called after each new token with each row's text so far;
    true ends all answers there.

    Raises `PromptError` for max_new_tokens < 1 or a temperature below 0.
    """
    from transformers import GenerationConfig

    check_flags(max_new_tokens, temperature, seed)
    longest = max(map(len, inputs))
    limit = new_tokens(longest, context or context_of(model), max_new_tokens)
    ids, mask = _padded(inputs, longest, tokenizer.pad_token_id or 0, model.device)
    stops = _stops(stop_ids, len(inputs))

    def answers(written: Tensor) -> list[Generation]:
        rows = written[:, longest:].tolist()
        return [_answer(tokenizer, row, set(stop)) for row, stop in zip(rows, stops, strict=True)]

    criteria: list[Any] = [_Stops(stops, model.device)]
    if watch is not None:
        criteria.append(_Watched(watch, answers))
    with answering(model):
        written = model.generate(
            input_ids=ids,
            attention_mask=mask,
            # Compiled code would outlive the modules that stand in the slots now.
            generation_config=GenerationConfig(
                max_new_tokens=limit, do_sample=False, use_cache=True, disable_compile=True
            ),
            logits_processor=[SharedGumbel(temperature, seed)] if temperature > 0 else [],
            stopping_criteria=criteria,
        )
    return answers(written)


@torch.no_grad()
def first_logits(model: Any, ids: Sequence[int]) -> Tensor:
    """The logits [V] of the first new token after one row of ids: fp32, on the CPU."""
    keep = {}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        keep["logits_to_keep"] = 1
    row = torch.tensor([list(ids)], device=model.device)
    with answering(model):
        logits: Tensor = model(input_ids=row, use_cache=False, **keep).logits
    return logits[0, -1].float().cpu()


@contextmanager
def answering(model: Any) -> Iterator[None]:
    """As `evaluating`, and with an empty generation config.

    `generate` fills whatever its own config leaves open from `model.generation_config`, so an
    explicit config alone does not keep the base's penalties and forced tokens out.
    """
    from transformers import GenerationConfig

    with restoring(attributes([model], "generation_config")):
        model.generation_config = GenerationConfig()
        with evaluating(model):
            yield


class _Stops:
    """A stopping criterion with a set of token ids for each row of the batch."""

    def __init__(self, stops: Sequence[Sequence[int]], device: torch.device) -> None:
        width = max(1, *map(len, stops))
        table = [[*stop, *[-1] * (width - len(stop))] for stop in stops]
        self._table = torch.tensor(table, dtype=torch.long, device=device)

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        return (input_ids[:, -1:] == self._table).any(dim=1)


class _Watched:
    """A stopping criterion that shows the answers so far, and stops them all where it is told to.

    Texts are made only when they are asked for: whoever follows may look at a few tokens alone.
    """

    def __init__(self, watch: Watch, answers: Callable[[Tensor], list[Generation]]) -> None:
        self._watch, self._answers = watch, answers

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        end = self._watch(lambda: [answer.text for answer in self._answers(input_ids)])
        return torch.full((len(input_ids),), end, device=input_ids.device)


def _stops(given: Sequence[int] | Sequence[Sequence[int]], rows: int) -> list[list[int]]:
    """One list of stop ids a row."""
    shared = [stop for stop in given if isinstance(stop, int)]
    own = [list(stop) for stop in given if not isinstance(stop, int)]
    return own or [shared] * rows


def _padded(
    inputs: Sequence[Sequence[int]], longest: int, pad: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Ids and mask [N, longest], padded on the left, so that all answers start together."""
    ids = [[*[pad] * (longest - len(row)), *row] for row in inputs]
    mask = [[*[0] * (longest - len(row)), *[1] * len(row)] for row in inputs]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _answer(tokenizer: Any, row: list[int], stops: set[int]) -> Generation:
    """The text up to the row's first stop token; what follows it is the batch running on."""
    end = next((place for place, token in enumerate(row) if token in stops), None)
    text = tokenizer.decode(row[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Generation(text, len(row) if end is None else end + 1, end is not None)
