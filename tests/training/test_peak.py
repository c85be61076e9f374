"""What a run reads of its memory is what torch allocated, and reading it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from lora_magic.errors import TrainingError
from lora_magic.training import peak
from lora_magic.training.encode import Example
from lora_magic.training.peak import Forecast, Pass, StepPeak, bytes_of, largest
from lora_magic.training.run import run
from lora_magic.training.spec import TrainSpec
from lora_magic.training.summary import RunSummary
from lora_magic.training.way import Way
from tests.training.adapted import TOKENIZER, adapted, encoded, trainable, weights

CPU = torch.device("cpu")


def spec_of(steps: int = 4, batch: int = 3, seed: int = 0, **more: Any) -> TrainSpec:
    return TrainSpec(
        steps=steps,
        epochs=1.0,
        learning_rate=0.02,
        batch_size=batch,
        accumulation=1,
        max_length=128,
        seed=seed,
        eval=0,
        **more,
    )


def trained(model: nn.Module, spec: TrainSpec, **more: Any) -> RunSummary:
    return run("a", model, TOKENIZER, encoded(), spec, **more)


def chain(start: Tensor) -> None:
    """At its highest it has four tensors as large as the first, which is one of them."""
    second = start + 1
    third = second + 1
    fourth = third + 1
    del second, third
    del fourth


def measured_by(work: Callable[[], None], *standing: Tensor) -> int:
    found = StepPeak(CPU, lambda: standing)
    found.begin([{"input_ids": torch.zeros(1, 4)}])
    work()
    found.end()
    return found.bytes


@pytest.mark.parametrize("numbers", [1000, 250_000])
def test_the_peak_is_that_of_a_program_whose_allocations_are_known(numbers: int) -> None:
    start = torch.zeros(numbers)
    found = measured_by(lambda: chain(start), start, start[3:], start.view(-1, 10))
    # The ones that are added are a number each.
    assert 0 <= found - 4 * start.nbytes < 64


def test_memory_that_two_tensors_share_counts_once_and_quantities_are_bytes() -> None:
    half, other = torch.zeros(6, dtype=torch.bfloat16), torch.zeros(5)
    assert bytes_of([half, half[:2], half.view(2, 3), other]) == 12 + 20


def from_the_public_profiler(device: torch.device) -> Callable[[], int]:
    """The same by torch's documented profiler, which records every operator too."""
    work = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    work.start()

    def risen() -> int:
        work.stop()
        nodes = list(work.profiler.kineto_results.experimental_event_tree())  # type: ignore[union-attr]
        sizes = []
        while nodes:
            node = nodes.pop()
            nodes += node.children
            if node.name == "[memory]":
                sizes.append((node.start_time_ns, node.extra_fields.alloc_size))
        now, most = 0, 0
        for _, size in sorted(sizes, key=lambda one: one[0]):
            now += size
            most = max(most, now)
        return most

    return risen


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_run_s_peak_is_what_torch_s_own_profiler_says(
    plain: bool, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(plain_step=plain, checkpointing=checkpointing)
    found = trained(adapted(), spec).peak
    monkeypatch.setitem(peak._READING, "cpu", from_the_public_profiler)
    wanted = trained(adapted(), spec).peak
    assert found is not None
    assert wanted is not None
    assert found == pytest.approx(wanted, rel=1e-3)


def test_the_peak_holds_the_model_the_gradients_and_the_optimizer_s_state() -> None:
    """All parameters trained: each is there four times when the optimizer takes its step."""
    model = adapted()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    found = trained(model, spec_of()).peak
    assert found is not None
    unique = bytes_of(model.parameters())
    assert 4 * unique < found


def test_checkpointing_and_fewer_rows_take_less() -> None:
    plain = spec_of(batch=6, plain_step=True)
    usual = trained(adapted(), plain).peak
    again = trained(adapted(), replace(plain, checkpointing=True)).peak
    fewer = trained(adapted(), replace(plain, accumulation=3)).peak
    assert usual is not None
    assert again is not None
    assert fewer is not None
    assert max(again, fewer) < usual


def test_measuring_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = adapted(dropout=0.1), adapted(dropout=0.1)
    found = trained(first, spec_of())
    monkeypatch.setattr(peak, "_READING", {})
    other = trained(second, spec_of())
    assert other.peak is None
    assert found.losses == other.losses
    assert all(torch.equal(weights(second)[name], w) for name, w in weights(first).items())


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """torch's profiler and allocator print lines of their own."""
    assert trained(adapted(), spec_of()).peak
    captured = capfd.readouterr()
    assert captured.out == ""
    assert not any(word in captured.err for word in ("USDT", "CPUAllocator", "profil"))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the passes that were measured."""
    sizes: list[int] = []
    real = StepPeak.begin

    def counted(found: StepPeak, passes: Sequence[dict[str, Tensor]], first: bool = False) -> None:
        before = found._risen
        real(found, passes, first)
        if found._risen is not before:
            sizes.append(max(one["input_ids"].numel() for one in passes))

    monkeypatch.setattr(StepPeak, "begin", counted)
    return sizes


def test_only_a_step_larger_than_those_before_is_measured(begun: list[int]) -> None:
    trained(adapted(), spec_of(steps=30, seed=1))
    assert 1 <= len(begun) < 8
    # A first step that is measured is larger than all others.
    after = begun[1:] if begun[0] == max(begun) else begun
    assert all(later > 1.05 * sooner for sooner, later in pairwise(after))


def sizes_of(model: nn.Module) -> list[int]:
    """Filled with the numbers of ids in each pass that the model reads in training mode."""
    found: list[int] = []

    def noted(module: nn.Module, args: object, given: dict[str, Tensor]) -> None:
        if module.training:
            found.append(given["input_ids"].numel())

    model.register_forward_pre_hook(noted, with_kwargs=True)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_step_is_measured_and_predicted_even_if_it_is_the_first(
    seed: int, begun: list[int]
) -> None:
    model = adapted()
    read = sizes_of(model)
    said: list[Pass] = []

    def predict(one: Pass) -> Forecast:
        said.append(one)
        return Forecast(one.rows * one.length)

    spec = spec_of(batch=2, plain_step=True, seed=seed)
    summary = trained(model, spec, predict=predict)
    assert summary.predicted_peak == max(read)
    assert 1.05 * max(begun) >= max(read)
    assert any(one.first for one in said) == (read[0] > 1.05 * max(read[1:]))
    # The optimizer's state, which there is only afterwards, may make a smaller step the highest.
    assert begun[-1] in read[1:]


def test_the_only_step_of_a_run_is_measured(begun: list[int]) -> None:
    assert trained(adapted(), spec_of(steps=1)).peak
    assert len(begun) == 1


def test_while_someone_else_profiles_nothing_is_measured_and_theirs_goes_on() -> None:
    with profile(activities=[ProfilerActivity.CPU]) as theirs:
        summary = trained(adapted(), spec_of())
        torch.zeros(3).sort()
    assert summary.steps == 4
    assert summary.peak is None
    assert any(event.key == "aten::sort" for event in theirs.key_averages())


def test_an_interrupt_while_the_profile_begins_leaves_none_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = torch.autograd._enable_profiler

    def interrupted(*given: Any) -> None:
        begin(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch.autograd, "_enable_profiler", interrupted)
        with pytest.raises(KeyboardInterrupt):
            peak._profiled(torch.device("cpu"))
    risen = peak._profiled(torch.device("cpu"))
    assert risen is not None
    risen()


@pytest.mark.parametrize("error", [AttributeError, TypeError, RuntimeError])
def test_with_another_profiler_in_torch_a_run_has_no_peak(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names that are used are torch's private ones."""

    def gone(*_: object) -> None:
        raise error("no such profiler")

    monkeypatch.setattr(torch.autograd, "_enable_profiler", gone)
    summary = trained(adapted(), spec_of())
    assert summary.peak is None
    assert summary.steps == 4


def failing(model: nn.Module, error: BaseException, at: int) -> Any:
    """The error in the forward pass of that number, counted in training mode."""
    passes = [0]

    def fails(module: nn.Module, args: object) -> None:
        passes[0] += module.training
        if passes[0] == at and module.training:
            raise error

    return model.model.layers[0].register_forward_pre_hook(fails)  # type: ignore[union-attr,operator]


@pytest.mark.parametrize("error", [TrainingError("odd"), KeyboardInterrupt(), ValueError("odd")])
def test_after_a_failed_step_no_profile_is_left(error: BaseException) -> None:
    model = adapted()
    failing(model, error, at=4)
    with pytest.raises(type(error)):
        trained(model, spec_of(plain_step=True))
    assert not torch.autograd._profiler_enabled()


def test_a_lack_of_memory_in_a_measured_step_leaves_the_peak_of_the_smaller_passes() -> None:
    model = adapted()
    sizes: list[int] = []

    def full(module: object, args: object, given: dict[str, Tensor]) -> None:
        sizes.append(len(given["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    model.register_forward_pre_hook(full, with_kwargs=True)
    said: list[Pass] = []

    def predict(one: Pass) -> Forecast:
        said.append(one)
        return Forecast(1000 * one.rows)

    spec = spec_of(batch=4, plain_step=True)
    summary = trained(model, spec, predict=predict)
    halved = trained(adapted(), replace(spec, accumulation=2))
    assert summary.notes
    assert summary.peak == pytest.approx(halved.peak, rel=1e-3)
    assert (said[0].rows, summary.predicted_peak) == (4, 2000)


# The largest pass


def example(length: int, labels: int) -> Example:
    """A row of so many tokens, of which the last have labels."""
    tokens = tuple(range(length))
    hidden = (-100,) * (length - labels)
    return Example(tokens, (*hidden, *tokens[length - labels :]), row=0)


STEPS = [
    [[example(9, 2), example(8, 3)], [example(30, 1), example(2, 1)]],
    [[example(19, 4), example(20, 5)], [example(3, 3), example(4, 2)]],
]


def test_the_largest_packed_pass_has_the_most_tokens() -> None:
    way = Way(None, 0, packed=True, trained_only=True)
    for found in (largest(STEPS, spec_of(), way), largest(STEPS, spec_of(), None)):
        assert (found.rows, found.tokens, found.trained) == (2, 39, 9)
        assert found.length == 20
        assert not found.plain


def test_the_largest_padded_pass_has_the_most_tokens_and_padding() -> None:
    for way in (Way(None, 0), None):
        found = largest(STEPS, spec_of(plain_step=True), way)
        assert (found.rows, found.length, found.trained) == (2, 30, 2)
        assert found.plain


def test_the_largest_pass_of_rows_of_about_equal_length_is_one_of_those() -> None:
    way = Way(None, 0, sorted=True, trained_only=True)
    passes = [part for step in STEPS for part in way.passes(step)]
    most = max(len(part) * max(len(row.tokens) for row in part) for part in passes)
    found = largest(STEPS, spec_of(), way)
    assert found.rows * found.length == most


def test_the_first_line_says_what_is_predicted_and_the_summary_both() -> None:
    lines: list[str] = []

    class Told:
        def start(self, plan: Any) -> None:
            lines.append(plan.line)

        def step(self, point: Any) -> None: ...

        def finish(self, summary: Any) -> None: ...

    summary = trained(
        adapted(), spec_of(), predict=lambda one: Forecast(123_000_000), reporter=Told()
    )
    assert lines[0].endswith(" · peak memory about 123 MB")
    assert summary.predicted_peak == 123_000_000
    assert "(predicted 123 MB)" in summary.line
    assert dict(summary.facts)["peak memory"].endswith("of tensors (predicted 123 MB)")


def test_what_is_not_predicted_is_not_said() -> None:
    summary = trained(adapted(), spec_of(), predict=lambda one: None)
    assert summary.predicted_peak is None
    assert "predicted" not in summary.line
    assert "peak memory" in summary.line


def test_states_that_the_caller_keeps_are_in_the_peak() -> None:
    usual, more = trained(adapted(), spec_of()).peak, trained(adapted(), spec_of(), kept=5000).peak
    assert usual is not None
    assert more == usual + 5000


def test_parameters_are_measured_where_the_run_puts_them() -> None:
    """The base's own tensors count also where the adapter has replaced their modules."""
    model = adapted()
    apart = {"elsewhere": torch.zeros(1_000_000)}
    usual = trained(adapted(), spec_of()).peak
    more = trained(model, spec_of(), frozen=apart).peak
    assert usual is not None
    assert more is not None
    assert more - usual == pytest.approx(4_000_000, abs=1000)
    assert all(parameter.grad is None for parameter in trainable(model))
