"""Snapshots: each puts back what was there, and nothing else."""

from __future__ import annotations

import os
import random

import pytest
import torch
from torch import nn

from lora_magic.base.restore import (
    Generators,
    attributes,
    entries,
    environment,
    flags,
    generators,
    gradients,
    modes,
    namespaces,
    restoring,
)


def model() -> nn.Sequential:
    made = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    made[0].eval()
    made[0].bias.requires_grad_(False)
    return made


def test_modes_and_flags_of_every_part_come_back() -> None:
    made = model()
    with restoring(modes(made), flags(made)):
        made.eval()
        made.requires_grad_(True)
    assert [module.training for module in made.modules()] == [True, False, True]
    assert [p.requires_grad for p in made.parameters()] == [True, False]


def test_a_gradient_comes_back_and_values_stay_as_they_became() -> None:
    made = model()
    with restoring(gradients(made)), torch.no_grad():
        made[0].weight.grad = torch.ones(2, 2)
        made[0].weight.fill_(7)
    assert made[0].weight.grad is None
    assert made[0].weight.eq(7).all()


def test_states_of_gpus_that_are_not_seen_here_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restored: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", restored.extend)
    here = Generators.now()
    Generators(here.python, here.cpu, here.numpy, (torch.tensor(7), torch.tensor(8))).restore()
    assert restored == [torch.tensor(7)]


def test_entries_come_back_in_their_order() -> None:
    held = {"a": 1, "b": 2}
    with restoring(entries(held)):
        del held["a"]
        held |= {"c": 3, "a": 1}
    assert list(held.items()) == [("a", 1), ("b", 2)]


def test_hooks_children_and_attributes_are_entries_of_namespaces() -> None:
    made = model()
    before = [dict(vars(module)) for module in made.modules()]
    with restoring(*namespaces(made)):
        made.note = 1
        made[0].register_forward_hook(lambda *_: None)
        made[1] = nn.Linear(3, 3)
    assert [dict(vars(module)) for module in made.modules()] == before
    assert not made[0]._forward_hooks
    assert isinstance(made[1], nn.Dropout)


def test_generators_and_the_environment_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAP_OLD", "1")
    torch.manual_seed(3)
    random.seed(3)
    expected = (torch.rand(1).item(), random.random())
    torch.manual_seed(3)
    random.seed(3)
    with restoring(generators(), environment("SNAP_")):
        torch.rand(9)
        random.random()
        os.environ |= {"SNAP_OLD": "2", "SNAP_NEW": "1"}
    assert (torch.rand(1).item(), random.random()) == expected
    assert os.environ["SNAP_OLD"] == "1"
    assert "SNAP_NEW" not in os.environ


def test_all_is_restored_after_an_error_too() -> None:
    made = model()
    with pytest.raises(ZeroDivisionError), restoring(attributes([made], "training")):
        made.eval()
        raise ZeroDivisionError
    assert made.training
