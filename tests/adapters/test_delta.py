"""What a layer does to the weights, against what it does to random inputs, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lora_magic.adapters.delta import low_rank_of, merged_parameters, update_of
from lora_magic.adapters.inits import Residual
from lora_magic.adapters.mixture import Added
from lora_magic.adapters.read_shapes import shape_of
from lora_magic.adapters.trainable_copy import TrainableCopy
from lora_magic.lowrank.dense import DenseUpdate
from lora_magic.lowrank.factors import LowRank
from tests.adapters.shared import BIASED, VARIANTS, based, made, moved

#: Linear without biases, Conv1D with, Linear with.
ARCHITECTURES = ("llama", "gpt2", "phi")

#: What is no sum of W0 and a matrix, and what stands at no weight.
UNFOLDED = ("prefix", "prompt", "houlsby", "adapter-l")

CASES = [
    (architecture, variant, None)
    for architecture in ARCHITECTURES
    for variant in VARIANTS
    if variant not in UNFOLDED and not (architecture == "llama" and variant in BIASED)
] + [
    (architecture, variant, targets)
    for architecture, targets in (("llama", "embed_tokens"), ("gpt2", "wte"))
    for variant in ("lora", "rslora", "dora")
]

#: Products of 64 terms in float64: ten roundings' worth above 2^-53 of their size.
EXACT = 1e-12


def layers_of(
    architecture: str, variant: str, targets: str | None
) -> list[tuple[str, nn.Module, Any]]:
    base, slots = based(architecture, dtype=torch.float64)
    flags = dict(VARIANTS[variant])
    if "method" not in flags:
        flags["targets"] = targets or "all-linear"
    attached = moved(made(base, slots, **flags))
    assert attached.replacements
    return [
        (path, attached.originals[path], layer) for path, layer in attached.replacements.items()
    ]


def inputs(original: nn.Module) -> Tensor:
    if isinstance(original, nn.Embedding):
        return torch.arange(original.num_embeddings)
    width = shape_of(original)[1] if _is_matrix(original) else len(_weight(original))
    generator = torch.Generator().manual_seed(3)
    return torch.randn(7, width, dtype=torch.float64, generator=generator)


def _weight(original: Any) -> Tensor:
    weight: Tensor = original.weight
    return weight


def _is_matrix(original: nn.Module) -> bool:
    return _weight(original).dim() == 2


def effective(layer: nn.Module, original: nn.Module) -> Tensor:
    """W [d, k] of a layer that is linear, read off its outputs."""
    if isinstance(original, nn.Embedding):
        table: Tensor = layer(torch.arange(original.num_embeddings))
        return table.mT
    unit = torch.eye(shape_of(original)[1], dtype=torch.float64)
    columns: Tensor = layer(unit) - layer(torch.zeros_like(unit))
    return columns.mT


@pytest.mark.parametrize(("architecture", "variant", "targets"), CASES)
def test_a_module_with_the_folded_parameters_answers_as_the_layer(
    architecture: str, variant: str, targets: str | None
) -> None:
    differs = 0
    for path, original, layer in layers_of(architecture, variant, targets):
        x = inputs(original)
        with torch.no_grad():
            parameters = merged_parameters(original, layer)
            assert all(value.dtype == torch.float64 for value in parameters.values()), path
            found = functional_call(original, parameters, (x,))
            expected = layer(x)
            differs += not torch.allclose(expected, original(x), atol=1e-4)
        assert torch.allclose(found, expected, atol=EXACT, rtol=EXACT), path
    assert differs


@pytest.mark.parametrize(("architecture", "variant", "targets"), CASES)
def test_the_update_is_the_difference_of_the_weights_that_the_outputs_show(
    architecture: str, variant: str, targets: str | None
) -> None:
    updates = 0
    for path, original, layer in layers_of(architecture, variant, targets):
        with torch.no_grad():
            update = update_of(original, layer)
            if not _is_matrix(original):
                assert update is None, path
                continue
            expected = effective(layer, original) - effective(original, original)
        if update is None:
            # Only a bias of it is trained.
            assert isinstance(layer, TrainableCopy)
            assert "weight" not in layer.values
            assert not expected.any()
            continue
        updates += 1
        assert update.shape == shape_of(original), path
        assert torch.allclose(update.dense(torch.float64), expected, atol=EXACT), path
        assert update.norm() == pytest.approx(float(expected.norm()), rel=1e-9)
    assert updates or variant == "bitfit"


@pytest.mark.parametrize(
    ("variant", "factors"),
    [("lora", True), ("adalora", True), ("pissa", True), ("dora", False), ("ia3", False)],
)
def test_an_update_is_kept_as_factors_where_it_has_few(variant: str, factors: bool) -> None:
    rank = VARIANTS[variant].get("rank", 0)
    for _, original, layer in layers_of("llama", variant, None):
        update = update_of(original, layer)
        assert isinstance(update, LowRank if factors else DenseUpdate)
        if factors:
            # AdaLoRA begins with more ranks than it ends with, PiSSA has its start beside it.
            assert update.rank == {"adalora": rank + 1, "pissa": 2 * rank}.get(variant, rank)
        assert (low_rank_of(layer) is not None) == factors


def test_a_layer_that_trains_its_bias_too_is_more_than_its_factors() -> None:
    for path, _, layer in layers_of("gpt2", "bias", None):
        assert low_rank_of(layer) is None, path


def test_scales_that_a_pattern_gives_are_the_layers_own() -> None:
    base, slots = based(dtype=torch.float64)
    attached = moved(
        made(
            base,
            slots,
            rank=2,
            alpha=8,
            targets="q_proj,v_proj",
            rank_pattern={"v_proj": 4},
            alpha_pattern={"q_proj": 3.0},
        )
    )
    for path, update in attached.updates().items():
        layer, original = attached.replacements[path], attached.originals[path]
        rank, alpha = (4, 8) if path.endswith("v_proj") else (2, 3)
        assert isinstance(update, LowRank)
        assert (update.rank, update.scale) == (rank, pytest.approx(alpha / rank))
        with torch.no_grad():
            expected = effective(layer, original) - effective(original, original)
        assert torch.allclose(update.dense(), expected, atol=EXACT)


def test_what_is_added_without_training_reads_as_its_update() -> None:
    generator = torch.Generator().manual_seed(0)
    for original in (nn.Linear(6, 5), nn.Embedding(6, 5)):
        original = original.double()
        update = LowRank(
            torch.randn(2, 6, generator=generator, dtype=torch.float64),
            torch.randn(5, 2, generator=generator, dtype=torch.float64),
            0.5,
        )
        layer = Added(original, update)
        found = update_of(original, layer)
        assert found is not None
        assert torch.allclose(found.dense(), update.dense(), atol=EXACT)
        with torch.no_grad():
            x = inputs(original)
            assert torch.allclose(
                functional_call(original, merged_parameters(original, layer), (x,)),
                layer(x),
                atol=EXACT,
            )


def test_a_narrow_weight_is_folded_in_a_wider_format() -> None:
    base, slots = based(dtype=torch.bfloat16)
    attached = moved(made(base, slots, rank=2))
    for path, layer in attached.replacements.items():
        (weight,) = merged_parameters(attached.originals[path], layer).values()
        assert weight.dtype == torch.float32


def test_bottlenecks_and_virtual_tokens_have_no_update() -> None:
    base, slots = based()
    for variant in UNFOLDED:
        attached = moved(made(base, slots, **VARIANTS[variant]))
        assert attached.updates() == {}
        assert attached.stackable() is None


@pytest.mark.parametrize("variant", ["pissa", "olora"])
def test_a_start_that_is_taken_off_again_is_no_update(variant: str) -> None:
    base, slots = based(dtype=torch.float64)
    attached = made(base, slots, **VARIANTS[variant])
    for path, update in attached.updates().items():
        layer: Any = attached.replacements[path]
        assert isinstance(layer.base_layer, Residual)
        assert layer.base_layer.negated.norm() > 0.1
        assert update.norm() < 1e-6 * layer.base_layer.negated.norm(), path
