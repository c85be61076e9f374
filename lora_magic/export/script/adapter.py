"""The lines of a script that put a fresh adapter on the base, and those that save it, with PEFT.

Knows adapters' specs and the bridge's configs; knows no rows and no step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lora_magic.adapters import bridge
from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.shapes import CONV1D, EMBEDDING
from lora_magic.adapters.targets import shortest
from lora_magic.adapters.training_hooks import Schedule
from lora_magic.base.device import short_name
from lora_magic.errors import ExportError, listed

from . import virtual
from .planned import Planned
from .records import literal
from .source import About, Part

#: The methods that PEFT and transformers have as they are here.
WRITTEN = ("lora", "adalora", "ia3", "prefix", "prompt", "full")

#: Characters of a line.
_WIDTH = 100

#: The starts that are subtracted from the base's output.
_SUBTRACTED = ("pissa", "olora")

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
        module.lora_magnitude_vector["default"].update_layer(
            base_layer=module.get_base_layer(),
            lora_A=module.lora_A["default"].weight,
            lora_B=module.lora_B["default"].weight,
            scaling=module.scaling["default"],
        )
"""


def refuse(about: About, run: Planned) -> None:
    """Raise `ExportError` for a run that no plain script repeats."""
    spec = run.spec
    if spec.method not in WRITTEN:
        raise ExportError(
            f"{run.name}: PEFT has no {METHODS[spec.method].title}; script writes "
            f"{', '.join(WRITTEN[:-1])} and {WRITTEN[-1]}. For a script type: %lora attach "
            f"{run.name} --method lora --replace, and train it again."
        )
    if spec.virtual_tokens and run.step.form is None:
        raise ExportError(
            f"{run.name}: script writes {METHODS[spec.method].title} for language models, not for "
            "classifiers; attach it with --method lora, and train it again."
        )
    if spec.init == "loftq":
        raise ExportError(
            f"{run.name}: --init loftq starts from the rounding of the base's weights, which "
            f"script cannot write; to ship it: %lora export {run.name} --to peft"
        )
    at_embedding = [s.path for s in run.sites if _kind(about, s.path) == EMBEDDING]
    if spec.init in (*_SUBTRACTED, "eva") and (at_embedding or about.bits is not None):
        where = f"at {at_embedding[0]}" if at_embedding else "on a quantised base"
        raise ExportError(
            f"{run.name}: script cannot write --init {spec.init} {where}; to ship it: %lora "
            f"export {run.name} --to peft"
        )
    if run.trained and about.dtype not in ("float32", "float64"):
        raise ExportError(
            f"{run.name}: it trains parameters of the base ({listed(sorted(run.trained), 1)}) in "
            f"fp32 over {short_name(about.base.dtype)} ones, which plain PEFT cannot; load the "
            "base with --dtype fp32 and train it again."
        )


def _kind(about: About, path: str) -> str:
    return about.shapes.modules[path].kind if path in about.shapes.modules else ""


def parts(run: Planned, start: str | None) -> Iterator[Part]:
    """A fresh adapter on the base, or that of the folder `start`."""
    if run.spec.init in _SUBTRACTED and start is None:
        yield Part("A layer minus its adapter's start", _RESIDUAL.strip())
    if run.spec.virtual_tokens and not virtual.by_peft(run):
        yield virtual.part(run)
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


_RESIDUAL = '''
class Residual(nn.Module):
    """A layer without the product that its adapter starts with: the base does not change."""

    def __init__(self, layer, down, up, scale):
        super().__init__()
        self.layer, self.down, self.up, self.scale = layer, down, up, scale

    def forward(self, x):
        y = self.layer(x)
        start = self.scale * ((x.to(self.down.dtype) @ self.down.mT) @ self.up.mT)
        return y.to(start.dtype) - start
'''

#: A and B from the singular vectors of W (PiSSA, arXiv 2404.02948).
_PISSA = """
    u, sigma, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    root = (sigma[:rank] / scale).sqrt()
    down, up = (root[:, None] * vh[:rank]).float(), (u[:, :rank] * root).float()
"""

#: A and B from W = QR (OLoRA, arXiv 2406.01775).
_OLORA = """
    q, r = torch.linalg.qr(weight.double())
    down, up = r[:rank].float(), q[:, :rank].float()
"""

_FROM_WEIGHTS = """
for layer in [module for module in model.modules() if hasattr(module, "lora_A")]:
    weight = layer.base_layer.weight.detach(){transposed}
    rank, scale = layer.r["default"], layer.scaling["default"]
    {first}
    factors = layer.lora_A["default"].weight.data, layer.lora_B["default"].weight.data
    factors[0].copy_(down)
    factors[1].copy_(up)
    # Copies of the factors: with another layout in memory the products would have other bits.
    layer.base_layer = Residual(layer.base_layer, *(f.clone() for f in factors), scale)
"""

_NARROW = """
    layer.register_forward_hook(lambda layer, inputs, y: y.to(torch.{dtype}))
"""

