"""What is not finite is told apart by a session: the base, a row, a held-out row, the run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lora_magic.errors import LoraMagicError, TrainingError
from lora_magic.state.session import Session
from tests.state.resuming import ROWS
from tests.tiny import tiny_model, tiny_tokenizer

PAIRS = [{"prompt": p, "chosen": c, "rejected": "No."} for p, c in ROWS]
#: Its token is in no other row.
BAD = "ZZZ"

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lora": ({"rank": 2}, {"steps": 3}),
    "eva": ({"rank": 2, "init": "eva"}, {"steps": 3}),
    "adalora": ({"method": "adalora"}, {"steps": 10}),
    "search": ({"rank": 2}, {"lr": "find"}),
    "held out": ({"rank": 2}, {"steps": 3, "eval": 2}),
}


def of(model: Any, dtype: torch.dtype) -> Session:
    session = Session()
    session.use(model.to(dtype), tiny_tokenizer(chat=True))
    return session


def with_a_bad_row() -> Any:
    model = tiny_model()
    bad = tiny_tokenizer(chat=True)(BAD, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        model.get_input_embeddings().weight[bad] = float("inf")
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [ROWS, PAIRS])
def test_a_base_that_is_not_finite_is_named(kind: str, rows: list[Any], dtype: torch.dtype) -> None:
    model = tiny_model()
    model.model.layers[0].mlp.up_proj.weight.data[0, 0] = float("nan")
    session, (attach, flags) = of(model, dtype), KINDS[kind]
    session.attach("one", **attach)
    with pytest.raises(TrainingError, match=r"the base's own output is not finite .*up_proj"):
        session.train("one", rows, **flags)
    with pytest.raises(LoraMagicError, match="not finite"):
        session.ask("Hello", max_new_tokens=2)
    assert session.verify()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0, 4, 8])
def test_a_row_that_is_not_finite_is_named(kind: str, place: int) -> None:
    session, (attach, flags) = of(with_a_bad_row(), torch.float32), KINDS[kind]
    session.attach("one", **attach)
    rows = [*ROWS[:place], (f"{BAD}?", "x"), *ROWS[place:]]
    flags = {**flags, "batch_size": 9}
    with pytest.raises(TrainingError, match=rf"the base's loss is not finite for row {place + 1} "):
        session.train("one", rows, **flags)
    assert session.verify()


def test_a_held_out_row_that_is_not_finite_is_named_before_the_first_step() -> None:
    session = of(with_a_bad_row(), torch.float32)
    session.attach("one", rank=2)
    with pytest.raises(TrainingError, match="held out: the base's loss is not finite for row 2 "):
        session.train("one", ROWS, steps=3, eval=[("Who?", "Me."), (f"{BAD}?", "x")])


@pytest.mark.parametrize("rows", [ROWS, PAIRS])
def test_a_run_that_diverges_is_told_a_lower_rate(rows: list[Any]) -> None:
    session = of(tiny_model(), torch.float32)
    session.attach("one", rank=2)
    with pytest.raises(TrainingError, match=r"--lr 10: lower it, as in --lr 2\."):
        session.train("one", rows, steps=6, lr=10.0)
    assert session.verify()


@pytest.mark.parametrize("rows", [2, 1])
def test_eva_begins_in_smaller_passes_when_memory_runs_out(rows: int) -> None:
    session = of(tiny_model(), torch.float32)
    session.attach("one", rank=2, init="eva")

    def full(module: object, args: object, given: dict[str, Any]) -> None:
        if len(given["input_ids"]) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = session.model.register_forward_pre_hook(full, with_kwargs=True)
    summary = session.train("one", ROWS, steps=3, batch_size=4)
    hook.remove()
    state = session._state.attached["one"].state()
    assert summary.notes[-1].endswith(f"instead of {2 * rows}")
    for name, down in state.items():
        if "lora_A" in name:  # the main directions are orthonormal; three steps move them little
            assert torch.allclose(down @ down.mT, torch.eye(2), atol=0.05), name
    assert session.verify()
