"""A small model runs on one thread, and torch has its threads back afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from lora_magic.base import device
from lora_magic.base.device import fitting_threads
from lora_magic.state.session import Session


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_thread_for_a_small_model_and_all_for_a_large_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Linear(4, 4)
    with fitting_threads(model):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    monkeypatch.setattr(device, "ONE_THREAD_LIMIT", 20)
    with fitting_threads(model):
        assert torch.get_num_threads() == 2


def test_the_threads_come_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="within"), fitting_threads(nn.Linear(4, 4)):
        raise ValueError("within")
    assert torch.get_num_threads() == 2


def test_asking_and_training_run_on_one_thread(session: Session) -> None:
    seen: list[int] = []
    session.model.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    session.attach("one", rank=2)
    session.ask("Hello", max_new_tokens=1)
    session.compare("Hello", max_new_tokens=1)
    session.train("one", text="Where? => Here.", steps=1)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
