"""A run: the same losses as a bare loop, the same bits twice, stopped, failed, told."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lora_magic.base.recipe import SMALL
from lora_magic.data.row import Row
from lora_magic.errors import TrainingError
from lora_magic.interrupts import Stop
from lora_magic.training import batches, held_out
from lora_magic.training import loop as loop_module
from lora_magic.training.encode import Example
from lora_magic.training.hooks import NoHooks
from lora_magic.training.loop import Loop
from lora_magic.training.progress import Snapshot
from lora_magic.training.reporter import RunPlan, SilentReporter, StepPoint
from lora_magic.training.run import run
from lora_magic.training.spec import TrainSpec, plan
from lora_magic.training.summary import RunSummary
from tests.tiny import ARCHITECTURES
from tests.training.adapted import FORM, ROWS, TOKENIZER, adapted, encoded, trainable, weights


def spec_of(steps: int = 4, batch: int = 4, passes: int = 1, **flags: Any) -> TrainSpec:
    recipe = SMALL._replace(batch_size=-(-batch // passes), learning_rate=1e-2)
    return plan(recipe, len(ROWS), steps=steps, batch_size=batch, max_length=128, **flags)


def token_mean(model: nn.Module, examples: Sequence[Example]) -> Tensor:
    """The mean over trained tokens, one unpadded row after the other."""
    total, count = torch.zeros(()), 0
    for example in examples:
        logits = model(input_ids=torch.tensor([example.tokens])).logits[0, :-1].float()
        labels = torch.tensor(example.labels[1:])
        total = total + cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        count += int(labels.ne(-100).sum())
    return total / count


def bare_loop(model: nn.Module, examples: Sequence[Example], spec: TrainSpec) -> list[float]:
    """What a run has to do, without a Trainer, padding, passes or schedule objects."""
    optimizer = torch.optim.AdamW(trainable(model), lr=spec.learning_rate, weight_decay=0.0)
    warm = int(0.05 * spec.steps)
    losses = []
    model.train()
    for number, step in enumerate(batches.steps(len(examples), spec)):
        rising, falling = (number + 1) / (warm + 1), (spec.steps - number) / (spec.steps - warm)
        optimizer.param_groups[0]["lr"] = spec.learning_rate * min(rising, falling)
        loss = token_mean(model, [examples[index] for index in chain.from_iterable(step)])
        loss.backward()
        nn.utils.clip_grad_norm_(trainable(model), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("passes", [1, 3])
def test_losses_and_weights_are_those_of_a_bare_loop(passes: int) -> None:
    data, spec = encoded(), spec_of(steps=30, batch=5, passes=passes)
    ours, theirs = adapted(), adapted()
    summary = run("pirate", ours, TOKENIZER, data, spec)
    wanted = bare_loop(theirs, data.examples, spec)
    torch.testing.assert_close(torch.tensor(summary.losses), torch.tensor(wanted))
    assert wanted[-1] < wanted[0] - 0.05
    for name, tensor in weights(theirs).items():
        torch.testing.assert_close(weights(ours)[name], tensor, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_passes_of_unequal_tokens_make_the_mean_over_all_tokens(architecture: str) -> None:
    data = encoded()
    wanted = float(token_mean(adapted(architecture).train(), data.examples).detach())
    for passes in (1, 4):
        spec = spec_of(steps=1, batch=7, passes=passes)
        (loss,) = run("a", adapted(architecture), TOKENIZER, data, spec).losses
        assert loss == pytest.approx(wanted, abs=2e-5)


def test_a_model_that_takes_no_loss_arguments_has_the_mean_over_all_tokens_too() -> None:
    class Plain(nn.Module):
        """Returns the mean over its batch, whatever else it is told."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.config = inner, inner.config

        def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> object:
            return self.inner(input_ids=input_ids, attention_mask=attention_mask, labels=labels)

    data = encoded()
    once, often = Plain(adapted()), Plain(adapted())
    summary = run("a", often, TOKENIZER, data, spec_of(steps=3, batch=7, passes=4))
    wanted = run("a", once, TOKENIZER, data, spec_of(steps=3, batch=7))
    assert summary.losses == pytest.approx(wanted.losses, abs=2e-5)
    for ours, theirs in zip(trainable(often), trainable(once), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)


