"""The lines of a script that put a fresh adapter on the base, and those that save it, with PEFT.

Knows adapters' specs and the bridge's configs; knows no rows and no step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lora_magic.adapters import bridge
from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.targets import shortest
from lora_magic.adapters.training_hooks import Schedule
from lora_magic.errors import ExportError

from .planned import Planned
from .source import About, Part

#: The methods that PEFT and transformers have as they are here.
WRITTEN = ("lora", "adalora", "ia3", "prefix", "prompt", "full")

#: AdaLoRA's penalty on P and Q, as a mean over the matrices (equation 4 of its paper).
ORTHOGONALITY = "0.5 * from_orthogonal(model)"

#: AdaLoRA's ranks after a step; `FIXED` is the step that sets the final ones.
BUDGET = """
for parameter in model.parameters():
    if parameter.grad is not None:
        parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
if step + 1 <= FIXED:
    _, found = allocator.update_and_allocate(model, step + 1, force_mask=step + 1 == FIXED)
    ranks = found or ranks
elif ranks is not None:
    allocator.mask_using_rank_pattern(model, ranks)
"""

_FROM_ORTHOGONAL = '''
def from_orthogonal(model):
    """The mean distance of AdaLoRA's P and Q from orthogonality."""
    distances = []
    for module in model.modules():
        if hasattr(module, "lora_E"):
            for rows in (module.lora_A["default"], module.lora_B["default"].mT):
                one = torch.eye(len(rows), device=rows.device)
                distances.append(torch.linalg.matrix_norm(rows @ rows.mT - one))
    return torch.stack(distances).mean()
'''

_MAGNITUDES = """
# PEFT rounds DoRA's magnitudes to the base's number format; they are computed again.
for module in model.modules():
    if getattr(module, "lora_magnitude_vector", None):
        magnitude = module.lora_magnitude_vector["default"]
        magnitude.update_layer(
            base_layer=module.get_base_layer(),
            lora_A=module.lora_A["default"].weight,
            lora_B=module.lora_B["default"].weight,
            scaling=module.scaling["default"],
        )
"""


def refuse(about: About, run: Planned) -> None:
    """Raise `ExportError` for a run that no plain script repeats."""
    spec, base = run.spec, about.base
    if spec.method not in WRITTEN:
        raise ExportError(
            f"{run.name}: PEFT has no {METHODS[spec.method].title}; script writes "
            f"{', '.join(WRITTEN[:-1])} and {WRITTEN[-1]}. To ship it: %lora export {run.name} "
            "--to merged"
        )
    if run.trained and about.dtype not in ("float32", "float64"):
        paths = sorted(run.trained)
        raise ExportError(
            f"{run.name}: it trains parameters of the base itself ({paths[0]}, …) in fp32 over "
            f"{base.dtype} ones, which plain PEFT cannot; load the base with --dtype fp32 and "
            "train it again."
        )


def parts(run: Planned, start: str | None) -> Iterator[Part]:
    """A fresh adapter on the base, or that of the folder `start`."""
    if run.spec.method == "adalora":
        yield Part("AdaLoRA's penalty", _FROM_ORTHOGONAL.strip())
    yield Part(f"{run.name}: the adapter", "\n".join(_lines(run, start)))


def budget(run: Planned) -> Iterator[str]:
    """What AdaLoRA's run begins with."""
    if run.spec.method != "adalora":
        return
    plan = Schedule.of(len(run.steps))
    yield f"FIXED = {plan.steps - plan.last}  # the step that sets the final ranks"
    yield f"config.tinit, config.tfinal, config.deltaT = {plan.first}, {plan.last}, {plan.every}"
    yield "config.total_step = STEPS"
    yield 'allocator, ranks = RankAllocator(model, config, "default"), None'


def _lines(run: Planned, start: str | None) -> Iterator[str]:
    spec = run.spec
    if spec.method == "full":
        yield "model = load_base()"
        yield "model.requires_grad_(True)"
        return
    wrapper = "wrapper" if spec.method == "adalora" else "model"
    if start is not None:
        yield f"{wrapper} = PeftModel.from_pretrained(load_base(), {start}, is_trainable=True)"
    else:
        yield "base = load_base()"
        yield f"torch.manual_seed({spec.seed})  # A is drawn from here"
        yield from _config(run)
        yield f"{wrapper} = get_peft_model(base, config)"
        if spec.dora and run.about.dtype != "float32":
            yield _MAGNITUDES.strip()
    if wrapper != "model":
        yield "model = wrapper.get_base_model()  # PEFT's own forward would add its own penalty"
    yield "count = sum(p.numel() for p in model.parameters() if p.requires_grad)"
    yield 'print(f"{count:,} parameters are trained")'


def _config(run: Planned) -> Iterator[str]:
    """PEFT's config, with the fields that are not its defaults."""
    task = None if run.step.form is None else "CAUSAL_LM"
    paths = [site.path for site in run.sites]
    config = bridge.config_for(run.spec, run.about.shapes, paths, task)
    given = {**bridge.changed(config), **_in_full(run)}
    yield f"config = {type(config).__name__}("
    for name, value in given.items():
        yield f"    {name}={value!r},"
    yield ")"


def _in_full(run: Planned) -> dict[str, Any]:
    """The base's own parameters that are trained, as PEFT's config says them."""
    spec, shapes = run.spec, run.about.shapes
    targets = {site.path for site in run.sites}
    found: dict[str, Any] = {}
    if spec.bias != "none":
        found["bias"] = spec.bias
    biased = {
        path
        for path, names in run.trained.items()
        if spec.bias == "all" or (spec.bias == "lora_only" and path in targets)
        if all(name == "bias" or name.endswith("_bias") for name in names)
    }
    modules = [path for path in run.trained if path not in biased]
    if modules:
        found["modules_to_save"] = shortest(shapes, modules)
    return found


def saved(run: Planned) -> Iterator[str]:
    """The lines that save the adapter, and keep its tensors."""
    folder = f'HERE / "{run.name}"'
    if run.spec.method == "full":
        yield f"model.save_pretrained({folder})"
        yield f"tokenizer.save_pretrained({folder})"
        return
    wrapper = "wrapper" if run.spec.method == "adalora" else "model"
    yield f"{wrapper}.save_pretrained({folder}, save_embedding_layers=False)"
    yield f'adapters["{run.name}"] = get_peft_model_state_dict({wrapper})'
