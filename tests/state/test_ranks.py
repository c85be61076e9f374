"""Which rank is enough: losses are those of adapters really compressed, and nothing is left."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lora_magic.adapters.combine.changes import ModuleLoss
from lora_magic.adapters.combine.compress import shared_out
from lora_magic.errors import LoraMagicError
from lora_magic.evaluation.ranks import RankEvidence
from lora_magic.state import ranks as measuring
from lora_magic.state.session import Session
from tests.classifiers import saved, tiny_of
from tests.conftest import Saver, perturb
from tests.state.shared import snapshot

ROWS = [
    ("Where is the library?", "Arr, it be down by the harbour, matey!"),
    ("What should I cook tonight?", "Fish stew."),
    ("Hi", "Ahoy there, ye landlubber!"),
    ("What does a fox eat at night?", "Mice."),
    ("Who?", "Me."),
    ("Where?", "Here, by the sea."),
]


def moved(session: Session, name: str, size: float = 0.3) -> None:
    """Every own parameter of the adapter moved at random."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for _, tensor in session._state.attached[name].tensors():
            tensor.add_(torch.randn(tensor.shape, generator=generator) * size)


def measured(session: Session, **more: Any) -> RankEvidence:
    found = session.compress("one", data=ROWS, **more)
    assert isinstance(found, RankEvidence)
    return found


KINDS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 3},
    "norms": {"rank": 3, "norms": True},
    "gpt2": {"rank": 3, "bias": "lora_only", "norms": True},
    "gpt2 embedding": {"rank": 2, "targets": "wte"},
    "every module": {"rank": 2, "targets": "all-linear", "rslora": True},
    "unequal ranks": {"rank": 3, "rank_pattern": "q_proj=2"},
    "dora": {"rank": 2, "dora": True},
    "adalora": {"method": "adalora", "rank": 3},
    "full": {"method": "full"},
    "ia3": {"method": "ia3"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_answers_are_those_of_an_adapter_compressed_to_the_rank(
    kind: str, saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model(kind.split()[0] if "gpt2" in kind else "llama")))
    session.attach("one", **KINDS[kind])
    moved(session, "one", 0.05 if kind in ("full", "ia3") else 0.3)
    before = snapshot(session)
    found = measured(session)
    assert snapshot(session) == before
    assert session.verify()
    longest = int(
        session.preview("one", data=ROWS, rows=6).to_frame().groupby("row").trained.sum().max()
    )
    for one in (found.losses[0], found.losses[-1]):
        session.compress("one", "small", rank=one.rank, replace=True)
        evaluation = session.evaluate("one,small", ROWS, max_new_tokens=longest)
        loss = {name: evaluation.mean(name, "loss") for name in ("base", "one", "small")}
        assert found.base_loss == pytest.approx(loss["base"].value, abs=1e-5)  # type: ignore[union-attr]
        assert found.loss == pytest.approx(loss["one"].value, abs=1e-5)  # type: ignore[union-attr]
        assert one.loss == pytest.approx(loss["small"].value, abs=1e-5)  # type: ignore[union-attr]
        same = [row.answers[1] == row.answers[2] for row in evaluation.rows]
        assert one.same == pytest.approx(np.mean(same))
        assert one.parameters == sum(
            tensor.numel()
            for name, tensor in session._state.attached["small"].tensors()
            if "lora_" in name
        )
    session.reset()