def test_two_runs_from_the_same_start_end_with_the_same_bits() -> None:
    data, spec = encoded(), spec_of(steps=5, batch=3, passes=2)
    first, second = adapted(dropout=0.2), adapted(dropout=0.2)
    torch.manual_seed(5)
    one = run("a", first, TOKENIZER, data, spec)
    torch.manual_seed(6)
    two = run("a", second, TOKENIZER, data, spec)
    assert one.losses == two.losses
    assert all(torch.equal(weights(first)[k], w) for k, w in weights(second).items())
    other = adapted(dropout=0.2)
    run("a", other, TOKENIZER, data, replace(spec, seed=1))
    assert any(not torch.equal(weights(first)[k], w) for k, w in weights(other).items())


def test_only_what_wants_a_gradient_is_trained() -> None:
    model = adapted()
    before = weights(model)
    run("a", model, TOKENIZER, encoded(), spec_of(steps=3))
    changed = {
        name for name, tensor in weights(model).items() if not torch.equal(tensor, before[name])
    }
    assert changed == {name for name in before if "lora_" in name}


def test_a_run_of_one_step_changes_the_weights() -> None:
    model = adapted()
    before = [parameter.detach().clone() for parameter in trainable(model)]
    run("a", model, TOKENIZER, encoded(), spec_of(steps=1))
    assert any(not torch.equal(a, b) for a, b in zip(before, trainable(model), strict=True))


def test_an_adapter_over_a_half_precision_base_stays_in_single_precision() -> None:
    model = adapted(dtype=torch.bfloat16)
    for parameter in trainable(model):
        parameter.data = parameter.data.float()
    summary = run("a", model, TOKENIZER, encoded(), spec_of(steps=20))
    assert {parameter.dtype for parameter in trainable(model)} == {torch.float32}
    assert summary.losses[-1] < summary.losses[0]


def test_without_anything_to_train_a_run_is_refused() -> None:
    model = adapted().requires_grad_(False)
    with pytest.raises(TrainingError, match="pirate: no parameter requires a gradient"):
        run("pirate", model, TOKENIZER, encoded(), spec_of())


class Listener:
    """Keeps what it is told; `at` is called at each step."""

    def __init__(
        self,
        at: Callable[[int], None] = lambda step: None,
        stop: threading.Event | None = None,
    ) -> None:
        self.stop = stop
        self.plans: list[RunPlan] = []
        self.points: list[StepPoint] = []
        self.summaries: list[RunSummary] = []
        self._at = at

    def start(self, plan: RunPlan) -> None:
        self.plans.append(plan)

    def step(self, point: StepPoint) -> None:
        self.points.append(point)
        self._at(point.step)

    def finish(self, summary: RunSummary) -> None:
        self.summaries.append(summary)


def test_a_listener_hears_the_plan_each_step_and_the_summary() -> None:
    listener = Listener()
    data = encoded([*ROWS, Row("x", "")])
    summary = run("pirate", adapted(), TOKENIZER, data, spec_of(steps=3), reporter=listener)
    (told,) = listener.plans
    tokens = sum(example.trained for example in data.examples)
    for part in ("pirate: 7 rows", f"{tokens} tokens trained, 1 empty ·", "<|im_end|>"):
        assert part in told.line
    assert told.adapter == "pirate"
    assert "3 steps" in told.line
    assert [point.step for point in listener.points] == [1, 2, 3]
    assert tuple(point.loss for point in listener.points) == summary.losses
    assert listener.points[-1].seconds_left == 0
    assert all(point.tokens_per_second > 0 for point in listener.points)
    assert listener.summaries == [summary]
    assert (summary.planned_steps, summary.stopped, summary.end_token) == (3, False, "<|im_end|>")


def test_an_event_ends_the_run_after_the_step_in_hand() -> None:
    stop = threading.Event()
    listener = Listener(lambda step: stop.set() if step == 2 else None, stop)
    model, whole = adapted(), adapted()
    summary = run("a", model, TOKENIZER, encoded(), spec_of(6), reporter=listener)
    assert (summary.steps, summary.planned_steps, summary.stopped) == (2, 6, True)
    assert listener.summaries == [summary]
    kept = []
    at_two = Listener(lambda step: kept.append(weights(whole)) if step == 2 else None)
    run("a", whole, TOKENIZER, encoded(), spec_of(6), reporter=at_two)
    assert all(torch.equal(weights(model)[name], tensor) for name, tensor in kept[0].items())


