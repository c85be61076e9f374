"""LoftQ (Li et al. 2023): an adapter that begins with the best part of what 4 bits took off W."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lora_magic.base.quantise import dequantised
from lora_magic.errors import AdapterError
from lora_magic.state.session import Session
from tests.conftest import Saver, logits
from tests.papers.small import factors
from tests.tiny import tiny_model

RANK = 4


@pytest.fixture
def quantised(saved_model: Saver) -> Session:
    session = Session()
    session.load(str(saved_model()), bits=4)
    return session


@pytest.mark.parametrize("rslora", [False, True], ids=["lora", "rslora"])
@pytest.mark.parametrize("alpha", [1.0, float(RANK), 32.0])
def test_what_is_left_of_w_is_the_tail_of_the_singular_values_whatever_alpha(
    alpha: float, rslora: bool, quantised: Session
) -> None:
    """‖W − Q − s·B·A‖² = Σ_{i>r} σᵢ²(W − Q), for Q what the layer computes with."""
    record = quantised.attach(
        "one", rank=RANK, alpha=alpha, init="loftq", rslora=rslora, targets="all-linear"
    )
    whole = tiny_model()
    assert len(record.modules) == 14
    for path, layer in quantised._state.attached["one"].replacements.items():
        weight = whole.get_submodule(path).weight.detach().double()  # type: ignore[operator]
        lost = weight - dequantised(quantised._state.slots.original(path)).double()
        a, b, scale = factors(layer)
        assert scale == pytest.approx(alpha / (RANK**0.5 if rslora else RANK), rel=1e-12)
        left = float((lost - scale * b @ a).square().sum())
        tail = float(torch.linalg.svdvals(lost)[RANK:].square().sum())
        assert left == pytest.approx(tail, rel=1e-5), path
        assert tail < 0.9 * float(lost.square().sum()), "there was something to win"
    assert quantised.verify()


def test_the_model_begins_nearer_to_the_one_in_32_bits(quantised: Session) -> None:
    whole: Any = tiny_model()
    with torch.no_grad():
        aim = whole(input_ids=torch.arange(10, 26)[None]).logits
    rounded = logits(quantised)
    quantised.attach("one", rank=16, alpha=8, init="loftq", targets="all-linear")
    began = logits(quantised)
    assert float((began - aim).norm()) < 0.6 * float((rounded - aim).norm())
    quantised.swap("base")
    assert torch.equal(logits(quantised), rounded), "the base is as it was"


def test_on_a_base_that_is_not_quantised_nothing_was_lost(session: Session) -> None:
    with pytest.raises(AdapterError, match=r"--init loftq .* is not quantised"):
        session.attach("one", rank=4, init="loftq", targets="q_proj")
    assert dict(session.adapters) == {}
