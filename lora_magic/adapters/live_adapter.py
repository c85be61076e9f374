"""One adapter on one base: its replacement modules, its tensors and its history.

Knows the layers in slots; knows neither PEFT's classes nor the session. The public face
of an adapter is the frozen record `Adapter`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lora_magic.base.prompt import PromptForm
from lora_magic.interrupts import undisturbed
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.factors import LowRank
from lora_magic.numbers import percent, size, workers
from lora_magic.printable import message, one_line

from . import coverage
from .delta import PEFT_NAME, copy_in, low_rank_of, update_of
from .formula import ModuleCount
from .methods import METHODS, Method
from .prefix import VirtualTokens
from .slots import ROOT, Slots
from .spec import AdapterSpec
from .trainable_copy import TrainableCopy

if TYPE_CHECKING:
    from .files import Mark

State = Mapping[str, Tensor]

#: The label of virtual tokens, which have no module path.
VIRTUAL = "virtual tokens"

#: The name of virtual tokens among the model's modules during training.
_ROOT_NAME = "virtual_tokens"


@dataclass(frozen=True)
class History:
    """The training of an adapter so far; `elsewhere` if it was opened with a ΔW that is not 0.

    `made` says how it was made from other adapters, if it was, and `lost` what that lost of their
    ΔW.
    """

    steps: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    rows: int = 0
    elsewhere: bool = False
    made: str = ""
    lost: str = ""

    @property
    def ready(self) -> bool:
        """Was it trained, here or elsewhere, or made from others?"""
        return bool(self.steps or self.elsewhere or self.made)

    @property
    def line(self) -> str:
        """`60 steps, loss 3.1 → 0.6`, `0.7·a + 0.3·b`, `trained elsewhere`, or `not trained`."""
        if not self.steps and self.made:
            return self.made
        if not self.steps:
            return "trained elsewhere" if self.elsewhere else "not trained"
        steps = f"{self.steps} step{'s' * (self.steps != 1)}"
        if self.first_loss is None or self.last_loss is None:
            return steps
        return f"{steps}, loss {self.first_loss:.2f} → {self.last_loss:.2f}"


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found of an adapter: `run["evaluations"]` has these as plain values, by
    the hash of what was measured.

    The losses are in nats per token, None without one that is finite; `base_loss` is the base's on
    the same tokens, None if it reads the rows in another prompt form. `when` is a time in ISO 8601,
    `metrics` are means by name.
    """

    rows: int
    loss: float | None
    base_loss: float | None
    seconds: float
    when: str
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class Adapter:
    """An adapter as names and numbers: the record that `attach` and `open` return.

    `formula` is the method's count over its modules (Σ r·(d + k) for LoRA), `trainable` the count
    of its tensors; `differing` names the modules where the two differ. `checkpoint_bytes` is
    the size of its tensors. `ranks` are those in use by module: for AdaLoRA those that its budget
    left. `left_out` are the base's weights outside a low-rank adapter's modules, by kind. `active`
    says whether it was active when the record was made. `held_out` is the loss on the held-out rows
    of its last run with the weights that were kept (of a sweep: on those that did not decide), in
    nats; None without any. `workers` are those that shared its last run, as `2 workers (ray)`; ""
    for a run in one process.
    """

    name: str
    spec: AdapterSpec
    modules: tuple[str, ...]
    trainable: int
    formula: int
    differing: tuple[str, ...]
    base_parameters: int
    checkpoint_bytes: int
    history: History
    source: str | None = None
    parents: tuple[str, ...] = ()
    ranks: tuple[tuple[str, int], ...] = ()
    left_out: coverage.Parts = ()
    active: bool = False
    held_out: float | None = None
    workers: str = ""

    @property
    def ratio(self) -> float:
        """Trainable parameters over the base's."""
        return self.trainable / self.base_parameters

    @property
    def trained(self) -> bool:
        """Was it trained, here or elsewhere?"""
        return self.history.steps > 0 or self.history.elsewhere

    @property
    def line(self) -> str:
        """The receipt in one line."""
        count = sum(module != VIRTUAL for module in self.modules)
        where = f" on {count} module{'s' * (count != 1)}" if count else ""
        past = self.history
        made = f"; made as {past.made}, {past.lost}" if past.made else ""
        made += f"; {past.line}" if self.trained and past.line != past.made else ""
        made += "; active" if self.active else ""
        omitted = coverage.remark(self.left_out, self.base_parameters)
        made += f"; {omitted}" if omitted else ""
        # The targets and how it was made can come from a file.
        return message(
            f"{self.name}: {self.spec.line}{where}, "
            f"{self.trainable:,} of {self.base_parameters:,} parameters ({percent(self.ratio)}), "
            f"{size(self.checkpoint_bytes)} checkpoint{made}"
        )

    def __repr__(self) -> str:
        return one_line(self.line if self.trained else f"{self.line}; {self.history.line}")

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import receipt

        method = METHODS[self.spec.method]
        agree = "the tensors agree"
        if self.differing:
            agree = f"the tensors differ in {', '.join(self.differing)}"
        omitted = coverage.described(self.left_out, self.base_parameters)
        return receipt.bundle(
            line=self.line,
            facts=[
                ("modules", ", ".join(self.modules)),
                ("method", f"{method.title}; {method.source}"),
                ("by formula", f"{method.storage} = {self.formula:,}; {agree}"),
                *([("left out", omitted)] if omitted else []),
                ("seed", str(self.spec.seed)),
                ("state", self.history.line),
                *([("made from", ", ".join(self.parents))] if self.parents else []),
                *([("from", self.source)] if self.source else []),
            ],
        )


