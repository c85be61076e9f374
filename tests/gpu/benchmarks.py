"""The rows of tests/benchmarks: the same names, and the figures that their own functions return.

Not here, since a GPU does not change what they measure: quickstart_speed, binder_memory, panel_cost
and plan_cost (a kernel's imports, memory and displays), threads_speed (threads of the CPU).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from lora_magic import demo
from lora_magic.adapters.methods import METHODS
from lora_magic.compare.generate import generate
from lora_magic.lowrank.stack import StackedLinear
from lora_magic.state.session import Session
from tests.benchmarks import (
    bases,
    compare,
    demo_cost,
    exports,
    latency,
    memory,
    methods,
    qlora,
    rates,
    training,
)
from tests.benchmarks.steps import Machine

from .table import NEEDS_GPU, Figure, Settings, row

NAMES = [f"a{number}" for number in range(5)]


@row("compare")
def compared(settings: Settings) -> Iterator[Figure]:
    """Five adapters in one pass, against one by one in the slots and in PEFT, and PEFT's batch."""
    base = compare.a_base(*((64, 2) if settings.small else (1024, 12))).to(settings.device)
    wrapped = compare.with_adapters(copy.deepcopy(base), NAMES, 16)
    error = _stack_error(base, wrapped)
    yield Figure("compare: stacked layer", error, "", "1e-5 of float64", error <= 1e-5)
    tokens = settings.size(4, 24)
    roads = compare.roads(base, wrapped, NAMES, tokens)

    def set_adapter() -> list[str]:
        texts = []
        for name in NAMES:
            wrapped.set_adapter(name)
            made = generate(
                wrapped.get_base_model(),
                compare.TOKENIZER,
                [compare.PROMPT],
                stop_ids=[],
                max_new_tokens=tokens,
            )
            texts.append(made[0].text)
        return texts

    roads["peft set_adapter"] = set_adapter
    texts = {name: road() for name, road in roads.items()}  # warms up
    agree = all(texts[name] == texts["stacked"] for name in roads if name != "base batch")
    yield Figure("compare: same answers", agree, "", "by every way, in fp32", agree)
    seconds = compare.measured(roads, settings.size(1, 3), time.perf_counter)
    for name in [name for name in roads if name != "stacked"]:
        pairs = zip(seconds[name], seconds["stacked"], strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        yield Figure(f"compare: {name} / stacked", ratio, "×")


@torch.no_grad()
def _stack_error(base: Any, wrapped: Any) -> float:
    """The largest relative error of one stacked layer against W0·x + s·B·A·x in float64."""
    path, layer = next(iter(compare.layers_of(wrapped).items()))
    original = base.get_submodule(path)
    updates = [compare.factors(layer, name) for name in NAMES]
    x = torch.randn(len(NAMES), 3, original.in_features, device=base.device)
    found = StackedLinear(original, updates)(x).double()
    whole = [original.weight.double() + update.dense(torch.float64) for update in updates]
    expected = torch.stack([rows.double() @ w.mT for rows, w in zip(x, whole, strict=True)])
    return float((found - expected).abs().max() / expected.abs().max())


@row("demo_cost")
def embedded(settings: Settings) -> Iterator[Figure]:
    """The embedded model: loading, speed and a training of 60 steps."""
    found = demo_cost.once()
    for name in ("load s", "train s", "tokens a second"):
        limit = demo_cost.LIMITS.get(name, "")
        yield Figure(f"demo_cost: {name}", found[name], "", f"{limit} on a CPU" if limit else "")


@row("qlora")
def quantised(settings: Settings) -> Iterator[Figure]:
    """Held-out loss on NF4 over that on bfloat16, on a base of 100M parameters."""
    sizes = {"width": 384, "layers": 1} if settings.small else {}
    qlora.build("base", settings.size(2, 30), **sizes)
    found = {bits: qlora.loss("base", bits, 0, settings.size(2, 40)) for bits in (None, 4)}
    ratio = found[4][1] / found[None][1]
    yield Figure("qlora: NF4", found[4][2], "", f"at most {qlora.BITS_LIMIT} bits", True)
    limit = qlora.LOSS_LIMIT
    yield Figure("qlora: loss, NF4 / bf16", ratio, "×", f"at most {limit}", ratio <= limit)


@row("methods")
def every_method(settings: Settings) -> Iterator[Figure]:
    """Each method: held-out loss, latency, merge error, and whether it reopens identical."""
    cases = methods.CASES[:1] if settings.small else methods.CASES
    for case in cases:
        found = methods.measured(case, 0, settings.size(2, 60), settings.size(1, 3))
        title = f"methods: {case.title}"
        better = found.loss < found.base_loss
        reference = f"below the base's {found.base_loss:.3f}"
        yield Figure(f"{title}, held-out loss", found.loss, "", reference, better)
        yield Figure(f"{title}, time a token / base's", found.latency, "×")
        if found.merge_error is not None:
            yield Figure(f"{title}, merge error", found.merge_error, "of the largest logit")
        yield Figure(f"{title}, reopened identical", found.reopened, "", "yes", found.reopened)


@row("rates")
def learning_rates(settings: Settings) -> Iterator[Figure]:
    """The loss at each method's own rate over the best of half, the same and twice that rate."""
    for name in ("lora",) if settings.small else ("lora", "adalora", "prefix", "houlsby", "full"):
        session, chosen = bases.plain(), METHODS[name].rate
        steps = settings.size(1, 60)
        losses = [rates.loss(session, chosen * by, name, steps) for by in (1, 0.5, 2)]
        session.reset()
        yield Figure(f"rates: {name}, chosen / best", losses[0] / min(losses), "×")


@row("training")
def a_step(settings: Settings) -> Iterator[Figure]:
    """Ours against PEFT + Trainer: one adapter, and four together where a run can."""
    machine = Machine(str(settings.device), torch.bfloat16 if settings.cuda else torch.float32)
    pairs, steps = settings.size(1, 3), settings.size(3, 6)
    for name in training.LARGE if training.can_train_together() else training.LARGE[:1]:
        case = training.CASES[name]
        load = case.load.small() if settings.small else case.load
        found = training.measured(load, pairs, steps, machine)
        ours = list(found.ways)[-1]
        speed, least, most = found.faster(ours, training.PEER)
        spread = f"{least:.2f} to {most:.2f}; to reach {case.speed:g}"
        yield Figure(f"training: {name}, {ours} / peer", speed, "× as fast", spread)
        peak = found.bytes(ours, training.PEER) if settings.cuda else NEEDS_GPU
        yield Figure(f"training: {name}, peak / peer's", peak, "", f"to reach {case.bytes}")
        yield Figure(f"training: {name}, of the limit", found.ways[ours].micro / found.limit, "×")


@row("predicted")
def predicted_memory(settings: Settings) -> Iterator[Figure]:
    """The peak of memory that a plan predicts from a config, over the measured one."""
    device = str(settings.device)
    small = dataclasses.replace(memory.TUNED[0], rows=2, length=64)
    for case in (small,) if settings.small else (*memory.TUNED, *memory.CHECK):
        with contextlib.chdir(settings.folder):
            measured = memory.measured(case, device)
        ratio = memory.predicted(case, device) / measured
        close = abs(ratio - 1) <= memory.LIMIT
        limit = f"{1 - memory.LIMIT:g} to {1 + memory.LIMIT:g}"
        yield Figure(f"predicted: {case.name}, predicted / measured", ratio, "", limit, close)


@row("latency")
def latencies(settings: Settings) -> Iterator[Figure]:
    """A pass and one more token, by method and size of a batch, over the base's."""
    size = "tiny" if settings.small else "full"
    found = latency.measured(size, settings.size(2, 5), Machine(str(settings.device)))
    kinds = {"pass": found.passes, "token": found.tokens}
    for kind, way, cell in ((k, *key) for k, cells in kinds.items() for key in cells):
        pairs = zip(kinds[kind][way, cell], kinds[kind]["base", cell], strict=True)
        ratio = statistics.median(here / base for here, base in pairs)
        if way != "base":
            yield Figure(f"latency: {way}, {kind} of {cell} / base's", ratio, "×")
    for verb, seconds in found.switches.items():
        yield Figure(f"latency: {verb}", statistics.median(seconds), "s")


@row("exports")
def exported(settings: Settings) -> Iterator[Figure]:
    """What another process reads of exports that were written here, against what it should read."""
    session = Session()
    session.load("demo", device=str(settings.device), home=str(settings.folder))
    session.attach("pirate")
    steps = settings.size(2, 60)
    session.train("pirate", data=demo.rows("pirate", 150), steps=steps, checkpoint_every=0)
    for kind in ("merged",) if settings.small else ("merged", "peft"):
        _, check = exports.receipt(session, "pirate", kind, settings.folder)
        same, limit = f"{check.same} of {len(check.prompts)}", f"{check.limit:.1e}, {check.reader}"
        yield Figure(f"exports: {kind}, worst", check.worst, check.measure, limit, True)
        yield Figure(f"exports: {kind}, same answers as here", same)
    session.reset()
