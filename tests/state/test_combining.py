"""Blends and compressions in a session: registered whole or not at all, and never activated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from lora_magic.adapters import attach
from lora_magic.base.prompt import PromptForm
from lora_magic.errors import AdapterError, LoraMagicError, StateError
from lora_magic.state.session import Session
from tests.conftest import logits, perturb
from tests.state.shared import ROWS, snapshot
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture
def two(session: Session) -> Session:
    """The base active, "one" and "two" attached, neither of them ΔW = 0."""
    for seed, name in enumerate(("one", "two")):
        session.attach(name, rank=2 + seed)
        perturb(session, name, seed=seed)
    session.swap("base")
    return session


MISTAKES: list[tuple[Callable[[Session], object], str]] = [
    (lambda s: s.blend("new", ""), "%lora blend new a=0.7 b=0.3"),
    (lambda s: s.blend("new", {}), "%lora blend new a=0.7 b=0.3"),
    (lambda s: s.blend("new", "one=0.7 tow=0.3"), "Did you mean 'two'"),
    (lambda s: s.blend("new", "one=0.7 one=0.3"), "named twice"),
    (lambda s: s.blend("new", "one=much"), "weight 'much' of one"),
    (lambda s: s.blend("new", "one=nan"), "weight 'nan' of one"),
    (lambda s: s.blend("new", {"one": float("inf")}), "weight inf of one"),
    (lambda s: s.blend("new", {"one": True}), "expected a number"),
    (lambda s: s.blend("new", {"one": "0.5"}), "expected a number"),
    (lambda s: s.blend("new", {5: 0.5}), "expected a name"),
    (lambda s: s.blend("new", [("one", 0.5)]), "expected names and numbers"),
    (lambda s: s.blend("new", "one=0 two=0"), "every weight is 0"),
    (lambda s: s.blend("new", "one=1e300"), "beyond float32"),
    (lambda s: s.blend("new", "base=1"), "base is not an adapter"),
    (lambda s: s.blend("base", "one=1"), "base model's own name"),
    (lambda s: s.blend("a b", "one=1"), "%lora blend a_b"),
    (lambda s: s.blend("two", "one=1"), "--replace"),
    (lambda s: s.blend("new", "one=1", method="tise"), "Did you mean 'ties'"),
    (lambda s: s.blend("new", "one=1", method=5), "expected one of"),
    (lambda s: s.blend("new", "one=1", rank=0), "--rank 8"),
    (lambda s: s.blend("new", "one=1", rank=2.5), "--rank 8"),
    (lambda s: s.blend("new", "one=1", density=0.5), "--method ties"),
    (lambda s: s.blend("new", "one=1", method="ties", density=0), "above 0"),
    (lambda s: s.blend("new", "one=1", method="ties", density=float("nan")), "above 0"),
    (lambda s: s.blend("new", "one=1", method="ties", density="x"), "above 0"),
    (lambda s: s.blend("new", "one=1", method="ties", seed=1), "--method dare"),
    (lambda s: s.blend("new", "one=1", method="dare", seed=-1), "whole number"),
    (lambda s: s.compress("none", rank=1), "no adapter 'none'"),
    (lambda s: s.compress(rank=1), "no adapter is active"),
    (lambda s: s.compress("one", rank=0), "--rank 8"),
    (lambda s: s.compress("one", rank=1, energy=0.9), "use one of them"),
    (lambda s: s.compress("one", energy=95), "--energy 0.95"),
    (lambda s: s.compress("one", energy=0), "--energy 0.95"),
    (lambda s: s.compress("one", "two", rank=1), "--replace"),
    (lambda s: s.compress("one", "a/b", rank=1), "a_b"),
    (lambda s: s.compress("one", "small"), "%lora compress one small --rank 4"),
]


@pytest.mark.parametrize(("verb", "hint"), MISTAKES)
def test_a_mistake_is_one_line_and_registers_nothing(
    verb: Callable[[Session], object], hint: str, two: Session
) -> None:
    before = snapshot(two)
    with pytest.raises(LoraMagicError) as seen:
        verb(two)
    assert hint in str(seen.value)
    assert "\n" not in str(seen.value)
    assert snapshot(two) == before
    assert two.verify()


@pytest.mark.parametrize("method", ["prefix", "prompt", "houlsby", "adapter-l", "bitfit"])
def test_what_has_no_delta_is_refused_with_the_methods_own_reason(method: str) -> None:
    session = Session()
    session.use(tiny_model("gpt2"), tiny_tokenizer())
    session.attach("one", rank=2)
    session.attach("odd", method=method)
    before = snapshot(session)
    reason = session._state.attached["odd"].method.no_spectrum
    assert reason
    for verb in (
        lambda: session.blend("new", "one=1 odd=1"),
        lambda: session.compress("odd"),
        lambda: session.compress("odd", rank=1),
    ):
        with pytest.raises(AdapterError) as seen:
            verb()
        assert reason in str(seen.value)
    assert snapshot(session) == before


@pytest.mark.parametrize("kind", ["dora", "ia3", "full"])
def test_a_sum_with_a_dense_part_asks_for_a_rank(kind: str, two: Session) -> None:
    two.attach("dense", method=kind)
    before = snapshot(two)
    for method in ("sum", "ties"):
        with pytest.raises(AdapterError, match=r"not low rank.*--rank 8"):
            two.blend("new", "one=1 dense=1", method=method)
    assert snapshot(two) == before
    two.blend("new", "one=1 dense=1", rank=2)


@pytest.mark.parametrize("verb", ["blend", "compress"])
def test_a_diverged_adapter_is_not_combined(verb: str, two: Session) -> None:
    perturb(two, "two", size=float("nan"))
    names = list(two.adapters)
    with pytest.raises(AdapterError, match="two holds NaN or infinity in model"):
        if verb == "blend":
            two.blend("new", "one=1 two=1")
        else:
            two.compress("two", rank=1)
    assert list(two.adapters) == names


def test_while_merged_nothing_is_made_but_the_evidence_can_be_seen(two: Session) -> None:
    two.merge("one")
    before = snapshot(two)
    with pytest.raises(StateError, match="%lora unmerge"):
        two.blend("new", "one=1 two=1")
    with pytest.raises(StateError, match="%lora unmerge"):
        two.compress("one", rank=1)
    assert two.compress().adapter == "one"
    assert snapshot(two) == before


def test_neither_activates_what_it_makes(two: Session) -> None:
    for active in ("base", "one"):
        two.swap(active)
        answer = logits(two)
        two.blend("mix", "one=0.5, two = -1", replace=True)
        two.compress("two", "small", rank=1, replace=True)
        assert two.active == active
        assert torch.equal(logits(two), answer)
    assert two.adapters["mix"].history.line == "0.5·one − 1·two"
    assert two.adapters["small"].parents == ("two",)


def test_what_replaces_the_active_one_answers_in_its_place(two: Session) -> None:
    two.blend("mix", "one=1")
    two.swap("mix")
    two.blend("mix", "two=1", replace=True)
    assert two.active == "mix"
    found = logits(two)
    two.swap("two")
    assert torch.allclose(logits(two), found, atol=1e-5)
    # A parent may be replaced by what was made of it.
    two.blend("one", "one=0.5 two=0.5", replace=True)
    assert two.adapters["one"].parents == ("one", "two")
    assert two.verify()


def test_the_same_cell_again_changes_nothing_unless_the_parts_have(two: Session) -> None:
    first = two.blend("mix", "one=0.7 two=0.3")
    two.compress("one", rank=1)
    before = snapshot(two)
    assert two.blend("mix", {"one": 0.7, "two": 0.3}) == first
    two.compress("one", rank=1)
    assert snapshot(two) == before
    with pytest.raises(AdapterError, match="--replace"):
        two.blend("mix", "one=0.7 two=0.4")
    # Trained on, it is still the blend that it began as.
    two.train("mix", text=ROWS, steps=1)
    assert two.blend("mix", "one=0.7 two=0.3").history.steps == 1
    assert two.adapters["mix"].history.made == "0.7·one + 0.3·two"
    perturb(two, "one", seed=7)
    with pytest.raises(AdapterError, match=r"before they changed; add --replace"):
        two.blend("mix", "one=0.7 two=0.3")
    with pytest.raises(AdapterError, match="--replace"):
        two.compress("one", rank=1)
    two.blend("mix", "one=0.7 two=0.3", replace=True)
    assert two.adapters["mix"].history.steps == 0


def test_a_training_of_a_blend_begins_at_the_blend(two: Session) -> None:
    two.blend("mix", "one=0.7 two=0.3")
    two.swap("mix")
    begin = logits(two)
    runs = []
    for _ in range(2):
        two.train("mix", text=ROWS, steps=2, lr=1e-2)
        runs.append(logits(two))
    assert torch.equal(*runs)
    assert not torch.equal(runs[0], begin)


def test_the_prompt_form_is_the_common_one_or_the_firsts(two: Session) -> None:
    assert two._state.attached["one"].form is None
    form = PromptForm.of(two.tokenizer)
    other = replace(form, system="You are brief.")
    two._state.attached["two"].form = form
    two.blend("mix", "one=1 two=1")
    assert two._state.attached["mix"].form == form
    assert "prompt form" not in two.adapters["mix"].line
    two._state.attached["one"].form = other
    two.blend("both", "one=1 two=1")
    assert two._state.attached["both"].form == other
    assert "in the prompt form of one" in two.adapters["both"].line
    two.compress("two", rank=1)
    assert two._state.attached["two_r1"].form == form


def test_names_follow_the_size(two: Session) -> None:
    made = [
        two.compress("one", rank=1).new,
        two.compress("one", energy=0.95).new,
        two.compress("one", energy=0.999).new,
        two.compress("one", energy=1).new,
    ]
    assert made == ["one_r1", "one_e95", "one_e99_9", "one_e100"]
    assert set(made) <= set(two.adapters)
    two.swap("two")
    assert two.compress(rank=1).new == "two_r1"


def test_what_was_made_here_is_not_lost_unasked(two: Session) -> None:
    two.blend("mix", "one=1 two=1")
    with pytest.raises(StateError, match="would lose mix, trained and not saved"):
        two.load("demo")
    two.save("mix", "there")
    assert two._state.unsaved() == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("verb", ["blend", "compress"])
def test_an_error_after_the_layers_are_made_registers_nothing(
    verb: str, kind: type[BaseException], two: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise kind

    before = snapshot(two)
    monkeypatch.setattr(attach, "finished", failing)
    with pytest.raises(kind):
        if verb == "blend":
            two.blend("new", "one=1 two=1")
        else:
            two.compress("one", rank=1)
    assert snapshot(two) == before
    assert two.verify()


def test_the_receipt_of_a_blend_is_safe_to_show(two: Session) -> None:
    record = two.blend("mix", "one=1 two=-0.5", rank=1)
    shown = record._repr_mimebundle_()
    assert "1·one − 0.5·two at rank 1" in str(shown["text/html"])
    assert str(record) == record.line == shown["text/plain"]


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_on_a_base_in_half_precision_factors_are_whole(dtype: str) -> None:
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    session = Session()
    session.use(tiny_model("llama", dtype=kinds[dtype]), tiny_tokenizer())
    for seed, name in enumerate(("one", "two")):
        session.attach(name, rank=2)
        perturb(session, name, seed=seed)
    session.blend("mix", "one=0.7 two=-0.3")
    deltas = {name: session._state.attached[name].updates() for name in session.adapters}
    for path, update in deltas["mix"].items():
        parts = [deltas[name][path].dense(torch.float64) for name in ("one", "two")]
        expected = 0.7 * parts[0] - 0.3 * parts[1]
        torch.testing.assert_close(update.dense(torch.float64), expected, atol=1e-8, rtol=1e-6)
    session.attach("full", method="full")
    with torch.no_grad():
        for _, tensor in session._state.attached["full"].tensors():
            tensor.add_(torch.full_like(tensor, 0.01))
    assert session.compress("full", rank=32).error < 1e-3
    assert session.verify()
