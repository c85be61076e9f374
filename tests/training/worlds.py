"""Runs for one process or several: `python -m tests.training.worlds FOLDER` makes those of three.

Each case returns what its run made. The first two processes make all of them together, then the
three make some; a process writes what it found, by the number of workers, to FOLDER/RANK.pt. `Gloo`
adds tensor by tensor over torch.distributed: it shares no code with the package.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, distributed, multiprocessing, nn

from lora_magic.adapters.fused import Fused
from lora_magic.base.recipe import SMALL
from lora_magic.data.row import Row
from lora_magic.errors import TrainingError
from lora_magic.interrupts import Stop
from lora_magic.training import batches, loop
from lora_magic.training.encode import Encoded, encode_labelled
from lora_magic.training.hooks import NoHooks
from lora_magic.training.preference import encode_preferences
from lora_magic.training.progress import Snapshot
from lora_magic.training.run import run
from lora_magic.training.spec import TrainSpec, plan
from lora_magic.training.summary import RunSummary
from lora_magic.training.world import World
from tests.classifiers import tiny_classifier
from tests.tiny import tiny_model
from tests.training.adapted import FORM, ROWS, TOKENIZER, adapted, encoded, trainable

LABELS = ("no", "so-so", "yes")
LABELLED = tuple(
    Row("The fox eats " + "mice, " * (n % 4) + str(n), LABELS[n % 3]) for n in range(9)
)
PAIRS = tuple(Row(f"What is {n}?", "arr, " * (1 + n), rejected="No " * (9 - n)) for n in range(9))

RANDOM = tuple(
    Row(f"What is {n}?", "".join(random.Random(n).choices("abcdefghij ", k=20))) for n in range(9)
)

#: The file with a snapshot of a run in a single process.
SNAPSHOT = "snapshot.pt"

#: What a case found: the trained weights before and after, and numbers or texts.
Found = dict[str, Any]


class Gloo(World):
    """Sums over the first processes of torch's own group."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.group = distributed.new_group(list(range(size)))

    def add(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            distributed.all_reduce(tensor, group=self.group)

    def sums(self, values: Sequence[float]) -> list[float]:
        found = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(found, group=self.group)
        return list(found.tolist())

    def first(self, values: Sequence[float]) -> list[float]:
        found = torch.tensor(values, dtype=torch.float64)
        distributed.broadcast(found, 0, self.group)
        return list(found.tolist())


class Kept:
    """Keeps the snapshot of a run that is stopped or paused."""

    snapshot: Snapshot | None = None

    def between_steps(self, snapshot: Callable[[], Snapshot]) -> None:
        return

    def stopped(self, snapshot: Callable[[], Snapshot]) -> None:
        self.snapshot = snapshot()


def spec_of(rows: int = len(ROWS), batch: int = 5, passes: int = 1, **flags: Any) -> TrainSpec:
    recipe = SMALL._replace(batch_size=-(-batch // passes), learning_rate=1e-2)
    length = {} if {"steps", "epochs"} & flags.keys() else {"steps": 10}
    return plan(recipe, rows, batch_size=batch, max_length=128, **length, **flags)


def vector(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in trainable(model)])


def train(
    world: World,
    model: nn.Module,
    data: Encoded | None = None,
    spec: TrainSpec | None = None,
    **more: Any,
) -> Found:
    start = vector(model)
    spec = spec or spec_of()
    summary = run("a", model, TOKENIZER, data or encoded(), spec, world=world, **more)
    return {"start": start, "end": vector(model), **told(summary)}


def told(summary: RunSummary) -> Found:
    names = ("losses", "held_out_losses", "ended", "best_step", "preferred", "steps")
    found = {name: getattr(summary, name) for name in names}
    return {**found, "accuracy": summary.accuracy_after, "step": summary.step}


def layers_of(model: nn.Module) -> Fused:
    return Fused({k: m for k, m in model.named_modules() if hasattr(m, "lora_A")})


def fused(world: World) -> Found:
    model = adapted()
    return train(world, model, layers=layers_of(model))


def small_last_step(world: World) -> Found:
    return train(world, adapted(), spec=spec_of(batch=3, epochs=2))


class Penalised(NoHooks):
    """Adds half the squared norm of the weights."""

    def __init__(self, model: nn.Module) -> None:
        self._weights = trainable(model)

    def penalty(self) -> Tensor:
        return sum(((w**2).sum() for w in self._weights), torch.zeros(())) / 2


def penalised(world: World) -> Found:
    model = adapted()
    return train(world, model, spec=spec_of(passes=3), hooks=Penalised(model))


def classifier(world: World) -> Found:
    model = tiny_classifier("bert", 3).requires_grad_(False)
    for name, parameter in model.named_parameters():
        # The gradient of a key's bias is 0: AdamW would make steps out of its rounding.
        last = "layer.1." in name and not name.endswith("key.bias")
        parameter.requires_grad_(last or name.startswith("classifier"))
    data = encode_labelled(LABELLED, TOKENIZER, LABELS, 128)
    return train(world, model, data, spec_of(len(LABELLED), 3, eval=3))


def preferences(world: World) -> Found:
    data = encode_preferences(PAIRS, TOKENIZER, FORM, 128)
    return train(world, adapted(), data, spec_of(len(PAIRS), 3, eval=3, prefers=True))


def full(world: World) -> Found:
    """Full fine-tuning learns a few rows by heart, which say nothing about others."""
    spec = spec_of(len(RANDOM), batch=3, steps=40, eval=3, patience=2, lr=1e-2)
    return train(world, tiny_model().requires_grad_(), encoded(RANDOM), spec)


def poisoned(world: World) -> Found:
    """The base cannot read the last row of the first step, which is the last worker's."""
    model, data, spec = adapted(), encoded(), spec_of()
    examples = list(data.examples)
    at = batches.steps(len(examples), spec)[0][-1][-1]
    odd = TOKENIZER.convert_tokens_to_ids(TOKENIZER.pad_token)
    examples[at] = replace(examples[at], tokens=(odd, *examples[at].tokens[1:]), number=at + 1)
    with torch.no_grad():
        model.get_input_embeddings().weight[odd] = float("nan")
    before = vector(model)
    try:
        train(world, model, replace(data, examples=tuple(examples)), spec)
    except TrainingError as error:
        return {"error": str(error), "start": before, "end": vector(model)}
    raise AssertionError("it trained on NaN")


class Asking(NoHooks):
    """Asks worker 0 to stop in step 3, and each other worker before the run."""

    def __init__(self, world: World) -> None:
        self.stop = threading.Event()
        if world.rank:
            self.stop.set()

    def after_update(self, step: int) -> None:
        if step == 3:
            self.stop.set()


def stopped(world: World) -> Found:
    hooks, kept = Asking(world), Kept()
    stop = Stop(hooks.stop, deferring=True)
    found = train(world, adapted(), hooks=hooks, stop=stop, keeper=kept)
    return {**found, "kept": kept.snapshot is not None}


def minutes(world: World) -> Found:
    """Only on worker 0 does time pass."""
    clock = patch.object(loop, "time", SimpleNamespace(perf_counter=lambda: 1.0))
    with clock if world.rank else contextlib.nullcontext():
        return train(world, adapted(), spec=spec_of(minutes=1e-9))


def halves(world: World, dropout: float = 0.0) -> Found:
    """Paused after 4 steps, and continued in another model."""
    kept, first, second = Kept(), adapted(dropout=dropout), adapted(dropout=dropout)
    train(world, first, spec=spec_of(passes=2), keeper=kept, until=4)
    start = handed_on(world, kept.snapshot)
    return {**continued(world, start, second), "snapshot": start}


def continued(world: World, start: Snapshot, model: nn.Module | None = None) -> Found:
    return train(world, model or adapted(), spec=spec_of(passes=2), start=start)


def handed_on(world: World, snapshot: Snapshot | None) -> Snapshot:
    """Worker 0's snapshot, on all workers."""
    boxes = [snapshot]
    if isinstance(world, Gloo):
        assert (snapshot is None) == (world.rank > 0)
        distributed.broadcast_object_list(boxes, 0, world.group)
    assert boxes[0] is not None
    return boxes[0]


class Masks(NoHooks):
    """What dropout draws from after each step."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def after_update(self, step: int) -> None:
        self.seeds.append(torch.initial_seed())


def dropped(world: World) -> Found:
    hooks = Masks()
    found = train(world, adapted(dropout=0.3), spec=spec_of(passes=2), hooks=hooks)
    return {**found, "seeds": hooks.seeds}


def short_of_memory(world: World) -> Found:
    """The last worker's memory runs out in its third forward pass and in its second measurement."""
    model = adapted()
    calls = {True: 0, False: 0}

    def fail(module: nn.Module, args: object) -> None:
        if world.rank != world.size - 1:
            return
        calls[module.training] += 1
        if calls[module.training] == (3 if module.training else 2):
            raise MemoryError

    norm: nn.Module = model.model.norm  # type: ignore[assignment, union-attr]  # a Llama's
    norm.register_forward_pre_hook(fail)
    spec = replace(spec_of(batch=4, passes=1, eval=3), plain_step=True)
    return {**train(world, model, spec=spec), "failed": calls}


class Processes(NoHooks):
    """What accelerate believes while the Trainer runs."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, str]] = set()

    def after_update(self, step: int) -> None:
        from accelerate import PartialState

        state = PartialState()
        self.seen.add((state.num_processes, state.distributed_type.value))


def believed(world: World) -> Found:
    from accelerate import PartialState

    def outside() -> object:
        groups = sorted(group.size() for group in distributed.distributed_c10d._world.pg_map)
        found = {k: v for k, v in os.environ.items() if "RANK" in k or "WORLD" in k}
        return PartialState().num_processes, groups, found

    hooks = Processes()
    before = outside()
    train(world, adapted(), hooks=hooks)
    return {"inside": hooks.seen, "same": outside() == before, "outside": before}


CASES: dict[str, Callable[[World], Found]] = {
    "plain": lambda world: train(world, adapted(), spec=replace(spec_of(), plain_step=True)),
    "fused": fused,
    "one row": lambda world: train(world, adapted(), spec=spec_of(batch=1)),
    "small last step": small_last_step,
    "penalised": penalised,
    "classifier": classifier,
    "preferences": preferences,
    "full": full,
    "stopped": stopped,
    "poisoned": poisoned,
    "minutes": minutes,
    "halves": halves,
    "whole": lambda world: train(world, adapted(), spec=spec_of(passes=2)),
    "halves with dropout": lambda world: halves(world, 0.3),
    "dropout": dropped,
    "memory": short_of_memory,
}

#: Enough to see that a worker's number is not taken for 0 or 1.
THREE = ("fused", "one row", "full", "classifier")


def everything(world: World, folder: Path) -> dict[str, Found]:
    """Each case, and "from one" if there is a snapshot of a run in a single process."""
    found = {name: case(world) for name, case in CASES.items()}
    if (folder / SNAPSHOT).exists():
        found["from one"] = continued(world, torch.load(folder / SNAPSHOT, weights_only=False))
    return found


def launched(rank: int, size: int) -> None:
    """Tell this process what a launcher tells it, and accelerate with it."""
    from accelerate import PartialState

    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(value) for name, value in names.items()})
    PartialState(cpu=True)


def main(rank: int, folder: Path) -> None:
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", store, rank=rank, world_size=3)
    launched(rank, 3)
    two, three = Gloo(rank, 2), Gloo(rank, 3)
    found = {2: everything(two, folder)} if rank < 2 else {}
    found[3] = {name: CASES[name](three) for name in THREE}
    found[3]["believed"] = believed(three)
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    # The three share what is imported, which takes as long as their runs.
    adapted()
    multiprocessing.start_processes(main, (Path(sys.argv[1]),), 3, start_method="fork")
