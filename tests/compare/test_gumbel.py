from __future__ import annotations

import torch

from lora_magic.compare.generate import SharedGumbel

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0])


def draws(temperature: float, seed: int, count: int, rows: int = 1) -> torch.Tensor:
    gumbel, ids = SharedGumbel(temperature, seed), torch.zeros(rows, 1, dtype=torch.long)
    scores = LOGITS.expand(rows, -1)
    return torch.stack([gumbel(ids, scores).argmax(dim=-1) for _ in range(count)])


def test_tokens_are_drawn_from_the_softmax_at_that_temperature() -> None:
    for temperature in (0.5, 1.0, 2.0):
        count = 5_000
        seen = draws(temperature, 3, count).flatten().bincount(minlength=5) / count
        expected = torch.softmax(LOGITS / temperature, dim=0)
        error = (expected * (1 - expected) / count).sqrt()
        assert bool(((seen - expected).abs() < 4 * error).all())


def test_equal_rows_draw_equal_tokens_at_every_position() -> None:
    picked = draws(1.0, 0, 200, rows=3)
    assert bool((picked == picked[:, :1]).all())
    assert len(set(picked.flatten().tolist())) > 2


def test_a_seed_names_its_draws_and_another_seed_names_others() -> None:
    assert torch.equal(draws(1.0, 5, 100), draws(1.0, 5, 100))
    assert not torch.equal(draws(1.0, 5, 100), draws(1.0, 6, 100))


def test_a_vanishing_temperature_takes_the_likeliest_token() -> None:
    assert set(draws(1e-30, 0, 50).flatten().tolist()) == {0}


def test_a_masked_token_is_never_drawn() -> None:
    gumbel = SharedGumbel(5.0, 0)
    scores = torch.tensor([[0.0, float("-inf"), 0.0]])
    ids = torch.zeros(1, 1, dtype=torch.long)
    assert {int(gumbel(ids, scores).argmax()) for _ in range(200)} == {0, 2}


def test_the_global_random_state_is_not_read() -> None:
    before = torch.get_rng_state()
    draws(1.0, 0, 5)
    assert torch.equal(torch.get_rng_state(), before)
