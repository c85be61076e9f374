"""Rows at the shapes of real bases, with random weights: training, comparing, merging, asking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from lora_magic.adapters.delta import factors_of, scaling_of
from lora_magic.state.session import Session
from lora_magic.training.reporter import SilentReporter, StepPoint

from . import bases
from .table import Figure, Settings, row

NAMES = ("a", "b", "c", "d", "e")
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Times(SilentReporter):
    """Keeps the steps of a run."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[StepPoint] = []

    def step(self, point: StepPoint) -> None:
        self.points.append(point)

    @property
    def seconds(self) -> float:
        """Of one step, without the first."""
        first, last = self.points[0], self.points[-1]
        return (last.elapsed - first.elapsed) / (last.step - first.step)

    @property
    def tokens(self) -> float:
        """Tokens of one step."""
        last = self.points[-1]
        return last.tokens_per_second * last.elapsed / last.step


def _session(settings: Settings, shape: str, bits: int | None) -> Session:
    dtype = torch.bfloat16 if settings.cuda else torch.float32
    model = bases.a_model("tiny" if settings.small else shape, settings, dtype)
    session = Session()
    session.use(bases.quantise(model) if bits else model, bases.TOKENIZER)
    return session


def _shape(settings: Settings, title: str, shape: str, bits: int | None) -> Iterator[Figure]:
    before = settings.allocated()
    session = _session(settings, shape, bits)
    yield Figure(f"{title}: base", session._state.record().format)
    session.attach(NAMES[0])
    settings.restart_peak()
    times = Times()
    run = session.train(
        NAMES[0], bases.rows(settings.size(24, 512)), steps=4, reporter=times, max_length=1024
    )
    yield Figure(f"{title}: train, one step", times.seconds, "s", f"{run.batch_size} rows")
    yield Figure(f"{title}: train", times.tokens / times.seconds, "tokens/s", "prompts included")
    yield Figure(f"{title}: train, peak", settings.peak(), "GB")
    for name in NAMES[1:]:
        session.attach(name)
        bases.perturb(session, name)
    yield from _compared(settings, session, title)
    yield from _merged(settings, session, title)
    seconds = settings.seconds(lambda: session.spectrum(NAMES[1]))
    yield Figure(f"{title}: spectrum of an adapter", seconds, "s")
    report = session.verify()
    yield Figure(f"{title}: verify", report.seconds, "s", "base unchanged", bool(report))
    session.reset()
    yield settings.left(title, before)


def _compared(settings: Settings, session: Session, title: str) -> Iterator[Figure]:
    """Base and five adapters in one pass against `swap` and `ask` one by one."""
    tokens, panes = settings.size(4, 32), []
    session.compare(bases.PROMPT, adapters=NAMES, max_new_tokens=2)  # warms up

    def one_by_one() -> None:
        for name in ("base", *NAMES):
            session.swap(name)
            panes.append(session.ask(bases.PROMPT, max_new_tokens=tokens))

    together = session.compare(bases.PROMPT, adapters=NAMES, max_new_tokens=tokens)
    pane = together.panes[0]
    yield Figure(f"{title}: compare base and 5", pane.seconds, "s", "one pass", pane.batched)
    seconds = settings.seconds(one_by_one)
    yield Figure(f"{title}: one by one / one pass", seconds / pane.seconds, "×")
    speed = sum(answer.tokens for answer in panes) / sum(answer.seconds for answer in panes)
    yield Figure(f"{title}: ask", speed, "tokens/s", "one row")
    same = sum(answer.text == pane.text for answer, pane in zip(panes, together.panes, strict=True))
    yield Figure(f"{title}: same answers in both ways", same, "of 6", "ties may differ in bf16")


def _merged(settings: Settings, session: Session, title: str) -> Iterator[Figure]:
    session.swap(NAMES[1])
    before = bases.logits(session)
    path, layer = next(iter(session._state.slots.written.items()))
    expected = _dense(session, path, layer)
    yield Figure(f"{title}: merge", settings.seconds(lambda: session.merge(NAMES[1])), "s")
    found: Any = session.model.get_submodule(path)
    if expected is not None:
        step = torch.finfo(found.weight.dtype).eps  # two roundings may differ by one step
        right = torch.allclose(found.weight.double(), expected, rtol=step, atol=1e-8)
        yield Figure(f"{title}: a merged weight", right, "", "W0 + s·B·A in float64", right)
    yield Figure(f"{title}: unmerge", settings.seconds(session.unmerge), "s")
    exact = torch.equal(bases.logits(session), before) and bool(session.verify())
    yield Figure(f"{title}: unmerged logits and base", exact, "", "the same bits", exact)


def _dense(session: Session, path: str, layer: Any) -> torch.Tensor | None:
    """W0 + s·B·A of one layer in float64; None for a quantised weight."""
    weight = session._state.slots.original(path).weight
    if not weight.is_floating_point() or hasattr(weight, "quant_state"):
        return None
    down, up = factors_of(layer)
    return weight.double() + scaling_of(layer) * (up.double() @ down.double())


@row("1b-bf16")
def one_billion(settings: Settings) -> Iterator[Figure]:
    """1B parameters, 16 layers of width 2048."""
    yield from _shape(settings, "1b-bf16", "1B", None)


@row("7b-nf4")
def seven_billion_in_four_bits(settings: Settings) -> Iterator[Figure]:
    """7B parameters, 32 layers of width 4096, the linear layers in NF4."""
    yield from _shape(settings, "7b-nf4", "7B", 4)


@row("7b-bf16")
def seven_billion(settings: Settings) -> Iterator[Figure]:
    """The same in bfloat16."""
    yield from _shape(settings, "7b-bf16", "7B", None)


@row("merge")
def merge(settings: Settings) -> Iterator[Figure]:
    """`merge` and `unmerge` against PEFT's, which adds to the weights in place, on the 1B shape."""
    session = _session(settings, "1B", None)
    session.attach(NAMES[0], rank=16, targets="all-linear")
    bases.perturb(session, NAMES[0])
    session.merge(NAMES[0])  # warms up
    session.unmerge()
    ours = [settings.seconds(work) for work in (lambda: session.merge(NAMES[0]), session.unmerge)]
    model, verified = session.model, bool(session.verify())
    session.reset()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = get_peft_model(model, LoraConfig(r=16, target_modules=ALL_LINEAR))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.01)
    wrapped.merge_adapter()
    wrapped.unmerge_adapter()
    theirs = [settings.seconds(work) for work in (wrapped.merge_adapter, wrapped.unmerge_adapter)]
    for verb, own, peft in zip(("merge", "unmerge"), ours, theirs, strict=True):
        yield Figure(f"merge: {verb}", own, "s", "base unchanged", verified)
        yield Figure(f"merge: {verb} / PEFT's", own / peft, "×")
    after = wrapped.unload().state_dict()
    changed = sum(not torch.equal(value, after[name]) for name, value in weights.items())
    yield Figure("merge: tensors that PEFT's undo leaves changed", changed, f"of {len(weights)}")
