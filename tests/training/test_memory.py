"""Memory that runs out during a run, and gradients or losses that cannot be right."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lora_magic.errors import TrainingError
from lora_magic.training.reporter import LineReporter
from lora_magic.training.run import run
from lora_magic.training.spec import TrainSpec
from tests.training.adapted import TOKENIZER, adapted, encoded, trainable

ROOT = Path(__file__).parents[2]


def spec(batch: int = 4, passes: int = 1, *, plain_step: bool = True, **more: Any) -> TrainSpec:
    """Passes of the model's own forward, which a hook on it sees, one for each part of a step."""
    return TrainSpec(
        plain_step=plain_step,
        steps=4,
        epochs=1.0,
        learning_rate=0.02,
        batch_size=batch,
        accumulation=passes,
        max_length=128,
        seed=0,
        eval=0,
        **more,
    )


def change(model: nn.Module, before: list[Tensor]) -> Tensor:
    pairs = zip(trainable(model), before, strict=True)
    return torch.cat([(now.detach() - then).flatten() for now, then in pairs])


def copies(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in trainable(model)]


@contextmanager
def memory_for(model: nn.Module, rows: int, *, from_pass: int = 0) -> Iterator[list[int]]:
    """A forward pass of more rows than these runs out of memory; gives the sizes of all passes."""
    sizes: list[int] = []

    def full(module: object, args: object, given: dict[str, Tensor]) -> None:
        sizes.append(len(given["input_ids"]))
        if sizes[-1] > rows and len(sizes) > from_pass:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    hook = model.register_forward_pre_hook(full, with_kwargs=True)
    try:
        yield sizes
    finally:
        hook.remove()


