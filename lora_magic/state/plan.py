"""`plan`: from the flags of load, attach and train to a plan of what they cost.

Knows recipes, flags and, if a base is loaded, its record; reads no weights. Imports torch only for
a base that is loaded, a live model, or `--gpu here`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base import BITS, DEMO
from lora_magic.base.number_format import CPU_FLOAT32_LIMIT, SHORT, chosen_format
from lora_magic.base.recipe import Recipe, embedded, recipe_for
from lora_magic.base.task import check_kind
from lora_magic.checks import is_number, is_whole
from lora_magic.cost import machine
from lora_magic.cost.cards import HERE
from lora_magic.cost.config import model_of
from lora_magic.cost.estimate import plan_of
from lora_magic.cost.machine import Place
from lora_magic.cost.model import Model
from lora_magic.cost.plan import CostPlan
from lora_magic.cost.setting import Setting
from lora_magic.cost.work import FULL, INFERENCE, Work, name_of, stored_bits
from lora_magic.errors import CommandError, StateError
from lora_magic.paths import quoted
from lora_magic.training.spec import plan as run_of

from .resolve import resolve_spec

if TYPE_CHECKING:
    from lora_magic.base.model import BaseModel

    from .session import Session
    from .session_state import SessionState

#: What a run reads and a disk stores if nobody says: tokens, and adapters.
TOKENS, TASKS = 1e6, 1000

#: The flags of `attach` that a plan reads.
_OF_ATTACH = frozenset({*(field.name for field in fields(AdapterSpec)), "for_"})

#: Rows of a run whose data is not known: enough for any batch.
_MANY = 10**6

_LONG = {short: name for name, short in SHORT.items()}


def plan(session: Session, model: object, flags: Mapping[str, Any]) -> CostPlan:
    """The plan of a model, or of the loaded base without one.

    Raises `StateError` without a model and without a base, `CommandError` for flags out of range,
    `BaseModelError` for a model that cannot be read, `AdapterError` for a spec that does not fit.
    """
    _check(flags)
    # Asking for the state would import torch.
    state = session._state if "_state" in session.__dict__ else None
    loaded = None if state is None or state.empty else state.base
    place = machine.place_of(flags["gpu"], _held(loaded))
    if model is None:
        if state is None or loaded is None:
            raise StateError(
                "plan: no base is loaded; name a model, for example: %lora plan llama-3-8b"
            )
        found, recipe = _of_base(state), loaded.recipe
        dtype = SHORT.get(str(loaded.dtype).removeprefix("torch."), "fp32")
    else:
        read = {key: flags[key] for key in ("trust_remote_code", "task", "labels")}
        found = model_of(model, **read)
        recipe = embedded() if model == DEMO else recipe_for(found.parameters)
        dtype = _dtype(found, place, flags["dtype"])
    if str(flags["gpu"]).lower() == HERE:
        place = machine.measured(place, dtype)
    return plan_of(found, _work(found, recipe, dtype, place, model, flags))


def _held(base: BaseModel | None) -> int:
    """The bytes of a loaded base, which another one would replace."""
    if base is None:
        return 0
    unique = {t.data_ptr(): t.numel() * t.element_size() for t in base.model.parameters()}
    return sum(unique.values())


def _of_base(state: SessionState) -> Model:
    """The loaded base, without what is in its slots."""
    from dataclasses import replace

    found = model_of(state.slots.pristine())
    return replace(found, name=state.base.name, head=state.base.task.head)


def _dtype(model: Model, place: Place, requested: object) -> str:
    """The short name of the number format in which `load` would have this model there."""
    stored = _LONG.get(model.stored or "bf16", "float32")
    # `load` tries whether bfloat16 gains; without torch the CPU's flags must do.
    trial = (lambda: 2.0 if place.bf16 else 0.0) if model.parameters <= CPU_FLOAT32_LIMIT else None
    name, _ = chosen_format(
        requested,
        "cuda" if place.cuda else "cpu",
        stored,
        model.parameters,
        bf16_hardware=place.bf16,
        gain=trial,
    )
    return SHORT.get(name, "fp32")


def _work(
    model: Model,
    recipe: Recipe,
    dtype: str,
    place: Place,
    given: object,
    flags: Mapping[str, Any],
) -> Work:
    """The ways to compare, and what the flags ask for."""
    of_attach = {key: value for key, value in flags.items() if key in _OF_ATTACH}
    spec = resolve_spec("plan", recipe, of_attach)
    adapter = spec if spec.method != FULL else resolve_spec("plan", recipe, {})
    full = resolve_spec("plan", recipe, {"method": FULL})
    bits = flags["bits"] or stored_bits(model)

    def setting(spec: AdapterSpec | None, bits: int | None) -> Setting:
        return _setting(model, recipe, flags, dtype, place, spec, bits)

    low = bits or BITS[0]
    ways = {
        INFERENCE: setting(None, bits),
        name_of(adapter, None): setting(adapter, None),
        name_of(adapter, low): setting(adapter, low),
        name_of(full, None): setting(full, None),
    }
    return Work(
        spec,
        ways,
        chosen=name_of(spec, bits),
        place=place,
        tokens=flags["tokens"] or TOKENS,
        labelled=flags["trained_tokens"],
        tasks=flags["tasks"] or TASKS,
        price=flags["price"],
        target=quoted(given) if isinstance(given, str) else "" if given is None else "model",
        typed={key: value for key, value in flags.items() if _is_given(key, value)},
        adapter="",
    )


def _is_given(flag: str, value: object) -> bool:
    return value not in (None, False) and (flag, value) != ("task", "causal")


def _setting(
    model: Model,
    recipe: Recipe,
    flags: Mapping[str, Any],
    dtype: str,
    place: Place,
    spec: AdapterSpec | None,
    bits: int | None,
) -> Setting:
    """One way, by the recipe that a run of it would have; inference of one prompt."""
    of_bits = recipe.on_quantised(model.parameters, place.cuda) if bits else recipe
    run = run_of(
        of_bits,
        _MANY,
        batch_size=flags["batch_size"],
        max_length=flags["max_length"],
        optimizer=flags["optimizer"],
        context=model.context or None,
        eval=0,
    )
    training = spec is not None
    return Setting(
        dtype=dtype,
        bits=bits,
        rows=run.pass_size if training or flags["batch_size"] else 1,
        length=run.max_length,
        spec=spec,
        training=training,
        optimizer=run.optimizer,
        checkpointing=training and (run.checkpointing or bool(flags["checkpointing"])),
        cuda=place.cuda,
    )


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
            yield f"{typed} {value!r}: expected a number above 0, for example {typed} 1e6"
    if flags["tasks"] is not None and not (is_whole(flags["tasks"]) and 0 < flags["tasks"] < 1e12):
        yield f"--tasks {flags['tasks']!r}: expected a whole number from 1, for example --tasks 100"
    both = flags["tokens"], flags["trained_tokens"]
    if all(is_number(value) for value in both) and both[1] > both[0]:
        yield f"--trained-tokens {both[1]:g}: expected at most --tokens {both[0]:g}"
