"""AdaLoRA (Zhang et al. 2023): schedule and importance, beside a slow one of the test's own.

b(t) = ⌊b_T + (b_0 − b_T)·(1 − (t − t_i)/(T − t_i − t_f))³⌋
I = |p·∇p|,  Ī ← β1·Ī + (1 − β1)·I,  Ū ← β2·Ū + (1 − β2)·|I − Ī|,  s = Ī·Ū
a triplet's score: s of its value + mean s of its row of A + mean s of its column of B
"""

from __future__ import annotations

from math import floor
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_magic.adapters import bridge
from lora_magic.adapters.delta import PEFT_NAME
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.training_hooks import AdaLoRA, Schedule
from lora_magic.errors import CommandError
from lora_magic.state.session import Session
from tests.papers.small import IDS, Bench, fill
from tests.state.shared import ROWS
from tests.tiny import tiny_model

BETA = 0.85  # β1 and β2, the paper's own and PEFT's.
PARTS = ("lora_A", "lora_E", "lora_B")


def tensors_of(layer: Any) -> dict[str, Any]:
    return {part: getattr(layer, part)[PEFT_NAME] for part in PARTS}


class Slow:
    """The paper's allocation, written down in float64 as it stands there."""

    def __init__(self, ranks: dict[str, int], target: int, plan: Schedule) -> None:
        self.start, self.end, self.plan = sum(ranks.values()), target * len(ranks), plan
        self.sensitivity: dict[tuple[str, str], Tensor] = {}
        self.uncertainty: dict[tuple[str, str], Tensor] = {}
        self.kept: dict[str, Tensor] = {}

    def budget(self, t: int) -> int:
        first, last, steps = self.plan.first, self.plan.last, self.plan.steps
        if t <= first:
            return self.start
        if t >= steps - last:
            return self.end
        part = 1 - (t - first) / (steps - first - last)
        return floor(self.end + (self.start - self.end) * part**3)

    def update(self, seen: dict[tuple[str, str], tuple[Tensor, Tensor]]) -> None:
        for key, (value, gradient) in seen.items():
            importance = (value.double() * gradient.double()).abs()
            old = self.sensitivity.get(key, torch.zeros_like(importance))
            smooth = BETA * old + (1 - BETA) * importance
            doubt = self.uncertainty.get(key, torch.zeros_like(importance))
            self.sensitivity[key] = smooth
            self.uncertainty[key] = BETA * doubt + (1 - BETA) * (importance - smooth).abs()

    def scores(self) -> dict[str, Tensor]:
        s = {key: self.sensitivity[key] * self.uncertainty[key] for key in self.sensitivity}
        return {
            path: s[path, "lora_E"].flatten()
            + s[path, "lora_A"].mean(dim=1)
            + s[path, "lora_B"].mean(dim=0)
            for path in {path for path, _ in s}
        }

    def step(self, t: int, seen: dict[tuple[str, str], tuple[Tensor, Tensor]]) -> None:
        """After step t: which triplets keep their values, in `kept`."""
        over = self.plan.steps - self.plan.last
        if t < over:
            self.update(seen)
        if self.plan.first < t <= over and (t % self.plan.every == 0 or t == over):
            scores = self.scores()
            ranked = sorted(torch.cat(list(scores.values())).tolist(), reverse=True)
            least = ranked[self.budget(t) - 1]
            self.kept = {path: score >= least for path, score in scores.items()}