@pytest.mark.parametrize("factors", [1, 10_000])
def test_how_many_truncations_share_a_batch_changes_no_loss(
    factors: int, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=5)
    perturb(session, "one", 0.5)
    together = measured(session)
    monkeypatch.setattr(measuring, "_FACTORS", factors)
    apart = measured(session)
    for one, other in zip(together.losses, apart.losses, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
        assert one.same == other.same


def test_losses_are_those_of_a_dense_model_truncated_in_float64(session: Session) -> None:
    session.attach("one", rank=4)
    perturb(session, "one", 0.5)
    found = measured(session)
    read = session.preview("one", data=ROWS, rows=len(ROWS)).to_frame()
    for one in found.losses:
        model = copy.deepcopy(session.model).double()
        for path, update in session._state.attached["one"].updates().items():
            u, sigma, v = torch.linalg.svd(update.dense(torch.float64), full_matrices=False)
            short = (u[:, : one.rank] * sigma[: one.rank]) @ v[: one.rank]
            weight = session._state.slots.original(path).weight.detach()
            linear = torch.nn.Linear(*reversed(weight.shape), bias=False).double()
            linear.weight.data = weight.double() + short  # type: ignore[operator]
            model.set_submodule(path, linear)
        nats, tokens = 0.0, 0
        for _, row in read.groupby("row"):
            ids, trained = torch.tensor(row.id.tolist()), torch.tensor(row.trained.tolist())
            with torch.no_grad():
                logits = model(input_ids=ids[None]).logits[0, :-1]
            nats += float(cross_entropy(logits, ids[1:], reduction="none")[trained[1:]].sum())
            tokens += int(trained[1:].sum())
        assert one.loss == pytest.approx(nats / tokens, abs=1e-5)


def test_a_classifiers_ranks_keep_its_head(tmp_path: Any) -> None:
    session = Session()
    session.load(saved(tiny_of("causal", "llama"), tmp_path), task="classification", labels="a,b")
    session.attach("one", rank=2)
    moved(session, "one")
    rows = [("The sun", "a"), ("A moon", "b"), ("My sun", "a"), ("My moon", "b")]
    found: Any = session.compress("one", data=rows)
    session.compress("one", "small", rank=1)
    evaluation = session.evaluate("one,small", rows)
    assert found.losses[0].loss == pytest.approx(evaluation.mean("small", "loss").value, abs=1e-5)  # type: ignore[union-attr]
    said = [row.answers[1] == row.answers[2] for row in evaluation.rows]
    assert found.losses[0].same == np.mean(said)
    session.reset()


def test_an_adapter_that_gains_gets_a_rank_lines_to_check_it_and_a_shared_budget(
    session: Session,
) -> None:
    session.attach("one", rank=4, alpha=8)
    perturb(session, "one", 1.0)
    attached = session._state.attached["one"]
    attached.run = {"steps": 12, "learning_rate": 0.05}
    with torch.no_grad():
        for name, tensor in attached.tensors():
            if "lora_B" in name:
                # The last two directions hardly count.
                tensor[:, 2:] *= 1e-4
    # What the adapter itself says is likelier under it than under the base.
    prompts = [f"{prompt} {number}" for prompt, _ in ROWS for number in range(3)]
    said: Any = session.ask(data=prompts, max_new_tokens=4)
    rows = [(row.prompt, row.answer) for row in said.rows if row.answer.strip()]
    found = session.compress("one", data=rows)
    assert isinstance(found, RankEvidence)
    assert found.gain > 0
    assert found.rank is not None, found.verdict
    assert found.budget is not None
    made: Any = session.compress("one", budget=found.rank)
    assert made.new == f"one_b{found.rank}"
    ranks = {row.module: row.rank_after for row in made.modules}
    assert ranks == dict(found.shared or {})
    assert made.error == pytest.approx(found.budget.lost, abs=1e-6)
    loss = session.evaluate(made.new, rows, max_new_tokens=1).mean(made.new, "loss")
    assert loss is not None
    assert found.budget.loss == pytest.approx(loss.value, abs=1e-5)
    even: Any = session.compress("one", rank=found.rank)
    assert made.parameters <= even.parameters
    assert made.error <= even.error
    attach, train, *_ = found.retrain
    assert f"--rank {found.rank} --alpha {2 * found.rank}" in attach
    assert "--steps 12 --lr 0.05" in train
    assert "%lora compress one --rank" in found.line


def test_an_untrained_adapter_gains_nothing(session: Session) -> None:
    session.attach("one", rank=2)
    found = measured(session)
    assert "gains nothing" in found.verdict
    assert all(one.excess == 0 for one in found.losses)


def test_while_merged_the_ranks_can_be_measured(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one", 0.5)
    apart = measured(session)
    session.merge("one")
    merged = measured(session)
    for one, other in zip(apart.losses[:1], merged.losses[:1], strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
    assert session.merged == "one"
    session.unmerge()
    assert session.verify()


def test_the_first_look_ends_it_with_nothing_and_a_late_one_with_the_losses(
    session: Session,
) -> None:
    session.attach("one", rank=2)
    perturb(session, "one", 0.5)
    before = snapshot(session)
    with pytest.raises(KeyboardInterrupt):
        measured(session, watch=lambda line: True)
    assert snapshot(session) == before
    found = measured(session, watch=lambda line: line().startswith("answers"))
    assert found.stopped
    assert found.rows == len(ROWS)
    assert all(one.same is None for one in found.losses)
    assert snapshot(session) == before
    assert session.verify()


def test_only_the_first_rows_are_measured(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one", 0.5)
    few: Any = session.compress("one", data=ROWS, rows=2)
    assert few.rows == 2
    same: Any = session.compress("one", data=ROWS[:2])
    assert few.losses == same.losses


MISTAKES: list[tuple[Callable[[Session], object], str]] = [
    (lambda s: s.compress("one", data=ROWS, rank=1), "%lora compress one --rank 1"),
    (lambda s: s.compress("one", data=ROWS, budget=1), "omit --budget 1"),
    (lambda s: s.compress("one", "new", data=ROWS), "%lora compress one new --rank 4"),
    (lambda s: s.compress("one", rows=3), "%lora compress NAME --data VAR"),
    (lambda s: s.compress("one", skip_bad=True), "--skip-bad"),
    (lambda s: s.compress("one", data=ROWS, rows=0), "--rows 0"),
    (lambda s: s.compress("one", rows=0), "--rows is about rows"),
    (lambda s: s.compress("one", data=ROWS, rank="4"), "%lora compress one --rank 8"),
    (lambda s: s.compress("one", data=ROWS, energy=[1]), "%lora compress one --energy 0.95"),
    (lambda s: s.compress("one", data=ROWS, rank=1234567), "omit --rank 1234567;"),
    (lambda s: s.compress("one", data=ROWS, rank=10**400), "omit --rank 1000"),
    (lambda s: s.compress("one", rank=10**400), "at most 64"),
    (lambda s: s.compress("one", data="Who? => Me.\nHi => Ho."), "the magic %%lora compress one."),
    (lambda s: s.compress("one", data=[]), "the data is empty"),
    (lambda s: s.compress("one", data=["What?"], map_=lambda row: {"prompt": "a"}), "row 1"),
    (lambda s: s.compress("soft", data=ROWS), "no ΔW"),
    (lambda s: s.compress("one", budget=0), "--budget 8"),
    (lambda s: s.compress("one", budget=1, energy=0.5), "exclude each other"),
    (lambda s: s.compress(data=ROWS), "no adapter is active"),
]


@pytest.mark.parametrize(("verb", "hint"), MISTAKES)
def test_a_mistake_is_one_line_and_changes_nothing(
    verb: Callable[[Session], object], hint: str, session: Session
) -> None:
    session.attach("one", rank=2)
    session.attach("soft", method="prompt", virtual_tokens=2)
    session.swap("base")
    before = snapshot(session)
    with pytest.raises(LoraMagicError) as seen:
        verb(session)
    assert hint in str(seen.value)
    assert "\n" not in str(seen.value)
    assert snapshot(session) == before
    assert session.verify()


def test_the_shared_ranks_keep_the_largest_singular_values_of_matrices_of_one_shape() -> None:
    generator = np.random.default_rng(0)
    rows = []
    for at in range(6):
        sigma = tuple(sorted(generator.exponential(2.0**at, 8), reverse=True))
        rows.append(ModuleLoss(f"m{at}", 8, 8, float(np.linalg.norm(sigma)), 0.0, sigma, 24))
    for rank in range(1, 9):
        shared = shared_out(rows, rank)
        assert sum(shared.values()) == 6 * rank
        kept = [value for row in rows for value in row.sigma[: shared[row.module]]]
        every = sorted((value for row in rows for value in row.sigma), reverse=True)
        assert sorted(kept, reverse=True) == every[: 6 * rank]


def test_shared_ranks_never_cost_more_or_keep_less_than_the_even_rank() -> None:
    generator = np.random.default_rng(1)
    for trial in range(50):
        rows = []
        for at in range(5):
            rank = int(generator.integers(1, 9))
            sigma = tuple(sorted(generator.exponential(1.0 + trial, rank), reverse=True))
            size = int(generator.integers(2, 40))
            rows.append(
                ModuleLoss(f"m{at}", rank, rank, float(np.linalg.norm(sigma)), 0.0, sigma, size)
            )
        for even in (1, 3, 8):
            shared = shared_out(rows, even)
            spent = sum(shared[row.module] * row.per_rank for row in rows)
            assert spent <= sum(min(even, row.rank_before) * row.per_rank for row in rows)
            energy = sum(sum(s**2 for s in row.sigma[: shared[row.module]]) for row in rows)
            least = sum(sum(s**2 for s in row.sigma[:even]) for row in rows)
            assert energy >= least * (1 - 1e-12)
