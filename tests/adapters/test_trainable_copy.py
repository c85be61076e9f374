"""Parameters of the base trained themselves: the base's own objects never change."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lora_magic.adapters.merge import merged_module
from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.sites import biases, norms, trained_parameters
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.adapters.trainable_copy import (
    TrainableCopy,
    trainable_copies,
)
from lora_magic.errors import AdapterError
from tests.adapters.shared import answer, based, made, moved, uneven
from tests.classifiers import tiny_classifier
from tests.tiny import ARCHITECTURES, tiny_model

KINDS: dict[str, dict[str, Any]] = {
    "bitfit": {"method": "bitfit"},
    "full": {"method": "full"},
    "norms": {"rank": 2, "norms": True},
    "bias": {"rank": 2, "bias": "all"},
}

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Every module, every parameter and every bit of a bare model is afterwards what it was."""
    modules = dict(model.named_modules())
    objects = {path: dict(module._parameters) for path, module in modules.items()}
    attributes = {path: set(vars(module)) for path, module in modules.items()}
    bits = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    yield
    assert dict(model.named_modules()) == modules
    for path, module in modules.items():
        assert set(vars(module)) == attributes[path]
        assert list(module._parameters) == list(objects[path])
        for name, parameter in module._parameters.items():
            assert parameter is objects[path][name], f"{path}.{name}"
    assert all(torch.equal(tensor, bits[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["gpt2", "opt", "phi", "gpt_neox"])
def test_the_first_answer_is_the_bases_bit_for_bit(
    architecture: str, kind: str, dtype: str
) -> None:
    base, slots = based(architecture, dtype=DTYPES[dtype])
    before = answer(base, slots)
    with untouched(base.model):
        attached = made(base, slots, **KINDS[kind])
        assert torch.equal(answer(base, slots, attached), before)
        moved(attached)
        assert not torch.equal(answer(base, slots, attached), before)
    assert torch.equal(answer(base, slots), before)
    assert {tensor.dtype for _, tensor in attached.tensors()} == {torch.float32}


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2", "gemma"])
def test_what_is_tied_stays_tied_and_is_counted_once(architecture: str) -> None:
    base, slots = based(architecture, tie_word_embeddings=True)
    attached = moved(made(base, slots, method="full"))
    record = attached.record()
    assert record.trainable == record.formula == base.parameters
    assert record.differing == ()
    with slots.using(attached.replacements):
        model: Any = base.model
        into, out = model.get_input_embeddings(), model.get_output_embeddings()
        assert into.values["weight"] is out.values["weight"]
        assert torch.equal(into.weight, out.weight)
    untied: Any = base.model
    assert untied.get_input_embeddings().weight is untied.get_output_embeddings().weight


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2", "llama"])
def test_the_gradient_is_that_of_plain_fine_tuning(architecture: str) -> None:
    base, slots = based(architecture)
    plain = copy.deepcopy(base.model).requires_grad_(True)
    ids = torch.arange(10, 30)[None]
    plain(input_ids=ids, labels=ids).loss.backward()
    expected = {name: parameter.grad for name, parameter in plain.named_parameters()}
    attached = made(base, slots, method="full")
    with untouched(base.model):
        with slots.using(attached.replacements), attached.trainable():
            base.model(input_ids=ids, labels=ids).loss.backward()
            found = {
                name.replace(".values.", "."): tensor.grad for name, tensor in attached.tensors()
            }
        assert all(parameter.grad is None for parameter in base.model.parameters())
    assert set(found) == set(expected)
    for name, gradient in found.items():
        assert gradient is not None, name
        # Tied gradients are summed in another order.
        assert torch.allclose(gradient, expected[name], atol=1e-6), name


def test_steps_too_small_for_bf16_are_not_lost() -> None:
    base, slots = based("gpt2", dtype=torch.bfloat16)
    attached = made(base, slots, method="full")
    start = attached.state()
    name, tensor = next((n, t) for n, t in attached.tensors() if t.dim() == 2)
    step = 1e-3 * float(tensor.abs().max()) * 2**-8
    with torch.no_grad():
        tensor.add_(step)
        once = tensor.to(torch.bfloat16)
        largest = tensor.abs().argmax()
        assert once.flatten()[largest] == start[name].to(torch.bfloat16).flatten()[largest]
        for _ in range(4000):
            tensor.add_(step)
    assert tensor.to(torch.bfloat16).flatten()[largest] != once.flatten()[largest]


class Interrupted(nn.Linear):
    """A layer during whose forward somebody presses ■."""

    broken = False

    def forward(self, x: Tensor) -> Tensor:
        if self.broken:
            raise KeyboardInterrupt
        return super().forward(x)


def test_an_interrupt_inside_forward_leaves_every_module_as_it_was() -> None:
    model = nn.Sequential(Interrupted(4, 3), nn.LayerNorm(3))
    layers = trainable_copies(model, {"0": ["weight", "bias"], "1": ["weight"]})
    layer: Any = layers["0"]
    x = torch.randn(2, 4)
    with torch.no_grad():
        layer.values["weight"].add_(1.0)
        expected = layer(x)
    with untouched(model):
        before = dict(layer.copied._parameters)
        layer.copied.broken = True
        with pytest.raises(KeyboardInterrupt):
            layer(x)
        assert all(layer.copied._parameters[key] is value for key, value in before.items())
        assert model[0].broken is False
        layer.copied.broken = False
        with torch.no_grad():
            assert torch.equal(layer(x), expected)


def test_an_interrupt_inside_a_model_leaves_the_base_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, slots = based("gpt2")
    attached = moved(made(base, slots, method="full"))
    expected = answer(base, slots, attached)
    with untouched(base.model):
        with monkeypatch.context() as patched:
            patched.setattr(nn.LayerNorm, "forward", _interrupting)
            with pytest.raises(KeyboardInterrupt):
                answer(base, slots, attached)
        assert slots.written == {}
    assert torch.equal(answer(base, slots, attached), expected)
    assert base.fingerprint.verify()


def _interrupting(*_: object) -> Tensor:
    raise KeyboardInterrupt


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_biases_norms_and_all_parameters_are_found_by_their_names(architecture: str) -> None:
    model = tiny_model(architecture)
    shapes = shapes_of(model)
    named = dict(model.named_parameters(remove_duplicate=False))

    def flat(found: dict[str, list[str]]) -> set[str]:
        return {f"{path}.{name}" for path, names in found.items() for name in names}

    with_bias = {name for name in named if name.endswith("bias")}
    if with_bias:
        assert flat(biases(shapes)) == with_bias
    else:
        with pytest.raises(AdapterError, match=r"has no biases.*--method ia3"):
            trained_parameters(shapes, AdapterSpec(method="bitfit"), ())
    of_norms = {name for name in named if "norm" in name or ".ln_" in name}
    assert flat(norms(shapes)) == of_norms
    assert flat(trained_parameters(shapes, AdapterSpec(method="full"), ())) == set(named)


def test_a_head_is_spared_and_trained_once() -> None:
    shapes = shapes_of(tiny_classifier("bert"))
    assert "classifier" in biases(shapes)
    assert "classifier" not in biases(shapes, without=["classifier"])


def test_norms_of_a_model_without_any_are_refused() -> None:
    with pytest.raises(AdapterError, match="no norm with parameters"):
        trained_parameters(
            shapes_of(nn.Sequential(nn.Linear(2, 2))),
            AdapterSpec(rank=1, alpha=1, norms=True),
            (),
        )


def test_models_read_through_to_the_module_within() -> None:
    original = nn.Linear(4, 3)
    uneven(original)
    layer = trainable_copies(nn.Sequential(original), {"0": ["bias"]})["0"]
    assert (layer.in_features, layer.out_features) == (4, 3)
    assert layer.weight is original.weight
    assert layer.bias is not original.bias
    assert torch.equal(layer.bias, original.bias)
    with pytest.raises(AttributeError):
        _ = layer.nothing_of_the_kind


def test_moved_says_whether_anything_was_trained() -> None:
    model = nn.Sequential(nn.Linear(2, 2).bfloat16())
    layer = trainable_copies(model, {"0": ["weight", "bias"]})["0"]
    assert isinstance(layer, TrainableCopy)
    assert not layer.moved()
    with torch.no_grad():
        layer.values["bias"].add_(1e-6)
    assert layer.moved()


def test_biases_below_a_lora_layer_learn_with_it() -> None:
    base, slots = based("gpt2")
    attached = made(base, slots, rank=2, bias="lora_only", targets="c_attn")
    ids = torch.arange(10, 30)[None]
    with slots.using(attached.replacements), attached.trainable():
        base.model(input_ids=ids, labels=ids).loss.backward()
        reached = {name: tensor.grad for name, tensor in attached.tensors()}
    assert sum(".values.bias" in name for name in reached) == 2
    for name, gradient in reached.items():
        assert gradient is not None, name
        assert bool(gradient.any()) == ("lora_A" not in name), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_answer_is_the_unmerged_one(kind: str) -> None:
    base, slots = based("gpt2")
    attached = moved(made(base, slots, **KINDS[kind]))
    merged = {
        path: merged_module(path, slots.original(path), layer, torch.float32)[0]
        for path, layer in attached.replacements.items()
    }
    with untouched(base.model), slots.using(merged), torch.no_grad():
        found = base.model(input_ids=torch.arange(10, 26)[None]).logits
    assert torch.allclose(found, answer(base, slots, attached), atol=1e-5)
