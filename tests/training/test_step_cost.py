"""What a step costs, in numbers that are the same on every machine, against PEFT + Trainer's.

The seconds that follow from these are in tests/benchmarks (`python -m tests.benchmarks.training`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lora_magic.training.way import Way
from tests.benchmarks.steps import Load, Machine, Sides
from tests.counts import ops, saved_bytes

Count = Callable[[Callable[[], object]], int]

#: A Llama of two layers with a vocabulary of 4096; rows of very different lengths.
LOAD = Load("small", rows=6, longest=120)


def sides(steps: int) -> Iterator[Sides]:
    made = Sides(LOAD, steps, Machine())
    yield made
    made.close()


@pytest.fixture(scope="module")
def short() -> Iterator[Sides]:
    yield from sides(2)


@pytest.fixture(scope="module")
def longer() -> Iterator[Sides]:
    yield from sides(4)


def of_two_steps(short: Sides, longer: Sides, side: str, count: Count) -> int:
    """The difference of two runs, so that what a run does once does not count."""

    def run(made: Sides) -> int:
        return count(lambda: getattr(made, side)(made.clock()))

    run(short)  # the first run reads what others find
    return run(longer) - run(short)


def products(work: Callable[[], object]) -> int:
    """The floating-point operations of matrix products, without attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return sum(counter.get_flop_counts()["Global"].values())


def peers_bytes(made: Sides) -> int:
    """What autograd keeps of the peer's forward pass over the first step."""
    model = made.peers[0]
    batch = made.padded_batch(0)
    return saved_bytes(lambda: model(**batch).loss, model.parameters())


def our_bytes(made: Sides, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The same of ours, pass by pass, as a run computes it."""
    found: list[int] = []
    total = Way.total

    def counted(way: Way, batch: dict[str, Tensor]) -> Tensor:
        if torch.is_grad_enabled():
            found.append(saved_bytes(lambda: total(way, batch), way.model.parameters()))
        return total(way, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Way, "total", counted)
        made.ours(made.clock())
    return found[-made.steps :]


def test_both_sides_read_the_same_tokens_and_ours_reads_no_padding(
    longer: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    total = Way.total

    def counted(way: Way, batch: dict[str, Tensor]) -> Tensor:
        read.append(batch["input_ids"].numel())
        return total(way, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Way, "total", counted)
        longer.ours(longer.clock())
    assert sum(read[-longer.steps + 1 :]) == longer.real
    assert longer.padded > 1.5 * longer.real


def test_a_step_of_ours_keeps_less_than_a_quarter_of_what_the_peers_keeps(
    short: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, peers = our_bytes(short, monkeypatch)[0], peers_bytes(short)
    assert ours < peers / 4, (ours, peers)


def test_a_step_of_ours_keeps_no_more_for_a_larger_vocabulary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {}
    for shape in ("tiny", "small"):  # 512 and 4096 tokens
        made = Sides(Load(shape, rows=6, longest=120), 2, Machine())
        found[shape] = our_bytes(made, monkeypatch)[0], peers_bytes(made)
        made.close()
    (ours, peers), (ours_more, peers_more) = found["tiny"], found["small"]
    assert ours_more == ours
    assert peers_more > 2 * peers


def test_a_step_of_ours_multiplies_for_real_and_trained_tokens_only(
    short: Sides, longer: Sides
) -> None:
    ours = of_two_steps(short, longer, "ours", products)
    least = longer.least(longer.batches) - short.least(short.batches)
    # The first layer's input has no gradient; the trial's two rows may be shorter in one run.
    assert 0.7 * least < ours <= 1.06 * least
    peers = of_two_steps(short, longer, "peer", products)
    assert peers > 1.5 * least


def test_a_step_of_ours_dispatches_hardly_more_operations_than_documents_need(
    short: Sides, longer: Sides
) -> None:
    """Attention to one document at a time takes one call for each, forward and backward."""
    ours = of_two_steps(short, longer, "ours", ops) / 2
    peers = of_two_steps(short, longer, "peer", ops) / 2
    documents = LOAD.rows * longer.model.config.num_hidden_layers
    assert ours < peers + 30 * documents, (ours, peers)
