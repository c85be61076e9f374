"""What the workers of `test_fsdp` do: a run of the session, then models of their own, split."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from lora_magic.adapters.spec import BASE_NAME
from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Row
from lora_magic.interrupts import Stop
from lora_magic.scale import fsdp
from lora_magic.scale.work import Seat
from lora_magic.state import train as alone
from lora_magic.state import worker_run
from lora_magic.state.prepare import Job
from lora_magic.state.session import Session
from lora_magic.training.encode import encode, encode_labelled
from lora_magic.training.preference import encode_preferences
from lora_magic.training.reporter import SilentReporter
from lora_magic.training.spec import TrainSpec
from lora_magic.training.world import World
from tests.classifiers import tiny_classifier
from tests.tiny import tiny_model, tiny_tokenizer

#: What `train` writes into the session's home.
FOUND = "split.json"

ROWS = [Row(f"What is {n}?", "It is " + "arr, " * (1 + 2 * n) + "matey!") for n in range(5)]
PAIRS = [replace(row, rejected="It is not.") for row in ROWS]
LABELLED = [Row(f"What is {n}?", f"LABEL_{n % 2}") for n in range(5)]

#: Steps of three rows; those of one leave a worker without any.
SPEC = TrainSpec(
    steps=3, epochs=1.0, learning_rate=1e-2, batch_size=3, accumulation=1, max_length=128, seed=0,
    eval=0.2, plain_step=True,
)  # fmt: skip
ONE = replace(SPEC, batch_size=1)
LABELS = replace(ONE)

#: An architecture, the flags of `attach`, the rows, and the run.
CASES: dict[str, tuple[str, dict[str, Any], list[Row], TrainSpec]] = {
    "lora": ("llama", {"targets": "all-linear"}, ROWS, ONE),
    "checkpointing": ("llama", {"dora": True}, ROWS, replace(ONE, checkpointing=True)),
    "tied, in float64": ("gemma", {"targets": "all-linear"}, ROWS, SPEC),
    "pissa, with dropout": ("mistral", {"init": "pissa"}, ROWS, SPEC),
    "eva": ("llama", {"init": "eva", "rank": 2}, ROWS, SPEC),
    "adalora": ("qwen2", {"method": "adalora", "rank": 2}, ROWS, replace(SPEC, steps=10)),
    "ia3": ("gpt_neox", {"method": "ia3"}, ROWS, SPEC),
    "prefix": ("llama", {"method": "prefix"}, ROWS, SPEC),
    "houlsby": ("gpt2", {"method": "houlsby"}, ROWS, SPEC),
    "adapter-l": ("phi", {"method": "adapter-l"}, ROWS, SPEC),
    "embedding and head": ("llama", {"targets": "embed_tokens,lm_head"}, ROWS, SPEC),
    "preferences": ("llama", {}, PAIRS, replace(ONE, beta=0.1)),
    "classifier": ("llama", {}, LABELLED, LABELS),
}


def train(request: worker_run.Request, seat: Seat) -> worker_run.Finished | None:
    """`worker_run.train`; then what is found of the cases is written into the home folder."""
    finished = worker_run.train(request, seat)
    assert request.keeper is not None
    assert finished is not None
    home = request.keeper.home
    found: dict[str, Any] = {"run": {"same": same(list(finished.weights.values()), seat.world)}}
    for name, case in CASES.items():
        found[name] = tried(*case, seat, home / str(seat.world.rank))
    if seat.world.rank == 0:
        (home / FOUND).write_text(json.dumps(found))
    return finished


def tried(
    architecture: str,
    flags: dict[str, Any],
    rows: list[Row],
    spec: TrainSpec,
    seat: Seat,
    home: Path,
) -> dict[str, float]:
    """The same run on a whole base alone, and on a split one together."""
    session, classifies = Session(), spec is LABELS
    session.home = home
    model: Any = (tiny_classifier if classifies else tiny_model)(architecture)
    session.use(model.double() if architecture == "gemma" else model, tiny_tokenizer())
    session.attach("one", **flags)
    state = session._state
    adapter = state.attached["one"]
    start = adapter.state()
    tokenizer = state.base.tokenizer
    if classifies:
        encoded = encode_labelled(rows, tokenizer, state.base.task.labels, 128)
    else:
        read = encode if spec.beta is None else encode_preferences
        encoded = read(rows, tokenizer, PromptForm.of(tokenizer), 128)

    def run(world: World | None) -> tuple[list[torch.Tensor], float]:
        alone.begin(state, adapter, initial=True)
        with Stop(None, deferring=True) as stop:
            summary = alone.steps(
                state, adapter, Job(encoded, spec), SilentReporter(), stop, world=world
            )
        state.activate(BASE_NAME)
        assert summary.held_out_after is not None
        return list(adapter.state().values()), summary.held_out_after

    wanted, held_out = run(None)
    whole = [weakref.ref(tensor) for tensor in model.parameters()]
    numbers = sum(parameter.numel() for parameter in model.parameters())
    fsdp.split(state.base, adapter.replacements.values(), seat)
    parts = [tensor for tensor in model.parameters() if isinstance(tensor, DTensor)]
    gc.collect()  # the Trainer's cycles
    left = sum(one() is not None for one in whole)
    found, measured = run(seat.world)
    change = distance(wanted, list(start.values()))
    return {
        "difference": distance(found, wanted) / change,
        "change": change,
        "held_out": abs(measured - held_out) / held_out,
        "share": sum(part.to_local().numel() for part in parts) / numbers,
        "whole": left,
        "same": same(found, seat.world),
    }


def distance(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    """‖a − b‖ over all tensors."""
    pairs = zip(a, b, strict=True)
    return float(torch.cat([(x.double() - y.double()).flatten() for x, y in pairs]).norm())


def same(tensors: list[torch.Tensor], world: World) -> bool:
    """Do all workers have the same bits?"""
    own = torch.cat([tensor.double().flatten() for tensor in tensors]).tolist()
    return world.sums([float(world.first(own) != own)]) == [0.0]
