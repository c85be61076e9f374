"""PEFT's own forward of the same layer is the judge, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import register_parametrization

from lora_magic.adapters import direct
from lora_magic.state.session import Session
from tests.conftest import logits, perturb


def a_layer(dtype: torch.dtype = torch.float32, bias: bool = True, **flags: Any) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 20, bias=bias).to(dtype))
    config = LoraConfig(r=3, lora_alpha=7, target_modules=["0"], **flags)
    wrapped = get_peft_model(model, config, autocast_adapter_dtype=False).eval()  # type: ignore[arg-type]
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data.normal_()
    return model[0]


def by_peft(layer: Any, x: Tensor) -> Tensor:
    found: Tensor = type(layer).forward(layer, x)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 12), (3, 5, 12), (7, 12)])
def test_the_output_is_that_of_peft_bit_for_bit(
    dtype: torch.dtype, bias: bool, shape: tuple[int, ...]
) -> None:
    layer, x = a_layer(dtype, bias), torch.randn(shape, dtype=dtype)
    direct.install([layer])
    assert direct.is_installed(layer)
    with torch.no_grad():
        assert torch.equal(layer(x), by_peft(layer, x))
        assert torch.equal(direct._output(layer, x), by_peft(layer, x))  # type: ignore[arg-type]  # not None


def _hook(layer: Any) -> None:
    layer.lora_A["default"].register_forward_hook(lambda module, args, output: output + 1)


def _replace(layer: Any) -> None:
    layer.base_layer.forward = lambda x: torch.zeros(*x.shape[:-1], 20)


def _drop(layer: Any) -> None:
    layer.lora_dropout["default"] = nn.Hardtanh(-0.1, 0.1)


class _Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _parametrise(layer: Any) -> None:
    register_parametrization(layer.lora_A["default"], "weight", _Doubled())


class _Twice:
    @staticmethod
    def forward(layer: Any, result: Tensor, **_: Any) -> Tensor:
        return 2 * result


def _bias(layer: Any) -> None:
    layer.lora_B["default"].bias = nn.Parameter(torch.ones(20))


CHANGES: dict[str, Callable[[Any], object]] = {
    "disabled": lambda layer: layer.enable_adapters(False),
    "merged": lambda layer: layer.merge(),
    "none active": lambda layer: layer.set_adapter([]),
    "a hook": _hook,
    "a forward": _replace,
    "a dropout": _drop,
    "a parametrisation": _parametrise,
    "a pruned base": lambda layer: prune.l1_unstructured(layer.base_layer, "weight", 0.5),
    "a pruned factor": lambda layer: prune.l1_unstructured(layer.lora_B["default"], "weight", 0.5),
    "a bias": _bias,
    "a variant": lambda layer: layer.lora_variant.update(default=_Twice()),
    "deleted": lambda layer: layer.delete_adapter("default"),
    "wider factors": lambda layer: layer.lora_B.double() and layer.lora_A.double(),
    "another scale": lambda layer: layer.scaling.update(default=0.3),
    "other weights": lambda layer: layer.lora_B["default"].weight.data.mul_(2),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_what_is_changed_later_is_honoured(change: str) -> None:
    layer, x = a_layer(), torch.randn(2, 3, 12)
    direct.install([layer])
    with torch.no_grad():
        before = layer(x)
        CHANGES[change](layer)
        after = layer(x)
        assert torch.equal(after, by_peft(layer, x))
    assert change == "merged" or not torch.equal(after, before)


@pytest.mark.parametrize("part", ["lora_A.default.weight", "lora_B.default.weight"])
def test_factors_may_be_given_to_one_call_and_vectorised(part: str) -> None:
    layer, x = a_layer(), torch.randn(2, 3, 12)
    many = torch.randn(4, *layer.get_parameter(part).shape)

    def outputs() -> Tensor:
        with torch.no_grad():
            call = torch.vmap(lambda given: torch.func.functional_call(layer, {part: given}, (x,)))
            found: Tensor = call(many)
        return found

    expected = outputs()
    direct.install([layer])
    assert torch.equal(outputs(), expected)


def test_gradients_flow_as_before() -> None:
    layer, x = a_layer(), torch.randn(2, 3, 12)
    direct.install([layer])
    layer(x).sum().backward()
    found = layer.lora_A["default"].weight.grad.clone()
    layer.lora_A["default"].weight.grad = None
    by_peft(layer, x).sum().backward()
    assert torch.equal(found, layer.lora_A["default"].weight.grad)


def test_autocast_is_peft_s() -> None:
    layer, x = a_layer(), torch.randn(2, 3, 12)
    direct.install([layer])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
        assert torch.equal(layer(x), by_peft(layer, x))


def test_a_copy_calls_its_own_layer_and_removing_leaves_no_trace() -> None:
    layer, x = a_layer(), torch.randn(2, 3, 12)
    names = set(vars(layer))
    direct.install([layer])
    other = copy.deepcopy(layer)
    other.lora_B["default"].weight.data.zero_()
    with torch.no_grad():
        assert torch.equal(other(x), layer.base_layer(x))
    direct.remove([layer, layer])
    assert set(vars(layer)) == names


def test_other_layers_keep_their_forward() -> None:
    for layer in (a_layer(use_dora=True), a_layer(lora_dropout=0.1), nn.Linear(2, 2)):
        direct.install([layer])
        assert not direct.is_installed(layer)


def test_the_active_adapter_answers_directly_and_the_others_do_not(session: Session) -> None:
    for name in "ab":
        session.attach(name, rank=4)
        perturb(session, name, seed=ord(name))
    seen = {}
    for name in ("a", "b", "base", "a"):
        session.swap(name)
        for other, attached in session._state.attached.items():
            installed = {direct.is_installed(one) for one in attached.replacements.values()}
            assert installed == {other == name}
        found = logits(session)
        assert torch.equal(seen.setdefault(name, found), found)
    session.train("a", [{"prompt": "Hi", "completion": "Ho"}], steps=1)
    assert len(seen) == 3
