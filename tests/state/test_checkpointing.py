"""`--checkpointing`: activations are computed again, the result is the same, and nothing stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from lora_magic.errors import CommandError
from lora_magic.state.session import Session
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = [(f"What is {number}?", "It is " + "arr, " * (1 + number)) for number in range(8)]
FLAGS: dict[str, Any] = {"steps": 4, "batch_size": 4, "eval": 0, "seed": 1}


def session_with(architecture: str = "llama", **attach: Any) -> Session:
    session = Session()
    session.use(tiny_model(architecture), tiny_tokenizer())
    session.attach("one", **{"rank": 2, "targets": "all-linear", **attach})
    return session


@contextmanager
def forwards_of_a_block(session: Session) -> Iterator[list[int]]:
    """How often a block was computed in training mode, in its list's only place."""
    model: Any = session.model
    block = (
        model.transformer.h[1].mlp if hasattr(model, "transformer") else model.model.layers[1].mlp
    )
    count = [0]

    def counted(module: torch.nn.Module, args: object) -> None:
        count[0] += module.training and torch.is_grad_enabled()

    hook = block.register_forward_pre_hook(counted)
    try:
        yield count
    finally:
        hook.remove()


def trained(session: Session, **flags: Any) -> tuple[dict[str, torch.Tensor], int]:
    """The adapter's weights after a run, and how often a block was computed in it."""
    with forwards_of_a_block(session) as count:
        session.train("one", ROWS, **{**FLAGS, **flags})
    assert session.verify()
    return session._state.attached["one"].state(), count[0]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_plain_steps_with_it_have_the_same_bits_from_twice_the_forward_passes(
    architecture: str, dropout: float
) -> None:
    kept, once = trained(session_with(architecture, dropout=dropout), plain_step=True)
    session = session_with(architecture, dropout=dropout)
    again, twice = trained(session, plain_step=True, checkpointing=True)
    assert twice == 2 * once
    assert all(torch.equal(again[name], tensor) for name, tensor in kept.items())
    modules = list(session.model.modules())
    assert not any(getattr(module, "gradient_checkpointing", False) for module in modules)


def test_packed_rows_and_fused_layers_end_at_the_same_weights() -> None:
    kept, once = trained(session_with())
    session = session_with()
    again, twice = trained(session, checkpointing=True)
    assert twice == 2 * once
    for name, tensor in kept.items():
        torch.testing.assert_close(again[name], tensor, rtol=1e-4, atol=1e-6)


def test_the_first_line_says_so() -> None:
    said: list[str] = []

    class Told:
        def start(self, plan: Any) -> None:
            said.append(plan.line)

        def step(self, point: Any) -> None: ...

        def finish(self, summary: Any) -> None: ...

    session = session_with()
    session.train("one", ROWS, **FLAGS, checkpointing=True, reporter=Told())
    session.train("one", ROWS, **FLAGS, reporter=Told())
    assert ["gradient checkpointing" in line for line in said] == [True, False]


def test_several_adapters_and_every_arm_of_a_sweep_have_it() -> None:
    session = session_with()
    session.attach("two", rank=3)
    with forwards_of_a_block(session) as count:
        session.train("one,two", ROWS, **FLAGS, checkpointing=True)
    assert count[0] == 2 * 2 * FLAGS["steps"]
    with forwards_of_a_block(session) as count:
        found = session.sweep(
            "best", ROWS, rank=[1, 2], steps=4, batch_size=4, eval=4, checkpointing=True
        )
    steps = sum(arm.steps for arm in found.arms)
    assert count[0] >= 2 * steps
    assert all("--checkpointing" in arm.train for arm in found.arms)


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_virtual_tokens_refuse_it_before_anything_changes(method: str) -> None:
    session = session_with()
    session.attach("virtual", method=method)
    before = session._state.attached["virtual"].state()
    with pytest.raises(CommandError, match=r"--checkpointing: virtual acts .*; omit it"):
        session.train("virtual", ROWS, **FLAGS, checkpointing=True)
    after = session._state.attached["virtual"].state()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_model_that_cannot_do_it_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_with()
    monkeypatch.setattr(type(session.model), "supports_gradient_checkpointing", False)
    with pytest.raises(CommandError, match="--checkpointing: LlamaForCausalLM does not support it"):
        session.train("one", ROWS, **FLAGS, checkpointing=True)
