"""Layers copied from other adapters' against those that PEFT makes from the same spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from lora_magic.adapters import attach, bridge
from lora_magic.adapters.attach import file_tensors
from lora_magic.state.session import Session
from tests.adapters.test_combine import SPECS, WEIGHTS, live, three
from tests.conftest import perturb

#: Attributes that differ with the way a layer was made, and that only its making reads.
MAKING = {"kwargs"}


def facts(module: Any) -> Iterator[tuple[str, object]]:
    """What makes a layer: kinds, plain attributes, names and shapes, without the base's module."""
    for path, part in module.named_modules():
        if path.startswith("base_layer"):
            continue
        yield path, type(part)
        for name, value in vars(part).items():
            if name in MAKING or (name.startswith("_") and name not in ("_active_adapter",)):
                continue
            yield f"{path}.{name}", value
        for name, tensor in part._parameters.items():
            known = None if tensor is None else (tensor.shape, tensor.dtype, tensor.requires_grad)
            yield f"{path}.{name}", known


def tables(module: nn.Module) -> Iterator[int]:
    """The mutable containers of a layer, without those of the base's module."""
    for path, part in module.named_modules():
        if not path.startswith("base_layer"):
            found = vars(part).values()
            yield from (id(value) for value in found if isinstance(value, dict | list | set))


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("architecture", SPECS)
def test_copied_layers_and_config_are_those_that_peft_makes(
    architecture: str, rank: int | None
) -> None:
    session = three(architecture)
    session.attach(
        "dropped", rank=2, dropout=0.1, alpha=3, targets=SPECS[architecture]["a"]["targets"]
    )
    perturb(session, "dropped")
    session.blend("mix", {"dropped": 1, **WEIGHTS}, rank=rank)
    state = session._state
    made = state.attached["mix"]
    expected = attach.create(state.base, state.slots, "mix", made.spec)
    assert list(made.replacements) == list(expected.replacements)
    for path, layer in expected.replacements.items():
        assert dict(facts(made.replacements[path])) == dict(facts(layer))
        assert made.replacements[path].base_layer is state.slots.original(path)
    assert made.counts == expected.counts
    assert made.left_out == expected.left_out
    configs = [bridge.file_config(bridge.wrapper_config(a.wrapper)) for a in (made, expected)]
    assert configs[0] == configs[1]
    files = [file_tensors(state.slots, attached) for attached in (made, expected)]
    assert list(files[0]) == list(files[1])
    for name, tensor in files[0].items():
        assert tensor.shape == files[1][name].shape


def test_a_copy_shares_no_table_and_no_tensor_with_its_parents() -> None:
    session = three("gpt2")
    session.blend("mix", WEIGHTS, rank=2)
    attached = session._state.attached
    parents = [layer for name in WEIGHTS for layer in attached[name].replacements.values()]
    own = {table for layer in attached["mix"].replacements.values() for table in tables(layer)}
    assert not own & {table for layer in parents for table in tables(layer)}
    assert attached["mix"].wrapper is not attached["a"].wrapper
    storages = [
        {tensor.data_ptr() for _, tensor in attached[name].tensors()} for name in (*WEIGHTS, "mix")
    ]
    assert len(set.union(*storages)) == sum(map(len, storages))


def test_a_blend_of_plain_loras_needs_no_injection_and_one_with_another_method_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = live("llama")
    for name, flags in (("a", {}), ("b", {"dora": True})):
        session.attach(name, rank=2, targets="q_proj", **flags)
        perturb(session, name)
    calls = []
    capture = bridge.capture

    def counted(*args: Any) -> Any:
        calls.append(args)
        return capture(*args)

    monkeypatch.setattr(bridge, "capture", counted)
    session.blend("twice", {"a": 2})
    session.compress("a", "small", rank=1)
    session.blend("both", {"a": 1, "b": 1}, rank=2)
    assert calls == []
    session.blend("dora", {"b": 1}, rank=2)
    assert len(calls) == 1


def test_training_a_copy_changes_nothing_of_its_parent() -> None:
    session = live("llama")
    session.attach("a", rank=2, dropout=0.1)
    perturb(session, "a")
    before = session._state.attached["a"].state()
    session.blend("twice", {"a": 2})
    started = session._state.attached["twice"].state()
    session.train("twice", text="Hello => Ahoy!\nGoodbye => Farewell, matey!", steps=2)
    trained = session._state.attached["twice"].state()
    assert any(not torch.equal(started[name], trained[name]) for name in started)
    after = session._state.attached["a"].state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert session.verify()


def test_a_copy_on_a_quantised_base_answers_as_a_layer_that_peft_made() -> None:
    pytest.importorskip("bitsandbytes")
    session = Session()
    session.load("demo", bits=4)
    session.attach("a", rank=2)
    perturb(session, "a")
    session.blend("twice", {"a": 2})
    state = session._state
    made = state.attached["twice"]
    expected = attach.create(state.base, state.slots, "twice", made.spec)
    expected.set_state(made.state())
    ids = torch.arange(9)[None]
    answers = []
    for attached in (made, expected):
        with state.slots.using(attached.replacements), torch.no_grad():
            answers.append(state.base.model(input_ids=ids).logits)
    assert torch.equal(*answers)
    assert session.verify()
