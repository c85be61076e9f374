"""`plan`: from the flags of load, attach and train to a plan of what they cost.

Knows recipes, flags and, if a base is loaded, its record; reads no weights. Imports torch only for
a base that is loaded, a live model, or `--gpu here`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base import BITS, DEMO
from lora_magic.base.number_format import CPU_BFLOAT16_FROM, CPU_FLOAT32_LIMIT, SHORT, chosen_format
from lora_magic.base.recipe import Recipe, embedded, recipe_for
from lora_magic.base.task import check_kind, names_of
from lora_magic.checks import is_number, is_whole
from lora_magic.cost import machine
from lora_magic.cost.cards import HERE
from lora_magic.cost.config import model_of
from lora_magic.cost.estimate import plan_of
from lora_magic.cost.machine import Place
from lora_magic.cost.model import Model
from lora_magic.cost.plan import OBJECT, CostPlan
from lora_magic.cost.setting import Setting
from lora_magic.cost.work import FULL, INFERENCE, Work, name_of, stored_bits
from lora_magic.errors import CommandError, StateError
from lora_magic.paths import quoted
from lora_magic.training.spec import plan as run_of

from .resolve import resolve_spec

if TYPE_CHECKING:
    from lora_magic.base.model import BaseModel

    from .session import Session
    from .session_state import SessionState, View

#: What a run reads and a disk stores if nobody says: tokens, and adapters.
TOKENS, TASKS = 1e6, 1000

#: The flags of `attach` that a plan reads.
_OF_ATTACH = frozenset({*(field.name for field in fields(AdapterSpec)), "for_"})

#: Rows of a run whose data is not known: enough for any batch.
_MANY = 10**6

#: The task of a base if nobody says.
CAUSAL = "causal"

_LONG = {short: name for name, short in SHORT.items()}


def plan(session: Session, model: object, flags: Mapping[str, Any]) -> CostPlan:
    """The plan of a model, or of the loaded base without one.

    Raises `StateError` without a model and without a base, `CommandError` for flags out of range,
    `BaseModelError` for a model that cannot be read, `AdapterError` for a spec that does not fit.
    """
    _check(flags)
    # Asking for the state would import torch.
    state = session._state if "_state" in session.__dict__ else None
    view = None if state is None else session._view()
    base = None if view is None else view.base
    if base is not None and (model is None or model is base.model):
        return _of_base(state, view, flags)  # type: ignore[arg-type]  # both are there with a base
    if model is None:
        raise StateError(
            "plan: no base is loaded; name a model, for example: %lora plan llama-3-8b"
        )
    read = {key: flags[key] for key in ("trust_remote_code", "task", "labels")}
    found = model_of(model, **read)
    recipe = embedded() if model == DEMO else recipe_for(found.parameters)
    place = machine.place_of(flags["gpu"], held=_held(base))
    dtype, why = _format(found, place, flags["dtype"])
    spec = resolve_spec("plan", recipe, _of_attach(flags))
    target = quoted(model) if isinstance(model, str) else OBJECT
    asked = _Asked(found, recipe, spec, dtype, place, flags, target=target, notes=(why,))
    return asked.answer()


def _of_base(state: SessionState, view: View, flags: Mapping[str, Any]) -> CostPlan:
    """The plan of the loaded base, with the active adapter's spec unless the flags are others."""
    from .queries import spec_of

    base = view.base
    assert base is not None  # the caller's condition
    for key, usual in (("task", CAUSAL), ("labels", None), ("trust_remote_code", False)):
        if flags[key] != usual:
            typed = key.replace("_", "-")
            raise CommandError(
                f"--{typed} is for a model that is not loaded: omit it, or name one: "
                f"%lora plan owner/model --{typed} …"
            )
    task, labels = base.task.kind, base.task.labels or None
    found = replace(
        model_of(base.model.config, task=task, labels=labels, trust_remote_code=True),
        name=base.name,
        shapes=state.slots.shapes,
        head=base.task.head,
        context=base.context,
    )
    given = _of_attach(flags)
    new = "rank_pattern" in given or "for_" in given
    spec = resolve_spec("plan", base.recipe, given) if new else spec_of(state, None, given)
    place = machine.place_of(flags["gpu"], base.device.type, _held(base))
    dtype = SHORT.get(str(base.dtype).removeprefix("torch."), "fp32")
    if flags["dtype"] is not None:
        dtype, _ = _format(found, place, flags["dtype"])
    name = view.active if view.active in view.adapters() else ""
    return _Asked(found, base.recipe, spec, dtype, place, flags, adapter=name).answer()


def _held(base: BaseModel | None) -> dict[str, int]:
    """The bytes of a loaded base by kind of device: another one would replace it."""
    if base is None:
        return {}
    unique = {t.data_ptr(): t.numel() * t.element_size() for t in base.model.parameters()}
    return {base.device.type: sum(unique.values())}


