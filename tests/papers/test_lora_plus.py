"""LoRA+ (Hayou et al. 2024): A at lr, B at λ·lr."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lora_magic.state.session import Session
from tests.state.shared import ROWS


def moved(session: Session, steps: int, ratio: float | None) -> dict[str, Tensor]:
    attached = session._state.attached["one"]
    session.train("one", text=ROWS, steps=steps, lr=1e-3, lora_plus=ratio)
    return {name: tensor - attached.start[name] for name, tensor in attached.state().items()}


@pytest.mark.parametrize("ratio", [4.0, 16.0])
def test_the_first_step_of_b_is_lambda_times_as_long_in_the_same_direction(
    ratio: float, session: Session
) -> None:
    """Adam's first step is lr·g/(|g| + ε), and both runs see the same gradient."""
    session.attach("one", rank=4, targets="q_proj,v_proj")
    plain, plus = moved(session, 1, None), moved(session, 1, ratio)
    for name, change in plain.items():
        if "lora_A" in name:
            assert not change.any(), "B = 0 gives A no gradient yet"
            assert not plus[name].any()
        else:
            assert torch.allclose(plus[name], ratio * change, rtol=1e-5, atol=1e-9)
            assert float(change.abs().max()) == pytest.approx(1e-3, rel=1e-2)


def test_a_learns_at_the_plain_rate(session: Session) -> None:
    """At the second step A moves by lr at most, for every λ: B by λ times that."""
    session.attach("one", rank=4, targets="q_proj,v_proj")
    for name, change in moved(session, 2, 16.0).items():
        furthest = float(change.abs().max())
        bound = 1e-3 if "lora_A" in name else 2 * 16e-3
        assert 0.1 * bound < furthest < 1.01 * bound, name


def test_a_ratio_of_one_is_lora(session: Session) -> None:
    session.attach("one", rank=4, targets="q_proj,v_proj")
    plain, one = moved(session, 3, None), moved(session, 3, 1.0)
    assert all(torch.equal(plain[name], one[name]) for name in plain)