def test_an_event_at_the_last_step_is_no_stop() -> None:
    stop = threading.Event()
    listener = Listener(lambda step: stop.set() if step == 3 else None, stop)
    summary = run("a", adapted(), TOKENIZER, encoded(), spec_of(3), reporter=listener)
    assert (summary.steps, summary.stopped) == (3, False)


def test_an_interrupt_ends_the_run_after_the_step_and_its_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    listener = Listener(lambda step: signal.raise_signal(signal.SIGINT) if step == 2 else None)
    summary = run("a", adapted(), TOKENIZER, encoded(), spec_of(6), reporter=listener)
    assert (summary.steps, summary.stopped) == (2, True)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("where", ["after the step", "within the optimizer's step", "in a pass"])
def test_a_second_interrupt_keeps_the_finished_steps_and_their_weights(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    calls = {"step": 0, "pass": 0}
    real = torch.optim.AdamW.step

    def press() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    def step(self: Any, *args: Any, **rest: Any) -> Any:
        calls["step"] += 1
        if where == "within the optimizer's step" and calls["step"] == 2:
            press()
        return real(self, *args, **rest)

    def passed(*_: Any) -> None:
        calls["pass"] += 1
        if where == "in a pass" and calls["step"] == 2:
            press()

    def after(number: int) -> None:
        if where == "after the step" and number == 2:
            press()

    model = adapted()
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    model.register_forward_pre_hook(passed)
    summary = run("a", model, TOKENIZER, encoded(), spec_of(6), reporter=Listener(after))
    assert (summary.steps, summary.stopped) == (2, True)
    assert calls["step"] == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_before_the_first_step_is_finished_raises() -> None:
    model = adapted()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}

    def press(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    model.register_forward_pre_hook(press)
    with pytest.raises(KeyboardInterrupt):
        run("a", model, TOKENIZER, encoded(), spec_of(6))
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_in_another_thread_a_run_leaves_interrupts_alone() -> None:
    found: list[RunSummary] = []
    thread = threading.Thread(
        target=lambda: found.append(run("a", adapted(), TOKENIZER, encoded(), spec_of(2)))
    )
    thread.start()
    thread.join()
    assert found[0].steps == 2


def test_a_loss_that_is_no_number_names_the_step_and_the_rate() -> None:
    model = adapted()

    def spoil(step: int) -> None:
        if step == 2:
            trainable(model)[0].data.fill_(float("nan"))

    with pytest.raises(TrainingError, match=r"step 3 of 6 with --lr 0.01: .*--lr 0.003"):
        run("a", model, TOKENIZER, encoded(), spec_of(6), reporter=Listener(spoil))


def test_a_gradient_that_is_no_number_in_the_last_step_is_an_error_too() -> None:
    model = adapted()
    trainable(model)[0].register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match=r"a weight is not finite.*--lr"):
        run("a", model, TOKENIZER, encoded(), spec_of(1))


def test_a_run_shorter_than_its_rows_counts_what_it_comes_to() -> None:
    rows = [Row(f"Where is {number}?", "Here.") for number in range(40)]
    listener, data = Listener(), encoded(rows)
    summary = run("a", adapted(), TOKENIZER, data, spec_of(steps=2, batch=4), reporter=listener)
    a_row = data.examples[0].trained
    assert summary.trained_tokens == 8 * a_row
    assert f"8 of 40 rows, {8 * a_row} tokens trained" in listener.plans[0].line
    assert "2 steps (0.2 epochs)" in listener.plans[0].line


