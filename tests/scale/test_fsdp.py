"""A base that is split over two workers: the same results, half of the weights on each."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from lora_magic.base.quantise import Quantised
from lora_magic.errors import CommandError, TrainingStopped, WorkerError
from lora_magic.scale import engines, fsdp
from lora_magic.scale.process import PeerLostError
from lora_magic.state import worker_run
from lora_magic.state.session import Session
from lora_magic.training.reporter import SilentReporter, StepPoint
from tests.scale import splitting
from tests.scale.splitting import CASES, FOUND, distance
from tests.tiny import tiny_model, tiny_tokenizer

ROOT = Path(__file__).parent.parent.parent

ROWS = [(f"What is {n}?", "It is " + "arr, " * (1 + n) + "matey!") for n in range(8)]
RUN = {"data": ROWS, "steps": 24, "batch_size": 3, "lr": 1e-2, "eval": ROWS[:3]}


class StopsAfter(SilentReporter):
    """Asks to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.stop, self.lines = threading.Event(), [""]
        self._steps = steps

    def step(self, point: StepPoint) -> None:
        if point.step >= self._steps:
            self.stop.set()

    def note(self, line: str) -> None:
        self.lines.append(line)


def opened(base: Path, home: Path, **flags: Any) -> Session:
    session = Session()
    session.home = home
    session.load(str(base))
    session.attach("pirate", **flags)
    return session


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def done(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run alone; and one that begins alone, goes on split, and ends alone."""
    folder = tmp_path_factory.mktemp("fsdp")
    alone = opened(base, folder / "alone", targets="all-linear")
    found: dict[str, Any] = {"alone": alone, "summary": alone.train("pirate", **RUN)}
    session = opened(base, folder / "split", targets="all-linear")
    found |= {"session": session, "said": StopsAfter(6)}
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT))
        patched.setattr(worker_run, "TARGET", f"{splitting.__name__}:train")
        with pytest.raises(TrainingStopped):
            session.train("pirate", **RUN, reporter=StopsAfter(3))
        with pytest.raises(TrainingStopped) as stopped:
            session.train(
                "pirate", **RUN, resume=True, reporter=found["said"], workers=2, fsdp=True
            )
    found["stopped"] = str(stopped.value)
    found["resumed"] = session.train("pirate", **RUN, resume=True)
    found["cases"] = json.loads((session.home / FOUND).read_text())
    return found


def test_a_run_goes_on_with_a_split_base_and_then_without(done: dict[str, Any]) -> None:
    adapters = [done[name]._state.attached["pirate"] for name in ("alone", "session")]
    whole, split = ([*adapter.state().values()] for adapter in adapters)
    change = distance(whole, list(adapters[0].start.values()))
    assert 0 < distance(whole, split) < 1e-4 * change
    assert done["resumed"].losses == pytest.approx(done["summary"].losses, rel=1e-4)
    held_out = [dict(done[name].held_out_losses) for name in ("resumed", "summary")]
    assert held_out[0] == pytest.approx(held_out[1], rel=1e-4)
    assert int(done["stopped"].split("after step ")[1].split()[0]) >= 6
    assert done["said"].lines[-1] == "rows padded; the base is split over the workers"
    assert done["session"].verify()
    assert done["cases"]["run"]["same"]


@pytest.mark.parametrize("name", CASES)
def test_a_split_base_trains_as_a_whole_one(done: dict[str, Any], name: str) -> None:
    found = done["cases"][name]
    assert found["change"] > 1e-3
    assert found["difference"] < (1e-12 if name == "tied, in float64" else 1e-3)
    assert found["held_out"] < (1e-14 if name == "tied, in float64" else 1e-5)
    assert found["same"]
    # Rows of odd numbers give one worker a little more.
    assert found["share"] == pytest.approx(0.5, abs=0.01)
    # A classifier's head is trained, so a copy of it stays.
    assert found["whole"] == (name == "classifier")


@pytest.mark.parametrize(
    ("flags", "bits", "words"),
    [
        (
            {"method": "full"},
            None,
            r"--fsdp: pirate \(full .*\) keeps whole copies of 100% of the base",
        ),
        ({"method": "prompt"}, None, "--fsdp: prompt tuning runs .*attach with --method prefix"),
        ({}, 4, r"--fsdp: .* is quantised \(nf4\), .*load it without --bits, or omit --fsdp"),
    ],
)
def test_what_cannot_be_split_is_refused_before_a_worker_starts(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    flags: dict[str, Any],
    bits: int | None,
    words: str,
) -> None:
    monkeypatch.setattr(engines, "started", lambda workers: pytest.fail("a worker was started"))
    session = opened(base, tmp_path, **flags)
    if bits:
        stored = Quantised("nf4", bits, 14, 4.1, 5.2, 0.1)
        monkeypatch.setattr(session._state.base, "quantised", stored)
    before = session._state.attached["pirate"].state()
    with pytest.raises(CommandError, match=words):
        session.train("pirate", **RUN, workers=2, fsdp=True)
    assert session.active == "pirate"
    after = session._state.attached["pirate"].state()
    assert all(after[key].equal(value) for key, value in before.items())
    assert session.verify()
    # Whatever the error suggests would start workers: `tests.advice` types it in this session only.
    session.reset()


def test_a_model_without_known_blocks_is_refused() -> None:
    with pytest.raises(WorkerError, match=r"Linear does not name the blocks .*omit --fsdp"):
        fsdp.blocks(nn.Linear(2, 2))


def test_a_worker_that_cannot_gather_says_that_another_one_was_lost() -> None:
    lost = RuntimeError("[gloo/transport/tcp/pair.cc:537] Connection reset by peer. Hints")
    other = "other shapes"
    with (
        pytest.raises(PeerLostError, match=r"another worker was lost: .*Connection reset by peer"),
        fsdp.gathering(),
    ):
        raise lost
    with pytest.raises(RuntimeError, match=other), fsdp.gathering():
        raise RuntimeError(other)
