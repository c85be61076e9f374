"""What all tests share: models saved to folders, sessions that are given back, one thread."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from lora_magic.demo import sample
from lora_magic.state import forgetting
from lora_magic.state.session import Session
from tests import advice
from tests.tiny import tiny_model, tiny_tokenizer

Saver = Callable[..., Path]

#: How far float32 logits of the tiny models may move when sums are taken in another order: they
#: are below 10 in size, each is some hundred products deep, and 2^-24 of 10 a rounding is 6e-7.
REORDERED = 1e-5

# Small matrices: a second thread costs more than it brings, and two workers share two cores.
torch.set_num_threads(1)

# Whoever starts pytest in the background, as many a CI does, hands it ignored interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA device here")
    for item in items:
        # Its keywords also hold the names of its folders: tests/gpu runs on a CPU too.
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


advice.watch()

#: All that forgetting is measured on, which only the file that tests it does; and how much others
#: measure. All would take a quarter of the time of their short runs, half on the embedded model.
_ALL = forgetting.TEXTS, sample.QUESTIONS
_FEW, _MEASURED = 6, Path(__file__).parent / "state" / "test_forgetting.py"

_counted = gc.get_freeze_count
_frozen: tuple[object, int] = (None, 0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keep what imports and earlier files left behind out of garbage collections.

    Every verb that lets go of a model collects, and would visit some 700,000 objects each time: in
    the tests of a session that was half of all processor time.
    """
    global _frozen
    file, modules = _frozen
    if item.path != file or len(sys.modules) > modules + 20:
        gc.collect()
        gc.freeze()
        _frozen = item.path, len(sys.modules)
        few = None if item.path == _MEASURED else _FEW
        forgetting.TEXTS, sample.QUESTIONS = (found[:few] for found in _ALL)
        # Each run asks whether there are any, and they are counted one by one.
        gc.get_freeze_count = lambda: 1  # type: ignore[assignment]


@pytest.fixture
def nothing_frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The garbage collector as in a notebook, for a test of what is frozen."""
    monkeypatch.setattr(gc, "get_freeze_count", _counted)
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """After a test, type what its errors suggested; see tests/advice.py."""
    advice.forget()
    try:
        result = yield
    except BaseException:
        advice.forget()
        raise
    patched = getattr(item, "funcargs", {}).get("monkeypatch")
    here = Path.cwd() if Path.cwd().is_dir() else None
    if patched is not None and advice.waiting():
        # The test's own faults are not the product's.
        patched.undo()
        if here is not None:
            patched.chdir(here)
    found = advice.faults()
    assert not found, "\n\n".join(["suggestions that fail:", *found])
    return result


@pytest.fixture(scope="session", autouse=True)
def _each_suggestion_is_typed_by_one_worker(tmp_path_factory: pytest.TempPathFactory) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        advice.share(tmp_path_factory.getbasetemp().parent / "typed")


@pytest.fixture(autouse=True)
def _home_in_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Saver:
    """`saved_model("gpt2")` is a folder saved by transformers, made once."""
    made: dict[tuple[object, ...], Path] = {}

    def save(architecture: str = "llama", *, chat: bool = True, **changes: object) -> Path:
        key = (architecture, chat, *sorted(changes.items(), key=str))
        if key not in made:
            folder = tmp_path_factory.mktemp(architecture)
            tiny_model(architecture, **changes).save_pretrained(folder)
            tiny_tokenizer(chat=chat).save_pretrained(folder)
            made[key] = folder
        return made[key]

    return save


@pytest.fixture
def session(saved_model: Saver) -> Iterator[Session]:
    """A session with a tiny Llama loaded."""
    made = Session()
    made.load(str(saved_model()))
    yield made
    made.reset()


def perturb(session: Session, name: str, size: float = 0.02, seed: int = 0) -> None:
    """Give an adapter a ΔW without training it: B drawn from a Gaussian."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor_name, tensor in session._state.attached[name].tensors():
            if "lora_B" in tensor_name or "embedding_B" in tensor_name:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * size)


def logits(session: Session) -> torch.Tensor:
    """The model's logits on a fixed text, with whatever is in force."""
    ids = torch.arange(10, 26)[None]
    with torch.no_grad():
        found: torch.Tensor = session.model(input_ids=ids).logits
    return found