def test_an_adapter_with_fewer_parameters_than_trained_tokens_is_told() -> None:
    listener, model = Listener(), adapted()
    parameters = sum(parameter.numel() for parameter in trainable(model))
    a_row = encoded([Row("Where?", "Here.")]).examples[0].trained
    for rows in (parameters // a_row, parameters // a_row + 1):
        data = encoded([Row("Where?", "Here.")] * rows)
        spec = replace(spec_of(1), batch_size=rows, accumulation=1)
        run("a", model, TOKENIZER, data, spec, reporter=listener)
    said = f" (the adapter has only {parameters:,} parameters)"
    assert said not in listener.plans[0].line
    assert said in listener.plans[1].line


def test_texts_and_rows_that_are_left_out_are_told_in_the_first_line() -> None:
    listener = Listener()
    run("a", adapted(), TOKENIZER, encoded([Row(None, "A text.")]), spec_of(1), reporter=listener)
    assert "a: 1 text, " in listener.plans[0].line
    rows = [Row("Where? " * 200, "Here."), Row("Where?", "Here.")]
    run("a", adapted(), TOKENIZER, encoded(rows), spec_of(1), reporter=listener)
    assert "trained, 1 left out (prompt too long) ·" in listener.plans[1].line


def test_held_out_rows_are_measured_before_and_after_and_never_trained_on() -> None:
    data, spec = encoded(), spec_of(steps=20, batch=3, passes=2, eval=2)
    model, fresh = adapted(), adapted()
    summary = run("a", model, TOKENIZER, data, spec)
    train, held = batches.split(data.examples, spec)
    assert (summary.examples, summary.held_out) == (5, 2)
    assert summary.trained_tokens == sum(example.trained for example in train)
    with torch.no_grad():
        before, after = (float(token_mean(each.eval(), held)) for each in (fresh, model))
    assert summary.held_out_before == pytest.approx(before, abs=1e-5)
    assert summary.held_out_after == pytest.approx(after, abs=1e-5)
    bare = bare_loop(adapted(), train, spec.fitted(5))
    assert summary.losses == pytest.approx(bare, abs=1e-4)


def test_held_out_rows_are_measured_in_between_and_that_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, spec = encoded(), spec_of(steps=20, batch=3, passes=2, eval=2)
    model, unmeasured = adapted(dropout=0.2), adapted(dropout=0.2)
    held = batches.split(data.examples, spec)[1]
    seen: dict[int, float] = {}

    def measure(step: int) -> None:
        modes = [module.training for module in model.modules()]
        with torch.no_grad():
            seen[step] = float(token_mean(model.eval(), held))
        for module, mode in zip(model.modules(), modes, strict=True):
            module.training = mode

    listener = Listener(measure)
    summary = run("a", model, TOKENIZER, data, spec, reporter=listener)
    steps = [step for step, _ in summary.held_out_losses]
    assert steps == [0, 4, 8, 12, 16, 20]
    for step, loss in summary.held_out_losses[1:]:
        assert loss == pytest.approx(seen[step], abs=1e-5)
    assert summary.held_out_losses[0][1] == summary.held_out_before
    assert summary.held_out_losses[-1][1] == summary.held_out_after
    assert [len(point.held_out) for point in listener.points[2:5]] == [1, 2, 2]
    monkeypatch.setattr(batches, "evaluations", lambda steps, held, decisive: frozenset())
    run("a", unmeasured, TOKENIZER, data, spec)
    assert all(torch.equal(weights(model)[k], w) for k, w in weights(unmeasured).items())


class Kept(Listener):
    """Keeps the weights after each step."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(lambda step: self.weights.append(weights(model)))
        self.weights: list[dict[str, Tensor]] = []


def open_run(
    losses: Sequence[float],
    model: nn.Module,
    *,
    steps: int = 40,
    listener: Any = None,
    **flags: Any,
) -> RunSummary:
    """A run that is ended by the held-out losses given here, the first before the first step."""
    told = iter(losses)

    def measure(*args: Any, **rest: Any) -> held_out.Measurement:
        return held_out.Measurement(next(told))

    spec = spec_of(steps=steps, eval=2, **{"patience": 3, **flags})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "measure", measure)
        return run("a", model, TOKENIZER, encoded(), spec, reporter=listener)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_after_three_measurements_without_improvement_the_best_weights_are_kept() -> None:
    model, other = adapted(dropout=0.2), adapted(dropout=0.2)
    # Measured after 4, 8, 12, … of 40 steps; an equal loss is no improvement.
    losses = [9.0, 5.0, 4.0, 3.0, 3.5, 3.0, 3.1]
    summary = open_run(losses, model)
    assert (summary.ended, summary.steps, summary.planned_steps) == ("held-out", 24, 40)
    assert (summary.best_step, summary.kept_steps, summary.stopped) == (12, 12, False)
    assert (summary.held_out_before, summary.held_out_after) == (9.0, 3.0)
    assert [step for step, _ in summary.held_out_losses] == [0, 4, 8, 12, 16, 20, 24]
    assert summary.last_loss == summary.losses[11]
    # The same run, never ended early, seen from outside.
    seen = Kept(other)
    run("a", other, TOKENIZER, encoded(), spec_of(steps=40, eval=2), reporter=seen)
    assert equal(weights(model), seen.weights[11])
    assert not equal(weights(model), seen.weights[23])


def test_a_run_that_improves_to_the_end_makes_all_its_steps() -> None:
    model = adapted()
    seen = Kept(model)
    summary = open_run([9.0 - step for step in range(11)], model, listener=seen)
    assert (summary.ended, summary.steps, summary.best_step) == ("steps", 40, 40)
    assert len(summary.held_out_losses) == 11
    assert equal(weights(model), seen.weights[-1])


def test_the_loss_before_the_first_step_is_never_the_best() -> None:
    summary = open_run([1.0, 3.0, 2.0, 4.0, 5.0, 6.0], adapted())
    assert (summary.ended, summary.steps, summary.best_step) == ("held-out", 20, 8)


def test_patience_is_the_number_of_measurements() -> None:
    losses = [9.0, 5.0, *[6.0] * 9]
    for patience, steps in ((1, 8), (2, 12), (9, 40)):
        summary = open_run(losses, adapted(), patience=patience)
        assert (summary.steps, summary.best_step) == (steps, 4)


def test_with_a_length_and_no_patience_all_steps_are_made_and_the_last_weights_kept() -> None:
    model = adapted()
    seen = Kept(model)
    losses = [5.0, 1.0, *[9.0] * 20]
    summary = open_run(losses, model, patience=None, listener=seen)
    assert (summary.ended, summary.steps, summary.best_step) == ("steps", 40, None)
    assert summary.held_out_after == 9.0
    assert equal(weights(model), seen.weights[-1])


def test_a_stopped_run_keeps_the_last_step_not_the_best() -> None:
    model, stop = adapted(), threading.Event()
    seen = Kept(model)
    seen.stop = stop
    seen._at = lambda step: (seen.weights.append(weights(model)), step == 10 and stop.set())
    summary = open_run([9.0, 1.0, 2.0, 3.0], model, listener=seen)
    assert (summary.ended, summary.stopped, summary.steps) == ("stopped", True, 10)
    assert (summary.best_step, summary.held_out_after) == (None, None)
    assert equal(weights(model), seen.weights[9])


def test_minutes_end_a_run_after_the_step_that_passes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]

    class Clock:
        @staticmethod
        def perf_counter() -> float:
            return now[0]

    def a_pass(*_: Any) -> None:
        now[0] += 25

    monkeypatch.setattr(loop_module, "time", Clock)
    for flags, ended in (({"minutes": 2}, "minutes"), ({"minutes": 200}, "steps")):
        model = adapted()
        model.register_forward_pre_hook(a_pass)
        spec = replace(spec_of(steps=9), plain_step=True, **flags)
        summary = run("a", model, TOKENIZER, encoded(), spec)
        assert summary.ended == ended
        # Steps take 25 s: the fifth passes two minutes.
        assert summary.steps == (5 if ended == "minutes" else 9)
        assert not summary.stopped


def test_only_a_step_that_the_method_calls_settled_can_be_the_best() -> None:
    class Late(NoHooks):
        def settled(self, step: int) -> bool:
            return step >= 20

    told = iter([9.0, 1.0, 2.0, 2.0, 2.0, 5.0, 4.0, 6.0, 6.0, 6.0, 6.0])
    spec = spec_of(steps=40, eval=2, patience=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "measure", lambda *a, **b: held_out.Measurement(next(told)))
        summary = run("a", adapted(), TOKENIZER, encoded(), spec, hooks=Late())
    assert (summary.ended, summary.steps, summary.best_step) == ("held-out", 36, 24)


def test_a_run_continued_from_a_snapshot_ends_as_if_never_stopped() -> None:
    losses = [9.0, 5.0, 4.0, 3.0, 3.5, 3.6, 3.7]
    whole = adapted(dropout=0.2)
    wanted = open_run(losses, whole)
    model, snapshots = adapted(dropout=0.2), []
    spec = spec_of(steps=40, eval=2, patience=3)

    def loop_of(some: nn.Module, **more: Any) -> Loop:
        loop = Loop(*("a", some, 0, encoded(), spec, SilentReporter(), NoHooks(), Stop()), **more)
        loop.reporter = Listener(lambda step: step == 17 and snapshots.append(loop.snapshot()))
        return loop

    def all_of(loop: Loop, told: Sequence[float]) -> RunSummary:
        values = iter(told)
        measure = lambda *a, **b: held_out.Measurement(next(values))  # noqa: E731
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(held_out, "measure", measure)
            return loop.all([{"params": trainable(loop.model), "lr": spec.learning_rate}])

    all_of(loop_of(model), losses)
    resumed = adapted(dropout=0.2)
    found = all_of(loop_of(resumed, start=snapshots[0]), losses[5:])
    assert replace(found, seconds=0.0, end_token=None) == replace(
        wanted, seconds=0.0, end_token=None
    )
    assert equal(weights(resumed), weights(whole))


def test_a_run_that_pauses_is_measured_and_goes_on_to_the_same_bits() -> None:
    class Kept:
        def between_steps(self, snapshot: Callable[[], Snapshot]) -> None:
            """Keeps nothing."""

        def stopped(self, snapshot: Callable[[], Snapshot]) -> None:
            snapshots.append(snapshot())

    snapshots: list[Snapshot] = []
    spec, data = spec_of(steps=9, eval=2), encoded()
    whole, parts = adapted(dropout=0.2), adapted(dropout=0.2)
    wanted = run("a", whole, TOKENIZER, data, spec)
    first = run("a", parts, TOKENIZER, data, spec, until=4, keeper=Kept())
    assert (first.ended, first.steps, first.planned_steps) == ("paused", 4, 9)
    assert first.held_out_losses[-1][0] == 4
    assert first.held_out_after == first.held_out_losses[-1][1]
    rest = run("a", parts, TOKENIZER, data, spec, start=snapshots[0])
    assert (rest.losses, rest.held_out_after) == (wanted.losses, wanted.held_out_after)
    assert equal(weights(parts), weights(whole))


def test_the_times_of_a_step_leave_out_what_measuring_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]

    class Clock:
        """A step takes a second, measuring the held-out rows a hundred."""

        @staticmethod
        def perf_counter() -> float:
            return now[0]

    def a_second(step: int) -> None:
        now[0] += 1

    measured = Loop._measure

    def held_out(self: Loop) -> Any:
        now[0] += 100
        return measured(self)

    monkeypatch.setattr(loop_module, "time", Clock)
    monkeypatch.setattr(Loop, "_measure", held_out)
    listener = Listener(a_second)
    spec = spec_of(steps=20, batch=3, passes=2, eval=2)
    run("a", adapted(), TOKENIZER, encoded(), spec, reporter=listener)
    assert len(listener.points[-1].held_out) > 3
    # The listener's second comes after it was told.
    assert [point.elapsed for point in listener.points] == list(range(20))
    assert all(point.seconds_left >= 0 for point in listener.points)


def test_memory_is_told_with_every_step_from_the_second_and_never_falls() -> None:
    listener = Listener()
    run("a", adapted(), TOKENIZER, encoded(), spec_of(4), reporter=listener)
    first, *told = [point.memory for point in listener.points]
    assert first is None  # the optimizer's state is made in that step
    assert all(told)
    assert told == sorted(told)


def test_a_conversations_form_is_the_one_that_is_asked_in() -> None:
    asked = FORM.encode(TOKENIZER, ROWS[0].prompt or "")
    assert list(encoded().examples[0].tokens[: len(asked)]) == asked
