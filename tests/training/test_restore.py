"""What a run leaves behind: nothing but trained weights."""

from __future__ import annotations

import gc
import logging
import os
import random
import subprocess
import sys
import tempfile
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn

from lora_magic.base.recipe import SMALL
from lora_magic.base.restore import namespaces, restoring
from lora_magic.errors import TrainingError
from lora_magic.training.reporter import RunPlan, StepPoint
from lora_magic.training.run import run
from lora_magic.training.spec import plan
from lora_magic.training.summary import RunSummary
from tests.training.adapted import ROWS, TOKENIZER, adapted, encoded, trainable


def picture(model: nn.Module) -> dict[str, Any]:
    """All of a model but its weights' values: attributes, hooks, flags, identities, config."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            inner = {k: id(v) for k, v in value.items()} if isinstance(value, dict) else id(value)
            found[f"{name}.{key}"] = inner
        found[f"{name}.training"] = module.training
    for name, parameter in model.named_parameters():
        found[f"{name}.parameter"] = (parameter.data_ptr(), parameter.requires_grad, parameter.grad)
        if not parameter.requires_grad:
            found[f"{name}.version"] = parameter._version
    found["config"] = {key: repr(value) for key, value in vars(model.config).items()}
    return found


class Breaking:
    """A listener that raises at a step."""

    def __init__(self, error: BaseException, step: int) -> None:
        self._error, self._step = error, step

    def start(self, plan: RunPlan) -> None:
        if self._step == 0:
            raise self._error

    def step(self, point: StepPoint) -> None:
        if self._step == point.step:
            raise self._error

    def finish(self, summary: RunSummary) -> None:
        if self._step < 0:
            raise self._error


def go(model: nn.Module, listener: Any = None) -> RunSummary:
    spec = plan(SMALL, len(ROWS), steps=3, batch_size=4, eval=1, max_length=128)
    return run("a", model, TOKENIZER, encoded(), spec, reporter=listener)


def prepared() -> nn.Module:
    """An adapted model whose flags and hooks are those of nobody's default."""
    model = adapted()
    model.config.use_cache = True
    next(model.children()).train()
    trainable(model)[0].grad = torch.ones_like(trainable(model)[0])
    model.register_forward_hook(lambda *_: None)
    model.note = {"mine": 1}
    return model


def test_after_a_run_the_model_is_as_it_was_but_for_the_trained_values() -> None:
    model = prepared()
    before = picture(model)
    go(model)
    assert picture(model) == before


@pytest.mark.parametrize("step", [0, 2, -1])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken"), TrainingError("x")])
def test_after_an_error_the_model_is_as_it_was(error: BaseException, step: int) -> None:
    model = prepared()
    before = picture(model)
    with pytest.raises(type(error)):
        go(model, Breaking(error, step))
    assert picture(model) == before


def test_what_is_added_replaced_or_hooked_within_the_block_is_gone_after_it() -> None:
    model = adapted()
    before = picture(model)

    def spoil() -> None:
        model.forward = lambda **_: None
        model._is_prepared = True
        model.config.use_cache = not model.config.use_cache
        model.config.extra = 1
        inner = next(model.children())
        inner.register_forward_pre_hook(lambda *_: None)
        inner.register_buffer("extra", torch.ones(1))
        inner.child = nn.Linear(1, 1)
        model.train()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), restoring(*namespaces(model)):
        spoil()
    assert picture(model) == before


def generators() -> tuple[Any, ...]:
    array = np.random.get_state()
    return random.getstate(), array[1].tolist(), array[2:], torch.get_rng_state().tolist()


@pytest.mark.parametrize("listener", [None, Breaking(KeyboardInterrupt(), 1)])
def test_the_random_generators_go_on_as_if_no_run_had_been(listener: Any) -> None:
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    before = generators()
    try:
        go(adapted(dropout=0.1), listener)
    except KeyboardInterrupt:
        assert listener is not None
    assert generators() == before


@pytest.mark.usefixtures("nothing_frozen")
def test_the_process_around_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.utils import logging as library

    # Other processes make folders in the common one.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    states: list[Callable[[], Any]] = [
        lambda: dict(os.environ),
        library.get_verbosity,
        lambda: list(warnings.filters),
        lambda: logging.root.manager.disable,
        lambda: [dict(s._shared_state) for s in (PartialState, AcceleratorState, GradientState)],
        lambda: sorted(Path(tempfile.gettempdir()).glob("lora_magic-*")),
        lambda: sorted(Path().iterdir()),
        gc.get_freeze_count,
        torch.is_grad_enabled,
    ]
    assert gc.get_freeze_count() == 0
    go(adapted())
    before = [state() for state in states]
    go(adapted())
    assert [state() for state in states] == before


def test_nothing_of_a_run_keeps_the_model_alive() -> None:
    model = adapted()
    alive = weakref.ref(model)
    summary = go(model)
    del model
    gc.collect()
    assert alive() is None
    assert summary.steps == 3


def test_out_of_memory_frees_the_activations_while_the_error_is_kept() -> None:
    model, activations = adapted(), []

    def fill_up(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        kept = output * 1  # a local of a frame below the run's
        activations.append(weakref.ref(kept))
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.lm_head.register_forward_hook(fill_up)
    with pytest.raises(TrainingError, match="out of memory even with 1 row") as caught:
        go(model)
    assert caught.value.__suppress_context__
    assert activations
    assert not any(tensor() is not None for tensor in activations)


def test_a_run_prints_nothing_at_all() -> None:
    code = (
        "from tests.training.test_restore import go, adapted\n"
        "import sys; sys.stderr.flush(); sys.stdout.flush()\n"
        "print('MARK', flush=True); print('MARK', file=sys.stderr, flush=True)\n"
        "go(adapted()); go(adapted('gpt2'))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("MARK\n")[1] == ""
    assert done.stderr.split("MARK\n")[1] == ""


def test_importing_a_run_imports_no_trainer() -> None:
    code = (
        "import sys, lora_magic.training.run, lora_magic.data.sources\n"
        "print([n for n in ('transformers', 'accelerate', 'peft', 'pandas') if n in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