def watched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each step of the hooks saw and left."""
    steps: list[dict[str, Any]] = []
    real = AdaLoRA.after_update

    def after_update(self: AdaLoRA, step: int) -> None:
        layers = {
            path: tensors_of(layer)
            for path, layer in self._attached.replacements.items()
            if hasattr(layer, "lora_E")
        }
        seen = {
            (path, part): (tensor.detach().clone(), tensor.grad.clone())
            for path, parts in layers.items()
            for part, tensor in parts.items()
        }
        real(self, step)
        left = {path: parts["lora_E"].detach().clone().flatten() for path, parts in layers.items()}
        steps.append({"t": step, "seen": seen, "left": left})

    monkeypatch.setattr(AdaLoRA, "after_update", after_update)
    return steps


@pytest.mark.parametrize(("steps", "every"), [(40, 1), (230, 2)])
def test_a_run_s_budget_and_choice_are_the_paper_s_at_every_step(
    steps: int, every: int, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watched(monkeypatch)
    session.attach("one", method="adalora", rank=4, alpha=8, targets="q_proj,o_proj,up_proj")
    session.train("one", text=ROWS, steps=steps, lr=1e-2)
    plan = Schedule.of(steps)
    assert (plan.first, plan.last, plan.every) == (steps // 10, 3 * steps // 10, every)
    slow = Slow(dict.fromkeys(seen[0]["left"], 6), 4, plan)
    assert (slow.start, slow.end) == (6 * 6, 6 * 4)
    assert [record["t"] for record in seen] == list(range(1, steps + 1))
    budgets = []
    for record in seen:
        slow.step(record["t"], record["seen"])
        for path, left in record["left"].items():
            before = record["seen"][path, "lora_E"][0].flatten()
            in_force = slow.kept and (record["t"] % every == 0 or record["t"] >= steps - plan.last)
            expected = torch.where(slow.kept[path], before, 0.0) if in_force else before
            assert torch.equal(left, expected), (record["t"], path)
        if slow.kept and record["t"] % every == 0:
            alive = sum(int(left.count_nonzero()) for left in record["left"].values())
            assert alive == slow.budget(record["t"]), record["t"]
            budgets.append(alive)
    # The budget falls by a cubic: at first fast, then slowly, to b_T.
    assert budgets[-1] == slow.end
    assert budgets == sorted(budgets, reverse=True)
    assert len(set(budgets)) > 5


def test_the_final_total_is_the_rank_asked_for_times_the_modules(session: Session) -> None:
    session.attach("one", method="adalora", rank=3, alpha=8, targets="all-linear")
    attached = session._state.attached["one"]
    assert set(attached.ranks().values()) == {0}, "every value begins at zero"
    session.train("one", text=ROWS, steps=30, lr=1e-2)
    assert sum(attached.ranks().values()) == 3 * 14
    # 1.5 times as much at first.
    assert {count.rank for count in attached.counts} == {5}
    assert max(attached.ranks().values()) <= 5
    assert len(set(attached.ranks().values())) > 1, "ranks differ by importance"


def test_a_run_too_short_for_a_budget_is_refused(session: Session) -> None:
    session.attach("one", method="adalora", rank=3, alpha=8, targets="q_proj")
    with pytest.raises(CommandError, match="--steps 5: AdaLoRA needs at least 10"):
        session.train("one", text=ROWS, steps=5)


# ΔW and the penalty


def test_delta_w_is_p_lambda_q_and_begins_at_zero() -> None:
    path = "model.layers.0.mlp.up_proj"
    bench = Bench(dtype=torch.float64)
    attached = bench.attach(method="adalora", rank=4, alpha=8.0, targets=path)
    layer: Any = attached.replacements[path]
    start = tensors_of(layer)
    assert not start["lora_E"].any()
    # Gaussian, as the paper has P and Q; PEFT's are narrow.
    assert 0 < float(start["lora_A"].std()) < 0.05
    fill(attached)
    q, values, p = (tensor.detach() for tensor in start.values())
    assert (q.shape, values.shape, p.shape) == ((6, 32), (6, 1), (64, 6))
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # PEFT divides α by the rank in use, plus 1e-5.
    dense = 8.0 / (6 + 1e-5) * p @ torch.diag(values.flatten()) @ q
    weight: Any = bench.slots.original(path).weight
    with torch.no_grad():
        assert torch.allclose(layer(x), x @ (weight + dense).mT, rtol=0, atol=1e-8)
    assert torch.allclose(attached.updates()[path].dense(torch.float64), dense, atol=1e-8)


def test_the_penalty_is_the_distance_of_p_and_q_from_orthogonality() -> None:
    bench = Bench()
    attached = bench.attach(method="adalora", rank=4, alpha=8.0, targets="q_proj,down_proj")
    fill(attached, size=0.5)
    found = AdaLoRA(bench.model, attached).penalty()
    sides: list[Tensor] = []
    for layer in attached.replacements.values():
        q, _, p = (tensor.detach().double() for tensor in tensors_of(layer).values())
        sides += [q, p.mT]
    far = [float((side @ side.mT - torch.eye(6)).square().sum().sqrt()) for side in sides]
    assert len(far) == 8
    assert float(found) == pytest.approx(0.5 * sum(far) / len(far), rel=1e-5)  # type: ignore[arg-type]
    # And it is what PEFT's own model adds to its loss.
    with bench.slots.using(attached.replacements), attached.trainable():
        whole = attached.wrapper(input_ids=IDS, labels=IDS).loss
        plain = bench.model(input_ids=IDS, labels=IDS).loss
    assert float(whole - plain) == pytest.approx(float(found), rel=1e-4)  # type: ignore[arg-type]


# A planted task


def towards(path: str) -> tuple[Bench, LiveAdapter, list[float]]:
    """AdaLoRA trained towards a model that differs from the base in one module alone.

    It may change that module and every query and key, which the difference is none of.
    """
    bench = Bench(initializer_range=0.1)
    teacher: Any = tiny_model(initializer_range=0.1)
    weight = teacher.get_submodule(path).weight
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        left = torch.randn(weight.shape[0], 32, generator=generator)
        weight += left @ torch.randn(32, weight.shape[1], generator=generator) / 32**0.5
        ids = torch.randint(4, 384, (8, 32), generator=generator)
        aim = teacher(input_ids=ids).logits
    targets = rf"re:.*(q_proj|k_proj)|{path}"
    attached = bench.attach(method="adalora", rank=12, alpha=24.0, targets=targets)
    hooks, steps, losses = AdaLoRA(bench.model, attached), 120, []
    with bench.slots.using(attached.replacements), attached.trainable():
        optimizer = torch.optim.AdamW([t for _, t in attached.tensors()], lr=1e-2, weight_decay=0)
        hooks.begin(steps, lambda: iter(()))
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            loss = (bench.model(input_ids=ids).logits - aim).square().mean()
            penalty = hooks.penalty()
            assert penalty is not None
            (loss + 1e-3 * penalty).backward()
            optimizer.step()
            hooks.after_update(step)
            losses.append(float(loss.detach()))
    return bench, attached, losses


@pytest.mark.parametrize(
    "path", ["model.layers.0.mlp.down_proj", "model.layers.1.self_attn.v_proj"]
)
def test_the_planted_module_ends_with_strictly_the_highest_rank(path: str) -> None:
    bench, attached, losses = towards(path)
    ranks = attached.ranks()
    others = {name: rank for name, rank in ranks.items() if name != path}
    assert len(others) == 4
    assert ranks[path] > max(others.values()), ranks
    assert sum(ranks.values()) == 12 * 5
    assert losses[-1] < 0.1 * losses[0], "it has learned the difference"
    assert bench.base.fingerprint.verify()


def test_peft_s_allocator_has_the_paper_s_betas() -> None:
    bench = Bench()
    attached = bench.attach(method="adalora", rank=4, alpha=8.0, targets="q_proj")
    inner = bridge.Allocator(bench.model, attached.wrapper, 1, 1, 1, 10)._inner
    assert (inner.beta1, inner.beta2) == (BETA, BETA)


def test_a_step_whose_gradients_overflowed_does_not_disturb_the_allocation() -> None:
    bench = Bench()
    attached = bench.attach(method="adalora", rank=4, alpha=8.0, targets="q_proj")
    fill(attached)
    with bench.slots.using(attached.replacements):
        allocator = bridge.Allocator(bench.model, attached.wrapper, 1, 2, 1, 10)
        for step in range(1, 9):
            for _, tensor in attached.tensors():
                tensor.grad = torch.full_like(tensor, torch.inf if step == 1 else 0.1)
            allocator.allocate(step)
    means = allocator._inner.exp_avg_ipt
    assert means
    assert all(bool(mean.isfinite().all()) for mean in means.values())
    ranks = attached.ranks()
    assert sum(ranks.values()) == 4 * len(ranks)
