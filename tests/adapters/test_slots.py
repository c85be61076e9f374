from __future__ import annotations

import signal
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lora_magic.adapters.slots import ROOT, Slots


class Interrupting(dict[str, nn.Module]):
    """A mapping that is interrupted, as by ■, before its second item is read."""

    def items(self):  # type: ignore[no-untyped-def]  # a generator in place of a view
        for number, item in enumerate(super().items()):
            if number == 1:
                signal.raise_signal(signal.SIGINT)
            yield item


@pytest.fixture
def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))


def test_writing_replaces_and_writing_nothing_puts_the_originals_back(model: nn.Sequential) -> None:
    originals = dict(model.named_modules())
    slots = Slots(model)
    other = nn.Identity()
    slots.write({"1.0": other})
    assert model[1][0] is other
    slots.write({"0": other})
    assert model[0] is other
    assert model[1][0] is originals["1.0"]
    slots.write({})
    assert dict(model.named_modules()) == originals


def test_an_interrupt_waits_until_all_slots_are_written(model: nn.Sequential) -> None:
    slots = Slots(model)
    coming = Interrupting({"0": nn.Identity(), "1.0": nn.Identity()})
    with pytest.raises(KeyboardInterrupt):
        slots.write(coming)
    assert slots.written == dict(coming)
    assert slots.foreign_paths() == []


def test_a_path_that_is_not_there_is_refused_before_anything_is_written(
    model: nn.Sequential,
) -> None:
    slots = Slots(model)
    slots.write({"0": nn.Identity()})
    before = slots.written
    with pytest.raises(KeyError):
        slots.write({"1.0": nn.Identity(), "7": nn.Identity()})
    assert slots.written == before
    assert slots.foreign_paths() == []


def test_held_puts_back_what_stood_also_after_an_error(model: nn.Sequential) -> None:
    slots = Slots(model)
    first, second = nn.Identity(), nn.Identity()
    slots.write({"0": first})
    seen: list[nn.Module] = []

    def within() -> None:
        with slots.using({"1.1": second}):
            seen.extend((model[0], model[1][1]))
            raise ValueError("within")

    with pytest.raises(ValueError, match="within"):
        within()
    assert seen[0] is not first
    assert seen[1] is second
    assert model[0] is first
    assert isinstance(model[1][1], nn.ReLU)


def test_what_somebody_else_put_into_a_slot_is_found_and_taken_out(model: nn.Sequential) -> None:
    slots = Slots(model)
    original, stranger = model[0], nn.Identity()
    model[0] = stranger
    assert slots.foreign_paths() == ["0"]
    assert slots.collect() == {"0": stranger}
    assert model[0] is original


class Doubling(nn.Module):
    """Stands at the root: the model's input is doubled."""

    factor = 2.0

    def before(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.factor * args[0], *args[1:]), kwargs


class Tripling(Doubling):
    factor = 3.0


def times(model: nn.Module) -> float:
    """By how much the input of a model of identities comes out larger."""
    found: Tensor = model(torch.ones(1))
    return float(found)


@pytest.fixture
def plain() -> nn.Sequential:
    return nn.Sequential(nn.Identity(), nn.Identity())


def test_what_stands_at_the_root_changes_the_arguments_until_it_is_removed(
    plain: nn.Sequential,
) -> None:
    slots = Slots(plain)
    slots.write({ROOT: Doubling()})
    assert times(plain) == 2.0
    # Another takes its place, and is not put beside it.
    slots.write({ROOT: Tripling()})
    assert times(plain) == 3.0
    assert len(plain._forward_pre_hooks) == 1
    slots.write({"0": nn.Identity()})
    assert times(plain) == 1.0
    slots.write({})
    assert not plain._forward_pre_hooks
    assert slots.original(ROOT) is plain
    assert slots.foreign_paths() == []


def test_the_root_is_no_module_of_the_tree(plain: nn.Sequential) -> None:
    slots = Slots(plain)
    tree = dict(plain.named_modules())
    state = set(plain.state_dict())
    slots.write({ROOT: Doubling()})
    assert dict(plain.named_modules()) == tree
    assert set(plain.state_dict()) == state
    assert slots.paths() == ["0", "1"]


def test_held_puts_the_root_back_also_after_errors_and_interrupts(plain: nn.Sequential) -> None:
    slots = Slots(plain)
    doubling = Doubling()
    slots.write({ROOT: doubling})
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), slots.using({ROOT: Tripling()}):
            assert times(plain) == 3.0
            raise error
        assert times(plain) == 2.0
        assert slots.written == {ROOT: doubling}
        assert len(plain._forward_pre_hooks) == 1
    with slots.using({}):
        assert times(plain) == 1.0
    assert times(plain) == 2.0
    slots.write({})
    assert not plain._forward_pre_hooks


def test_an_error_within_the_hook_leaves_one_that_can_be_removed(plain: nn.Sequential) -> None:
    class Failing(Doubling):
        def before(self, *_: Any) -> Any:
            raise KeyboardInterrupt

    slots = Slots(plain)
    with pytest.raises(KeyboardInterrupt), slots.using({ROOT: Failing()}):
        times(plain)
    assert not plain._forward_pre_hooks
    assert times(plain) == 1.0


def test_a_module_that_changes_no_arguments_cannot_stand_at_the_root(plain: nn.Sequential) -> None:
    slots = Slots(plain)
    slots.write({ROOT: Doubling()})
    before = slots.written
    with pytest.raises(TypeError, match="PreForward"):
        slots.write({ROOT: nn.Identity(), "0": nn.ReLU()})
    assert slots.written == before
    assert times(plain) == 2.0


def test_hooks_that_others_put_on_the_model_stay(plain: nn.Sequential) -> None:
    theirs = plain.register_forward_pre_hook(lambda _module, args: (args[0] + 1,))
    slots = Slots(plain)
    with slots.using({ROOT: Doubling()}):
        assert times(plain) == 4.0
    assert times(plain) == 2.0
    assert list(plain._forward_pre_hooks) == [theirs.id]


def test_an_interrupt_while_the_root_is_written_waits_for_its_end(plain: nn.Sequential) -> None:
    slots = Slots(plain)
    coming = Interrupting({ROOT: Doubling(), "1": nn.Identity()})
    with pytest.raises(KeyboardInterrupt):
        slots.write(coming)
    assert slots.written == dict(coming)
    assert times(plain) == 2.0
    slots.write({})
    assert not plain._forward_pre_hooks
