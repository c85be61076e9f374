from __future__ import annotations

import signal

import pytest
from torch import nn

from lora_magic.adapters.slots import Slots


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
    assert slots.strangers() == []


def test_a_path_that_is_not_there_is_refused_before_anything_is_written(
    model: nn.Sequential,
) -> None:
    slots = Slots(model)
    slots.write({"0": nn.Identity()})
    before = slots.written
    with pytest.raises(KeyError):
        slots.write({"1.0": nn.Identity(), "7": nn.Identity()})
    assert slots.written == before
    assert slots.strangers() == []


def test_held_puts_back_what_stood_also_after_an_error(model: nn.Sequential) -> None:
    slots = Slots(model)
    first, second = nn.Identity(), nn.Identity()
    slots.write({"0": first})
    seen: list[nn.Module] = []

    def within() -> None:
        with slots.held({"1.1": second}):
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
    assert slots.strangers() == ["0"]
    assert slots.collect() == {"0": stranger}
    assert model[0] is original
