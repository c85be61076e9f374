"""PEFT's part in a training run: AdaLoRA's allocation of ranks, EVA's initialisation.

Knows captured adapters and models; knows no Trainer.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters.delta import PEFT_NAME
from lora_magic.base.restore import namespaces, restoring
from lora_magic.errors import AdapterError

from .library import peft, translated

#: Rounds of EVA over the batches, and batches, after which its directions must have converged.
_ROUNDS, _LEAST = 20, 100

#: What PEFT's allocator remembers of the steps before.
_MEANS = ("ipt", "exp_avg_ipt", "exp_avg_unc")


class Allocator:
    """AdaLoRA's allocation of ranks over one run, by PEFT.

    `first` steps with all ranks, `last` with the final ones, an allocation every `every` steps.
    """

    def __init__(
        self, model: nn.Module, wrapper: Any, first: int, last: int, every: int, steps: int
    ) -> None:
        config = copy.copy(wrapper.peft_config[PEFT_NAME])
        config.tinit, config.tfinal, config.deltaT = first, last, every
        config.total_step = steps
        self._model, self._fixed_at = model, steps - last
        self._inner = peft.tuners.adalora.layer.RankAllocator(model, config, PEFT_NAME)
        self._left: Any = None

    def allocate(self, step: int) -> None:
        """Call after the optimizer's step `step`, from 1, before its gradients are cleared.

        In float16 the loss scaling skips a step whose gradients overflow. Such a step says nothing
        about importance: its infinities would stay in PEFT's running means for the whole run.
        """
        for parameter in self._model.parameters():
            if parameter.grad is not None:
                parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        if step <= self._fixed_at:
            now = step == self._fixed_at
            _, left = self._inner.update_and_allocate(self._model, step, force_mask=now)
            self._left = left or self._left
        elif self._left is not None:
            self._inner.mask_using_rank_pattern(self._model, self._left)

    def state(self) -> dict[str, Any]:
        """The running means of importance by parameter, and the ranks left, None before that."""
        means = {name: dict(getattr(self._inner, name)) for name in _MEANS}
        return {**means, "left": self._left}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`; raises `ValueError` for one of another run."""
        named = {n: p for n, p in self._model.named_parameters() if "lora_" in n and PEFT_NAME in n}
        means: dict[str, Any] = {name: state.get(name) for name in _MEANS}
        left = state.get("left")
        masks = {n: [True] * len(p) for n, p in named.items() if "lora_E" in n}
        for name, found in means.items():
            if not isinstance(found, dict) or not (found.keys() <= named.keys()):
                raise ValueError(f"AdaLoRA's {name}: other parameters")
            if any(getattr(v, "shape", None) != named[n].shape for n, v in found.items()):
                raise ValueError(f"AdaLoRA's {name}: other shapes")
        if left is not None and _form(left) != _form(masks):
            raise ValueError("AdaLoRA's ranks: other matrices")
        for name, found in means.items():
            setattr(self._inner, name, {n: v.to(named[n].device) for n, v in found.items()})
        self._left = left


def _form(masks: Any) -> Any:
    """The lengths of lists of booleans by name; None for anything else."""
    if not isinstance(masks, dict) or not all(isinstance(m, list) for m in masks.values()):
        return None
    plain = all(isinstance(value, bool) for mask in masks.values() for value in mask)
    return {name: len(mask) for name, mask in masks.items()} if plain else None


def eva(
    model: nn.Module, wrapper: Any, batches: Callable[[], Iterable[dict[str, Tensor]]]
) -> dict[str, Tensor]:
    """A [r, k] of each target by path: the main directions of its inputs over the batches.

    PEFT repeats the batches until the directions no longer change, which with few tokens may be
    never. Raises `AdapterError` after 20 rounds, and at least 100 batches.
    """
    data, passes = list(batches()), count()

    def seen(batch: dict[str, Tensor], config: Any) -> Tensor:
        if next(passes) >= max(_LEAST, _ROUNDS * len(data)):
            raise AdapterError(
                f"--init eva: the {len(data)} batches of this run have too few different tokens "
                f"for r = {config.r}; train on more rows, or omit --init eva."
            )
        return _seen(batch, config)

    config = copy.copy(wrapper.peft_config[PEFT_NAME])
    config.eva_config = peft.tuners.lora.EvaConfig(rho=1.0)
    # PEFT prints a line for each layer and batch with fewer tokens than r. An error leaves its
    # hooks in the model, and the next forward pass would fail in them.
    quiet = redirect_stdout(io.StringIO())
    with restoring(*namespaces(model)), translated("--init eva"), torch.no_grad(), quiet:
        found = peft.get_eva_state_dict(
            model,
            data,
            peft_config=config,
            prepare_model_inputs_fn=seen,
            prepare_layer_inputs_fn=_inputs,
            show_progress_bar=False,
        )
    return dict(found)


def _seen(batch: dict[str, Tensor], config: Any) -> Tensor:
    """Which tokens of a batch count [rows, tokens]: those with a loss; for a classifier, which has
    one label per row, all tokens."""
    mask, labels = batch["attention_mask"].bool(), batch.get("labels")
    if labels is None or labels.shape != mask.shape:
        return mask
    return mask & labels.ne(config.eva_config.label_mask_value)


def _inputs(given: Any, seen: Tensor, name: str) -> Tensor:
    """A layer's inputs [n, k] at the tokens that count. Some models concatenate rows; a layer that
    reads one vector per row has no tokens."""
    x: Tensor = given[0] if isinstance(given, tuple) else given
    if x.dim() == 2 and len(x) == seen.numel():
        return x[seen.flatten()]
    return x.contiguous() if x.dim() == 2 else x[seen]