@dataclass(frozen=True)
class Record:
    """What is recorded about an adapter's weights: a change of the weights changes it, too."""

    form: PromptForm | None
    history: History
    run: Mapping[str, Any]
    example: str = ""
    saved_to: Path | None = None
    saved_as: Mark | None = None
    #: Not compared: the runs of two sessions are two, even if they did the same.
    steps: tuple[object, ...] = field(default=(), compare=False)


@dataclass(eq=False)
class LiveAdapter:
    """An adapter inside the session: live modules, never returned to the user.

    `replacements` are in the slots while it is active, by path; `originals` are the base's own
    modules there. `wrapper` is PEFT's model around the base, None for methods that PEFT does not
    have; `start` is the state that training begins from, `start_history` its training until then;
    `form` is the prompt form of its training;
    `saved_to` is the folder that has its current state, or None, and `saved_as` how that folder's
    files were then; `example` is a prompt of its last training, "" if there is none. `run` is the
    record of its last training, `parents` are the adapters that it was made from, `own` its
    parameters by (path, name). `steps` say how its weights were made, one after another, and
    `start_steps` those of its initial state: the runs, or what it was made or read from.
    """

    name: str
    spec: AdapterSpec
    wrapper: Any
    replacements: dict[str, nn.Module]
    originals: dict[str, nn.Module]
    base_parameters: int
    form: PromptForm | None = None
    counts: tuple[ModuleCount, ...] = ()
    start: dict[str, Tensor] = field(default_factory=dict)
    start_history: History = field(default_factory=History)
    history: History = field(default_factory=History)
    source: str | None = None
    saved_to: Path | None = None
    saved_as: Mark | None = None
    example: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    own: dict[tuple[str, str], nn.Parameter] = field(default_factory=dict)
    left_out: coverage.Parts = ()
    steps: tuple[object, ...] = ()
    start_steps: tuple[object, ...] = ()

    @property
    def method(self) -> Method:
        """Its row in the table of methods."""
        return METHODS[self.spec.method]

    def collect(self, slots: Slots) -> None:
        """Find the adapter's own parameters, after its layers are complete."""
        with slots.using({}):
            self.own = dict(_own(self.originals, self.replacements))
        if self.spec.rank and ROOT not in self.replacements:
            self.left_out = coverage.left_out(slots.shapes, self.replacements)

    def tensors(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The adapter's own parameters by `path.part`, each once, without the base's."""
        for (path, part), parameter in self.own.items():
            yield _joined(path, part), parameter

    def parameters_at(self, path: str) -> int:
        """How many parameters the adapter has at one path."""
        return sum(p.numel() for (where, _), p in self.own.items() if where == path)

    def trainable_copies(self) -> dict[str, TrainableCopy]:
        """The copies of the base's modules whose own parameters are trained, by path."""
        found = {path: copy_in(module) for path, module in self.replacements.items()}
        return {path: copy for path, copy in found.items() if copy is not None}

    def has_effect(self, state: State | None = None) -> bool:
        """Does the adapter change any output, or would it in another `state`?

        A fresh LoRA does not: its B is zero.
        """
        if self.tokens:
            return True
        last = (
            ("lora_B.", "lora_embedding_B.") if self.spec.method == "lora" else ("lora_E.", "up.")
        )
        copies = self.trainable_copies()
        for (path, part), own in self.own.items():
            value = own if state is None else state[_joined(path, part)]
            if path in copies and part.startswith("values."):
                if copies[path].differs(part.removeprefix("values."), value):
                    return True
            elif "ia3_l." in part:
                if bool((value != 1).any()):
                    return True
            elif any(name in part for name in last) and bool(value.count_nonzero()):
                return True
        return False

    def state(self) -> dict[str, Tensor]:
        """A copy of every tensor of the adapter."""
        return {name: parameter.detach().clone() for name, parameter in self.tensors()}

    def set_state(self, state: State) -> None:
        """Write a copy made by `state` back, bit for bit; an interrupt is deferred."""
        with undisturbed(), torch.no_grad():
            for name, parameter in self.tensors():
                parameter.copy_(state[name])

    def updates(self) -> dict[str, Update]:
        """ΔW of every matrix that the adapter changes, by path."""
        found = {
            path: update_of(self.originals[path], module)
            for path, module in self.replacements.items()
            if path != ROOT
        }
        return {path: update for path, update in found.items() if update is not None}

    def stackable(self) -> dict[str, LowRank] | None:
        """ΔW of every module as factors; None for an adapter that changes anything else."""
        return stackable(self.replacements)

    @property
    def tokens(self) -> int:
        """How many positions of the context the adapter uses."""
        root = self.replacements.get(ROOT)
        return root.count if isinstance(root, VirtualTokens) else 0

    def ranks(self) -> dict[str, int]:
        """The rank in use by module: for AdaLoRA the values that its budget left."""
        found = {}
        for count in self.counts:
            values = getattr(self.replacements.get(count.module), "lora_E", None)
            if count.rank:
                used = count.rank if values is None else int(values[PEFT_NAME].count_nonzero())
                found[count.module] = used
        return found

    @contextmanager
    def trainable(self) -> Iterator[None]:
        """The adapter's parameters, and no others, require a gradient during a block.

        Virtual tokens are then a submodule of the model, so `model.parameters()` includes them.
        """
        parameters = [parameter for _, parameter in self.tensors()]
        root = self.replacements.get(ROOT)
        try:
            if root is not None:
                self.originals[ROOT]._modules[_ROOT_NAME] = root
            for parameter in parameters:
                parameter.requires_grad_(True)
            yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(False)
                parameter.grad = None
            if root is not None:
                self.originals[ROOT]._modules.pop(_ROOT_NAME, None)

    def recorded(self) -> Record:
        """What is recorded about its weights."""
        run, example, saved = dict(self.run), self.example, (self.saved_to, self.saved_as)
        return Record(self.form, self.history, run, example, *saved, self.steps)

    def set_record(self, record: Record) -> None:
        """Set what is recorded about its weights."""
        self.form, self.history = record.form, record.history
        self.run, self.example = dict(record.run), record.example
        self.saved_to, self.saved_as = record.saved_to, record.saved_as
        self.steps = record.steps

    def record(self, active: bool = False, recorded: Record | None = None) -> Adapter:
        """This adapter as names and numbers, with what is recorded of its weights or was before."""
        recorded = recorded or self.recorded()
        tensors = [parameter for _, parameter in self.tensors()]
        return Adapter(
            name=self.name,
            spec=self.spec,
            modules=tuple(path or VIRTUAL for path in self.replacements),
            trainable=sum(tensor.numel() for tensor in tensors),
            formula=sum(count.formula for count in self.counts),
            differing=tuple(c.module for c in self.counts if c.formula != c.tensors),
            base_parameters=self.base_parameters,
            checkpoint_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
            history=recorded.history,
            source=self.source,
            parents=self.parents,
            ranks=tuple(self.ranks().items()),
            left_out=self.left_out,
            active=active,
            held_out=_held_out(recorded.run),
            workers=workers(recorded.run),
        )


def _held_out(run: Mapping[str, Any]) -> float | None:
    reported: float | None = (run.get("sweep") or {}).get("reported")
    return run.get("held_out_after") if reported is None else reported


def _joined(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part


def stackable(modules: Mapping[str, nn.Module]) -> dict[str, LowRank] | None:
    """ΔW of replacement modules as factors; None if one changes anything else."""
    found = {path: low_rank_of(module) for path, module in modules.items()}
    low = {path: update for path, update in found.items() if update is not None}
    return low if len(low) == len(found) else None


def _own(
    originals: Mapping[str, nn.Module], replacements: Mapping[str, nn.Module]
) -> Iterator[tuple[tuple[str, str], nn.Parameter]]:
    """Parameters of the replacements that the originals do not have; tied ones once."""
    seen = {
        id(parameter)
        for path, module in originals.items()
        if path != ROOT
        for parameter in module.parameters()
    }
    for path, module in replacements.items():
        for part, parameter in module.named_parameters():
            # PEFT's AdaLoRA keeps a count of ranks as a parameter that is never trained.
            # A DoRA on 4 bits keeps a packed copy of the base's weight after a forward pass.
            own = parameter.is_floating_point() and not part.startswith("ranknum")
            if own and id(parameter) not in seen:
                seen.add(id(parameter))
                yield (path, part), parameter
