"""After `reset` nothing keeps the base, whatever happened before it."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest
import torch

from lora_magic.errors import LoraMagicError, StateError
from lora_magic.state.session import Session
from tests.conftest import Saver

ROWS = "Where is the library? => Arr!"


@pytest.mark.parametrize("bits", [None, 4, 8])
@pytest.mark.parametrize("after", ["verbs", "a mistake", "no memory", "an interrupt"])
def test_reset_frees_every_tensor_of_the_base(
    bits: int | None, after: str, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session()
    session.load(str(saved_model(hidden_size=64)), bits=bits)
    session.attach("one", rank=2)
    session.train("one", text=ROWS, steps=1)
    wanted = {
        "a mistake": LoraMagicError,
        "no memory": StateError,
        "an interrupt": KeyboardInterrupt,
    }
    if after in wanted:
        keep_last_error(session, after, wanted[after], monkeypatch)
    tensors = [*session.model.parameters(), *session.model.buffers()]
    there = [weakref.ref(tensor) for tensor in tensors]
    del tensors
    # Not by a collection of ours: what `reset` leaves stays until the next one.
    gc.disable()
    try:
        session.reset()
        assert sum(tensor() is not None for tensor in there) == 0
    finally:
        gc.enable()


def keep_last_error(
    session: Session, after: str, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verb that fails in a function with the base in its variables; the error is kept."""

    def fails(model: Any, *_: Any, **__: Any) -> None:
        tensors = list(model.parameters())
        if after == "no memory":
            raise RuntimeError(f"DefaultCPUAllocator: can't allocate memory {len(tensors)}")
        raise KeyboardInterrupt if after == "an interrupt" else StateError("a mistake")

    with monkeypatch.context() as patch:
        hook = session.model.register_forward_pre_hook(fails)
        try:
            session.ask("hi", max_new_tokens=1)
        except kind as error:
            patch.setattr(sys, "last_value", error, raising=False)
            monkeypatch.setattr(sys, "last_traceback", error.__traceback__, raising=False)
        else:
            raise AssertionError("the verb did not fail")
        finally:
            hook.remove()


#: What libraries raise when there is no memory.
LACKS: dict[str, BaseException] = {
    "python": MemoryError(),
    "torch on a CPU": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 9 bytes.\nException raised from alloc_cpu"
    ),
    "torch on a GPU": torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB"),
    "CUDA": RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(h)"),
    "C++": RuntimeError("std::bad_alloc"),
    "the system": OSError(12, "Cannot allocate memory"),
}

VERBS: dict[str, Any] = {
    "attach": lambda s: s.attach("two", rank=2),
    "train": lambda s: s.train("one", text=ROWS, steps=1),
    "ask": lambda s: s.ask("hi", max_new_tokens=1),
    "compare": lambda s: s.compare("hi", max_new_tokens=1),
    "merge": lambda s: s.merge("one"),
    "attach prefix": lambda s: s.attach("two", method="prefix"),
    "attach full": lambda s: s.attach("two", method="full"),
}


@pytest.mark.parametrize("lack", LACKS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_lack_of_memory_is_one_line_in_every_verb_and_changes_nothing(
    verb: str, lack: str, session: Session
) -> None:
    session.attach("one", rank=2)
    before = session._state.attached["one"].state()

    def full(*_: Any) -> None:
        raise LACKS[lack]

    hook = session.model.register_forward_pre_hook(full)
    with pytest.raises(LoraMagicError, match="out of memory") as seen:
        VERBS[verb](session)
    hook.remove()
    assert "\n" not in str(seen.value)
    assert session.verify()
    assert list(session.adapters) == ["one"]
    after = session._state.attached["one"].state()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    VERBS[verb](session)
