"""Merged and unmerged: the answer stays, and not one bit of the base changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lora_magic.errors import (
    AdapterError,
    StateError,
)
from lora_magic.state.session import Session
from tests.conftest import REORDERED, Saver, logits, perturb
from tests.state.shared import ROWS, snapshot
from tests.tiny import tiny_model


def test_an_adapter_that_has_diverged_is_not_merged(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one", size=float("nan"))
    with pytest.raises(AdapterError, match=r"q_proj: .* NaN or infinity; .*%lora detach"):
        session.merge()
    assert session.merged is None
    assert session.verify()


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_a_hundred_merges_and_unmerges_change_no_bit(
    architecture: str, dtype: str, saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model(architecture)), dtype=dtype)
    # Tied embeddings included: qwen2 and gpt2 share one tensor with their output head.
    targets = {"llama": "all-linear,", "gpt2": "c_attn,wte", "qwen2": "q_proj,embed_tokens,lm_head"}
    session.attach("one", rank=2, targets=targets[architecture].strip(",") or None)
    perturb(session, "one")
    bits = {k: v.clone() for k, v in session.model.state_dict().items() if "lora_" not in k}
    unmerged = logits(session)
    for _ in range(100):
        session.merge("one")
        session.unmerge()
    assert session.verify()
    now = {k: v for k, v in session.model.state_dict().items() if "lora_" not in k}
    assert all(torch.equal(bits[key], now[key]) for key in bits)
    assert torch.equal(logits(session), unmerged)
    base = dict(tiny_model(architecture, dtype=getattr(torch, LONG[dtype])).named_parameters())
    session.swap("base")
    for name, parameter in session.model.named_parameters():
        assert torch.equal(parameter, base[name])


LONG = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def test_merging_a_tied_head_leaves_the_embedding_alone(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model("qwen2")))
    session.attach("one", rank=2, targets="lm_head")
    perturb(session, "one")
    unmerged = logits(session)
    session.merge()
    assert torch.allclose(logits(session), unmerged, atol=REORDERED)
    embedding = session.model.model.embed_tokens.weight
    assert session.model.lm_head.weight is not embedding
    session.unmerge()
    assert session.verify()


def test_merged_the_answer_is_the_unmerged_one_at_the_cost_of_the_targets_only(
    session: Session,
) -> None:
    session.attach("one", rank=2, targets="q_proj,v_proj")
    perturb(session, "one")
    unmerged = logits(session)
    report = session.merge()
    assert torch.allclose(logits(session), unmerged, atol=REORDERED)
    assert report.logit_difference < 1e-5
    sizes = {
        n: m.weight.numel() * 4
        for n, m in session.model.named_modules()
        if "q_proj" in n or "v_proj" in n
    }
    assert report.extra_bytes == sum(sizes.values())
    assert not any(hasattr(module, "lora_A") for module in session.model.modules())


def test_while_merged_verbs_that_would_mix_are_refused(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.attach("two", rank=2)
    session.save("two", tmp_path / "two")
    session.merge("one")
    before = snapshot(session)
    verbs: list[Callable[[], object]] = [
        lambda: session.swap("two"),
        lambda: session.attach("three"),
        lambda: session.train("one", text=ROWS),
        lambda: session.detach("two"),
        lambda: session.open(tmp_path / "two", "four"),
    ]
    for verb in verbs:
        with pytest.raises(StateError, match="%lora unmerge"):
            verb()
    assert snapshot(session) == before
    assert session.verify()


def test_merge_twice_does_nothing_and_merge_other_unmerges_first(session: Session) -> None:
    for seed, name in enumerate(["one", "two"]):
        session.attach(name, rank=2)
        perturb(session, name, seed=seed)
    expected = logits(session)
    session.merge("one")
    assert session.merge("one").already
    session.merge("two")
    assert session.merged == "two"
    assert torch.allclose(logits(session), expected, atol=REORDERED)
    session.unmerge()
    assert (session.merged, session.active) == (None, "two")
    with pytest.raises(StateError, match="nothing is merged"):
        session.unmerge()