def _of_attach(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of `attach` that were given."""
    return {k: v for k, v in flags.items() if k in _OF_ATTACH and v is not None}


def _format(model: Model, place: Place, requested: object) -> tuple[str, str]:
    """The short name of the number format in which `load` would have this model there, and why."""
    name, why = chosen_format(
        requested,
        "cuda" if place.cuda else "cpu",
        _LONG.get(model.stored or "bf16", "float32"),
        model.parameters,
        bf16_hardware=place.bf16,
        # `load` tries whether bfloat16 gains; without torch the CPU's flags must do.
        gain=lambda: 2.0 if place.bf16 else 0.0,
    )
    short = SHORT.get(name, "fp32")
    tried = CPU_BFLOAT16_FROM <= model.parameters <= CPU_FLOAT32_LIMIT and model.stored == "bf16"
    if requested is None and not place.cuda and tried:
        why = "by this CPU's instructions; load measures it"
    return short, f"weights in {short}: {why}"


class _Asked(NamedTuple):
    """A model, and what is asked about it: everything that a plan takes, before it is computed."""

    model: Model
    recipe: Recipe
    spec: AdapterSpec
    dtype: str
    place: Place
    flags: Mapping[str, Any]
    target: str = ""
    adapter: str = ""
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> float:
        """How many tokens the run reads: at least as many as have a label."""
        return float(self.flags["tokens"] or max(TOKENS, self.flags["trained_tokens"] or 0))

    def answer(self) -> CostPlan:
        """The plan."""
        flags, place = self.flags, self.place
        if str(flags["gpu"]).lower() == HERE:
            place = machine.measured(place, self.dtype)
        ways, chosen = self.ways()
        work = Work(
            self.spec,
            ways,
            chosen,
            place,
            tokens=self.tokens,
            labelled=flags["trained_tokens"],
            tasks=flags["tasks"] or TASKS,
            price=flags["price"],
            target=self.target,
            typed=_typed(flags),
            adapter=self.adapter,
            notes=self.notes,
        )
        return plan_of(self.model, work)

    def ways(self) -> tuple[dict[str, Setting], str]:
        """The ways to compare by name, and the name of the one that the flags ask for."""
        # A recipe of the base's own is for its own bits; full fine-tuning has no targets to read.
        full = resolve_spec("plan", self.recipe, {"method": FULL})
        adapter = self.spec
        if adapter.method == FULL:
            adapter = resolve_spec("plan", self.recipe, {})
        bits = self.flags["bits"] or stored_bits(self.model)
        low = bits or BITS[0]
        ways = {
            INFERENCE: self.setting(None, bits),
            name_of(adapter, None): self.setting(adapter, None),
            name_of(adapter, low): self.setting(adapter, low),
            name_of(full, None): self.setting(full, None),
        }
        if self.spec.method == FULL and bits:
            ways[name_of(full, bits)] = self.setting(full, bits)
        return ways, name_of(self.spec, bits)

    def setting(self, spec: AdapterSpec | None, bits: int | None) -> Setting:
        """One way, by the recipe that a run of it would have; inference of one prompt."""
        flags, cuda = self.flags, self.place.cuda
        recipe = self.recipe.on_quantised(self.model.parameters, cuda) if bits else self.recipe
        run = run_of(
            recipe,
            _MANY,
            batch_size=flags["batch_size"],
            max_length=flags["max_length"],
            optimizer=flags["optimizer"],
            context=self.model.context or None,
            eval=0,
        )
        training, labelled = spec is not None, flags["trained_tokens"]
        rows = run.pass_size if training or flags["batch_size"] else 1
        here = rows * run.max_length
        # A checkpointed block does not get the cache through which virtual tokens act.
        able = spec is not None and not spec.virtual_tokens
        return Setting(
            dtype=self.dtype,
            bits=bits,
            rows=rows,
            length=run.max_length,
            spec=spec,
            training=training,
            optimizer=run.optimizer,
            checkpointing=able and (run.checkpointing or bool(flags["checkpointing"])),
            trained=max(1, round(here * labelled / self.tokens)) if training and labelled else None,
            cuda=cuda,
            passes=run.accumulation if training else 1,
        )


def _typed(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, as they can be typed again: a column of labels as names."""
    given = {key: value for key, value in flags.items() if value is not None and value is not False}
    if flags["labels"] is not None:
        given["labels"] = ",".join(names_of(flags["labels"]))
    if flags["task"] == CAUSAL:
        del given["task"]
    return given


def _check(flags: Mapping[str, Any]) -> None:
    """Raise one `CommandError` for every flag that only a plan reads and that is out of range."""
    check_kind(flags["task"], flags["labels"])
    if faults := list(_faults(flags)):
        raise CommandError(f"{'; '.join(faults)}.")


def _faults(flags: Mapping[str, Any]) -> Iterator[str]:
    if flags["bits"] is not None and flags["bits"] not in BITS:
        yield f"--bits {flags['bits']}: expected {' or '.join(map(str, BITS))}"
    for key in ("tokens", "trained_tokens", "price"):
        value = flags[key]
        if value is not None and not (is_number(value) and 0 < value < 1e30):
            typed = f"--{key.replace('_', '-')}"
            example = "2.5" if key == "price" else "1e6"
            yield f"{typed} {value!r}: expected a number above 0, for example {typed} {example}"
    if flags["tasks"] is not None and not (is_whole(flags["tasks"]) and 0 < flags["tasks"] < 1e12):
        yield f"--tasks {flags['tasks']!r}: expected a whole number from 1, for example --tasks 100"
    both = flags["tokens"], flags["trained_tokens"]
    if all(is_number(value) for value in both) and both[1] > both[0]:
        yield f"--trained-tokens {both[1]:g}: expected at most --tokens {both[0]:g}"
