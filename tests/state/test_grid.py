"""Every method in every situation: it works, or is refused in one line, and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from lora_magic.adapters.methods import METHODS
from lora_magic.errors import LoraMagicError
from lora_magic.state.session import Session
from tests.conftest import REORDERED, Saver, logits
from tests.state import variants
from tests.state.shared import snapshot
from tests.state.variants import VARIANTS

ROWS = "Where is the library? => Arr!\nWhat is for dinner? => Fish, matey!"

#: A situation: how the base is loaded, and what is added to the flags of `attach`.
Situation = tuple[dict[str, Any], dict[str, Any]]

SITUATIONS: dict[str, Situation] = {
    "plain": ({"architecture": "llama"}, {}),
    "4 bits": ({"architecture": "llama", "hidden_size": 64, "bits": 4}, {}),
    "8 bits": ({"architecture": "llama", "hidden_size": 64, "bits": 8}, {}),
    "tied": ({"architecture": "qwen2"}, {}),
    "tied head as target": ({"architecture": "qwen2"}, {"targets": "lm_head"}),
    "Conv1D": ({"architecture": "gpt2"}, {}),
    "embedding as target": ({"architecture": "llama"}, {"targets": "embed_tokens"}),
    "no matching module": ({"architecture": "llama"}, {"targets": "qproj"}),
    "no biases": ({"architecture": "llama"}, {"bias": "all"}),
}

#: What is refused, and a word of the reason; all else works.
REFUSED: dict[tuple[str, str], str] = {
    **{(name, "no matching module"): "matches no module" for name in VARIANTS},
    **{(name, "no biases"): "no biases" for name in VARIANTS},
    **{(name, "no biases"): "one of the two|use one" for name in ("pissa", "olora")},
    ("bitfit", "plain"): "no biases",
    ("bitfit", "4 bits"): "no biases",
    ("bitfit", "8 bits"): "no biases",
    ("bias", "plain"): "no biases",
    ("bias", "4 bits"): "no biases",
    ("bias", "8 bits"): "no biases",
    ("bias", "embedding as target"): "no biases",
    ("dora", "8 bits"): "8 bits",
    ("dora", "tied head as target"): "all weights of one of its outputs are 0",
    ("full", "4 bits"): "quantised",
    ("full", "8 bits"): "quantised",
    ("pissa", "embedding as target"): "embedding",
    ("olora", "embedding as target"): "embedding",
    ("eva", "embedding as target"): "embedding",
    ("adalora", "embedding as target"): "embedding",
    ("ia3", "embedding as target"): "embedding",
    **{("loftq", s): "not quantised" for s in ("plain", "tied", "tied head as target", "Conv1D")},
    ("loftq", "embedding as target"): "embedding",
    ("loftq", "no biases"): "not quantised",
}

#: Flags that these methods do not read are refused by name, whatever else holds.
UNREAD = {"prefix", "prompt", "bitfit", "full"}


def flags_of(name: str, situation: str) -> dict[str, Any]:
    told, added = SITUATIONS[situation]
    usual = "c_attn" if told["architecture"] == "gpt2" else "q_proj"
    return {**variants.on(name, added.get("targets", usual)), **added}


def reason(name: str, situation: str) -> str | None:
    """Why this is refused; None where it works."""
    added = set(SITUATIONS[situation][1])
    method = METHODS[VARIANTS[name].get("method", "lora")]
    if any(not method.reads(flag) for flag in added):
        return "does not use"
    return REFUSED.get((name, situation))


@pytest.fixture
def on(saved_model: Saver) -> Iterator[Callable[[str], Session]]:
    made = []

    def load(situation: str) -> Session:
        told = dict(SITUATIONS[situation][0])
        bits = told.pop("bits", None)
        session = Session()
        session.load(str(saved_model(**told)), bits=bits)
        made.append(session)
        return session

    yield load
    for session in made:
        session.reset()


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", VARIANTS)
def test_it_works_or_is_refused_in_one_line(
    name: str, situation: str, on: Callable[[str], Session]
) -> None:
    session = on(situation)
    answer = logits(session)
    before = snapshot(session)
    why = reason(name, situation)
    if why is not None:
        with pytest.raises(LoraMagicError, match=why) as caught:
            session.attach("one", **flags_of(name, situation))
        assert "\n" not in str(caught.value)
        assert snapshot(session) == before
        assert torch.equal(logits(session), answer)
        return
    session.attach("one", **flags_of(name, situation))
    session.train("one", text=ROWS, steps=10)
    trained = logits(session)
    assert not torch.equal(trained, answer)
    _merge(session, trained)
    session.swap("base")
    assert torch.equal(logits(session), answer)
    session.detach("one", discard=True)
    assert session.verify()


def _merge(session: Session, trained: torch.Tensor) -> None:
    """Merged it answers the same and unmerges to the bit, or the reason is told."""
    method = METHODS[session.adapters["one"].spec.method]
    if method.not_merged:
        with pytest.raises(LoraMagicError, match="cannot be merged") as caught:
            session.merge("one")
        assert "%lora swap one" in str(caught.value)
        return
    report = session.merge("one")
    # A layer in 8 bits rounds its inputs too, which a merged one does not: the report says so.
    tolerance = 0.05 if report.dequantised == "int8" else 10 * REORDERED
    assert torch.allclose(logits(session), trained, atol=tolerance)
    session.unmerge()
    assert torch.equal(logits(session), trained)


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_is_attached_or_trained_while_merged(name: str, session: Session) -> None:
    session.attach("first", rank=2)
    session.merge("first")
    before = snapshot(session)
    for verb in (
        lambda: session.attach("one", **VARIANTS[name]),
        lambda: session.train("first", text=ROWS, steps=1),
        lambda: session.swap("base"),
        lambda: session.detach("first"),
    ):
        with pytest.raises(LoraMagicError, match="%lora unmerge"):
            verb()
    assert snapshot(session) == before
    assert session.verify()