@pytest.mark.parametrize(("rows", "from_pass"), [(2, 0), (1, 0), (2, 2), (1, 3)])
def test_a_run_out_of_memory_takes_the_same_steps_in_smaller_passes(
    rows: int, from_pass: int
) -> None:
    model, lines = adapted(), list[str]()
    before = copies(model)
    with memory_for(model, rows, from_pass=from_pass) as sizes:
        summary = run("a", model, TOKENIZER, encoded(), spec(), reporter=LineReporter(lines.append))
    assert max(sizes[-4:]) == rows
    plain = adapted()
    run("a", plain, TOKENIZER, encoded(), spec(passes=4 // rows))
    wanted = change(plain, before)
    assert float((change(model, before) - wanted).norm() / wanted.norm()) < 1e-3
    at = from_pass + 1
    assert summary.notes[0] == f"memory ran out at step {at}: 2 rows per pass instead of 4"
    assert len(summary.notes) == (1 if rows == 2 else 2)
    assert set(summary.notes) <= set(lines)
    assert all(note in summary.line for note in summary.notes)


def test_with_one_row_per_pass_it_recomputes_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted()
    before = copies(model)
    enabled: list[bool] = []

    def unless_recomputing(*_: object) -> None:
        enabled.append(bool(getattr(model, "is_gradient_checkpointing", False)))
        if not enabled[-1]:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = model.register_forward_pre_hook(unless_recomputing)
    summary = run("a", model, TOKENIZER, encoded(), spec())
    hook.remove()
    assert summary.notes[-1] == "memory ran out at step 1: gradient checkpointing from here on"
    assert enabled[-1]
    assert not model.is_gradient_checkpointing
    plain = adapted()
    run("a", plain, TOKENIZER, encoded(), spec(passes=4))
    wanted = change(plain, before)
    assert float((change(model, before) - wanted).norm() / wanted.norm()) < 1e-3


def test_an_adapter_that_cannot_recompute_is_told_what_is_left() -> None:
    model = adapted()
    with memory_for(model, 0), pytest.raises(TrainingError, match="even with 1 row per pass") as e:
        run("a", model, TOKENIZER, encoded(), replace(spec(), can_checkpoint=False))
    assert "gradient checkpointing" not in str(e.value)
    assert "--max-length" in str(e.value)


def test_no_memory_in_the_optimizer_s_step_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(torch.optim.AdamW, "step", full)
    with pytest.raises(TrainingError, match="out of memory in the optimizer's step"):
        run("a", adapted(), TOKENIZER, encoded(), spec())


def test_held_out_rows_are_measured_in_smaller_passes_too() -> None:
    model = adapted()
    with memory_for(model, 1):
        summary = run("a", model, TOKENIZER, encoded(), replace(spec(), eval=3))
    plain = run("a", adapted(), TOKENIZER, encoded(), replace(spec(passes=4), eval=3))
    assert summary.held_out_before == pytest.approx(plain.held_out_before, rel=1e-5)
    assert summary.held_out_after == pytest.approx(plain.held_out_after, rel=1e-3)


#: Trains in passes of eight rows with so much memory left; prints the change's distance from that
#: of a run that began with the passes it ended with, its notes, and its peak.
CHILD = """
import dataclasses, resource, sys
import torch
torch.set_num_threads(1)
import lora_magic.state.prepare as training
from lora_magic.state.session import Session

def size(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

session = Session()
session.load("demo")
session.attach("a", rank=2)
rows = [(f"What is {i}?", "It is a long answer about things, " * 22) for i in range(8)]
attached = session._state.attached["a"]

def weights():
    return torch.cat([value.flatten().double() for value in attached.state().values()])

start = weights()
session.train("a", rows, steps=1, batch_size=1, eval=0)
room = size("VmSize") + int(sys.argv[1]) * 2**20
before = size("VmPeak")
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (room, hard))
summary = session.train("a", rows, steps=2, batch_size=8, eval=0)
assert size("VmPeak") <= max(room, before)
resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
change, made = weights() - start, training.plan
passes = 8 // int(summary.notes[-1].partition(": ")[2].split()[0])
training.plan = lambda *a, **k: dataclasses.replace(made(*a, **k), accumulation=passes)
session.train("a", rows, steps=2, batch_size=8, eval=0)
wanted = weights() - start
print(float((change - wanted).norm() / wanted.norm()), summary.notes, bool(session.verify()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's address space")
def test_a_real_lack_of_memory_ends_at_the_weights_of_a_run_in_those_passes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "30"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    distance, rest = done.stdout.strip().splitlines()[-1].split(" ", 1)
    assert float(distance) < 1e-3
    assert "memory ran out at step" in rest
    assert rest.endswith("True")


# Gradients and losses that cannot be right


def test_gradients_that_are_all_zero_are_an_error_at_step_one() -> None:
    model = adapted()
    before = copies(model)
    trained = {id(parameter) for parameter in trainable(model)}
    for module in model.modules():
        # The layer's output no longer depends on the adapter, as after a careless patch.
        if hasattr(module, "lora_A"):
            module.forward = module.base_layer.forward
    head = nn.Parameter(torch.zeros(()))
    model.register_parameter("offset", head)
    with pytest.raises(TrainingError, match=r"all gradients are zero at step 1"):
        model.register_forward_hook(_adding(head), with_kwargs=False)
        run("a", model, TOKENIZER, encoded(), spec())
    assert all(id(p) in trained or p is head for p in trainable(model))
    assert not change_of(model, before, head)


def test_two_zero_factors_are_named_as_the_reason() -> None:
    model = adapted()
    with torch.no_grad():
        for parameter in trainable(model):
            parameter.zero_()
    with pytest.raises(TrainingError, match=r"all zero, A and B.*%lora attach a --replace"):
        run("a", model, TOKENIZER, encoded(), spec())


def _adding(parameter: Tensor) -> Callable[..., Any]:
    """Makes the loss depend on a parameter in form, with a gradient of exactly zero."""

    def hook(module: object, args: object, output: Any) -> Any:
        output["loss"] = output["loss"] + 0 * parameter
        return output

    return hook


def change_of(model: nn.Module, before: list[Tensor], but: Tensor) -> bool:
    now = [parameter for parameter in trainable(model) if parameter is not but]
    return any(not torch.equal(a, b) for a, b in zip(now, before, strict=True))


def test_a_gradient_of_zero_for_a_alone_is_right_at_step_one() -> None:
    """B is zero at first, so A has no gradient yet."""
    model = adapted()
    assert any(not bool(p.any()) for n, p in model.named_parameters() if "lora_B" in n)
    assert run("a", model, TOKENIZER, encoded(), spec()).steps == 4


def test_nan_in_the_base_is_the_base_s() -> None:
    model = adapted()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match=r"base's own output is not finite \(.*up_proj") as e:
        run("a", model, TOKENIZER, encoded(), spec())
    assert "--lr" not in str(e.value)


def test_nan_in_a_row_is_the_row_s() -> None:
    model = adapted()
    odd = encoded()
    # The token that only the last row has.
    others = {token for example in odd.examples[:-1] for token in example.tokens}
    only = next(token for token in odd.examples[-1].tokens if token not in others)
    embedding = model.get_input_embeddings()

    def overflow(module: object, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        found = (args[0] == only).unsqueeze(-1)
        return output.masked_fill(found, float("inf"))

    embedding.register_forward_hook(overflow)
    with pytest.raises(TrainingError, match=r"not finite for row 7\b") as e:
        run("a", model, TOKENIZER, odd, spec(batch=7))
    assert "--lr" not in str(e.value)


def test_nan_of_the_run_is_the_rate_s() -> None:
    with pytest.raises(TrainingError, match="--lr 100000: lower it"):
        run("a", adapted(), TOKENIZER, encoded(), replace(spec(), learning_rate=1e5, steps=60))


@pytest.mark.parametrize("rows", [4, 2])
def test_the_reference_of_preferences_is_measured_in_smaller_passes_too(rows: int) -> None:
    """A pair is two sequences: of four pairs in a pass, eight."""
    from tests.training.test_preference import ROWS, pairs

    model, plain = adapted(), adapted()
    settings = {"batch_size": 4, "beta": 0.3}
    before = copies(model)
    with memory_for(model, rows) as sizes:
        found = run("a", model, TOKENIZER, pairs(ROWS[:4]), replace(spec(), **settings))
    assert sizes[0] == 8
    assert max(sizes[len(found.notes) :]) == rows
    assert found.notes[0] == "memory ran out at step 1: 2 rows per pass instead of 4"
    run("a", plain, TOKENIZER, pairs(ROWS[:4]), replace(spec(passes=8 // rows), **settings))
    wanted = change(plain, before)
    assert float((change(model, before) - wanted).norm() / wanted.norm()) < 1e-3
