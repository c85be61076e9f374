"""`export --to gguf` from a session: what is written, and what is refused with nothing left."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFReader

from lora_magic import reading
from lora_magic.base.quantise import dequantised
from lora_magic.errors import ExportError
from lora_magic.export import formats
from lora_magic.export.gguf.format import Gguf
from lora_magic.state.session import Session
from tests.conftest import Saver, perturb
from tests.state.shared import snapshot
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture
def session() -> Iterator[Session]:
    """A tiny Llama in use, with an adapter whose ΔW is not zero."""
    made = Session()
    made.use(tiny_model("llama"), tiny_tokenizer(chat=True))
    made.attach("pirate", rank=2, alpha=6, targets="q_proj,v_proj")
    perturb(made, "pirate")
    yield made
    made.reset()


def test_the_file_holds_the_sum_of_base_and_update(session: Session, tmp_path: Path) -> None:
    made = session.export("pirate", tmp_path / "out", to="gguf", quantise="f32", unchecked=True)
    assert [name for name, _ in made.files if name.endswith((".gguf", "Modelfile"))] == [
        "Modelfile",
        "pirate.gguf",
    ]
    assert [line for _, line in made.commands] == [
        f"llama-server -m {tmp_path}/out/pirate.gguf",
        f"ollama create pirate -f {tmp_path}/out/Modelfile",
    ]
    found = {
        one.name: torch.tensor(one.data) for one in GGUFReader(tmp_path / "out/pirate.gguf").tensors
    }
    layer = session.model.model.layers[0].self_attn.v_proj
    a, b = (next(iter(getattr(layer, name).values())).weight for name in ("lora_A", "lora_B"))
    merged = layer.base_layer.weight + 3 * b @ a
    assert torch.allclose(found["blk.0.attn_v.weight"], merged, atol=1e-6)
    plain = session.model.model.layers[0].self_attn.o_proj.weight
    assert torch.equal(found["blk.0.attn_output.weight"], plain)


def test_a_quantised_base_is_dequantised_and_that_is_said(
    tmp_path: Path, saved_model: Saver
) -> None:
    session = Session()
    folder = saved_model("llama", hidden_size=64)
    session.load(str(folder), bits=4)
    made = session.export("base", tmp_path / "out", to="gguf", unchecked=True)
    assert any("nf4 weights were dequantised to fp32 first" in note for note in made.notes)
    found = {one.name: one for one in GGUFReader(tmp_path / "out/base.gguf").tensors}
    weight = session.model.model.layers[1].mlp.up_proj
    assert np.array_equal(found["blk.1.ffn_up.weight"].data, dequantised(weight).numpy())
    session.reset()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"rank": 4}, r"--rank 4 is for an adapter alone; type: --to gguf --adapter-only"),
        ({"quantise": "f16"}, r"token_embd.weight has .* type: --quantise f32"),
    ],
)
def test_what_is_refused_leaves_nothing(
    flags: dict[str, object], named: str, session: Session, tmp_path: Path
) -> None:
    session.model.model.embed_tokens.weight.data[3, 3] = 1e5
    before = snapshot(session)
    with pytest.raises(ExportError, match=named):
        session.export("pirate", tmp_path / "out", to="gguf", unchecked=True, **flags)
    assert not list(tmp_path.glob("out*"))
    assert snapshot(session) == before


def test_without_the_engine_nothing_is_written_unless_unchecked(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    monkeypatch.setattr(Gguf, "write", lambda *_: pytest.fail("written"))
    with pytest.raises(
        ExportError, match=r"xllamacpp, .*%pip install \"lora_magic\[gguf\]\".*--unc"
    ):
        session.export("pirate", tmp_path / "out", to="gguf")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("adapter_only", [False, True])
def test_a_file_in_32_bits_needs_twice_the_memory_of_a_base_in_16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter_only: bool
) -> None:
    session = Session()
    session.use(tiny_model("llama", dtype=torch.bfloat16), tiny_tokenizer(chat=True))
    session.attach("one", rank=2, targets="q_proj")
    stored = sum(p.numel() for p in session.model.parameters()) * 4
    monkeypatch.setattr(reading, "free_memory", lambda: stored * 3 // 4)
    monkeypatch.setattr(Gguf, "write", lambda *_: pytest.fail("written"))
    with pytest.raises(ExportError, match=r"to read it back, and .* is free; add --unchecked"):
        session.export(
            "one", tmp_path / "out", to="gguf", quantise="f32", adapter_only=adapter_only
        )
    session.reset()


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    session = Session()
    session.use(tiny_model("phi"), tiny_tokenizer())
    with pytest.raises(ExportError, match="the architecture 'phi' is not supported"):
        session.export("base", tmp_path / "out", to="gguf")
    assert not list(tmp_path.glob("out*"))
    session.reset()


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("lora_magic.export.gguf")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ExportError, match=r'type: %pip install "lora_magic\[gguf\]"'):
        importlib.import_module("lora_magic.export.gguf.format")