#: A from the directions of each layer's inputs (EVA, arXiv 2410.07170), on a base of its own.
_EVA = """
def trained_tokens(inputs, config):
    return {seen}


def at_trained_tokens(given, seen, name):
    return (given[0] if isinstance(given, tuple) else given)[seen]


steps = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
batches = [{batches}]
config.eva_config = EvaConfig(rho=1.0)
with torch.no_grad():
    directions = get_eva_state_dict(
        load_base().eval(),
        batches,
        peft_config=config,
        prepare_model_inputs_fn=trained_tokens,
        prepare_layer_inputs_fn=at_trained_tokens,
        show_progress_bar=False,
    )
    for path, down in directions.items():
        layer = model.get_submodule(f"base_model.model.{path}")
        layer.lora_A["default"].weight.copy_(down)
"""


def from_rows(run: Planned) -> Iterator[str]:
    """EVA's start, once the order of the rows is known."""
    if run.spec.init != "eva" or run.number > 1:
        return
    seen = 'inputs["attention_mask"].bool()'
    if run.step.form is not None:
        seen += ' & (inputs["labels"] != -100)'
    batches = "batch([train[at] for at in part]) for part in steps"
    if run.settings.accumulation > 1:
        batches = "batch([train[at] for at in part]) for step in steps for part in split(step)"
    yield ""
    yield ""
    yield _EVA.strip().replace("{seen}", seen).replace("{batches}", batches)


def _from_weights(run: Planned) -> Iterator[str]:
    """PiSSA's start, or OLoRA's."""
    transposed = any(run.about.shapes.modules[site.path].kind == CONV1D for site in run.sites)
    first = _PISSA if run.spec.init == "pissa" else _OLORA
    code = _FROM_WEIGHTS.strip().replace("{transposed}", ".mT" if transposed else "")
    yield code.replace("{first}", first.strip())
    if run.about.dtype != "float32":
        yield _NARROW.strip("\n").replace("{dtype}", run.about.dtype)


def _lines(run: Planned, start: str | None) -> Iterator[str]:
    spec = run.spec
    if spec.method == "full":
        yield "model = load_base()"
        yield "model.requires_grad_(True)"
        return
    if spec.virtual_tokens:
        yield from virtual.lines(run, start)
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
        if spec.init in _SUBTRACTED:
            yield from _from_weights(run)
    if wrapper != "model":
        yield "model = wrapper.get_base_model()  # PEFT's own forward would add its own penalty"
    yield f"{wrapper}.print_trainable_parameters()"


def _config(run: Planned) -> Iterator[str]:
    """PEFT's config, with the fields that are not its defaults."""
    task = None if run.step.form is None else "CAUSAL_LM"
    paths = [site.path for site in run.sites]
    config = bridge.config_for(run.spec, run.about.shapes, paths, task)
    given = {**bridge.changed(config), **_in_full(run)}
    if "lora_alpha" in given:  # PEFT's default rank, too: it is half of the scale
        given = {"r": config.r, **given}
    fields = [f"{name}={literal(value)}" for name, value in given.items()]
    line = f"config = {type(config).__name__}({', '.join(fields)})"
    if len(line) <= _WIDTH:
        yield line
        return
    yield f"config = {type(config).__name__}("
    yield from (f"    {field}," for field in fields)
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
    """The lines that save the adapter."""
    folder = f'HERE / "{run.name}"'
    if run.spec.method == "full":
        yield f"model.save_pretrained({folder})"
        yield f"tokenizer.save_pretrained({folder})"
        return
    if run.spec.init in _SUBTRACTED:
        yield from _doubled(run)
        return
    if run.spec.virtual_tokens and not virtual.by_peft(run):
        yield from virtual.saved(run)
        return
    wrapper = "wrapper" if run.spec.method == "adalora" else "model"
    yield f"{wrapper}.save_pretrained({folder}, save_embedding_layers=False)"


_DOUBLED = """
tensors = get_peft_model_state_dict(model)
for path, layer in model.named_modules():
    if hasattr(layer, "lora_A"):
        below = layer.base_layer
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        tensors[f"{path}.lora_A.weight"] = torch.cat([down, below.down]).detach()
        tensors[f"{path}.lora_B.weight"] = torch.cat([up, -below.up], dim=1).detach()
"""


def _doubled(run: Planned) -> Iterator[str]:
    """The adapter and its start, subtracted: a plain LoRA of twice the rank, for the same base."""
    spec = run.spec
    more = math.sqrt(2) if spec.rslora else 2
    alpha = more * spec.alpha
    yield "# A plain LoRA of rank 2r: the adapter, and minus what it started with."
    yield _DOUBLED.strip()
    yield f"config.r, config.lora_alpha = {2 * spec.rank}, {alpha!r}"
    if spec.rank_pattern:
        ranks = {name: int(2 * rank) for name, rank in spec.rank_pattern}
        yield f"config.rank_pattern = {literal(ranks)}"
    if spec.alpha_pattern:
        alphas = {name: more * value for name, value in spec.alpha_pattern}
        yield f"config.alpha_pattern = {literal(alphas)}"
    yield "config.inference_mode = True"
    yield f'config.save_pretrained(HERE / "{run.name}")'
    yield f'save_file(tensors, HERE / "{run.name}" / "adapter_model.safetensors")'
