"""An adapter alone as GGUF: what the file holds, what is refused, and the lines to type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

from lora_magic.errors import ExportError
from lora_magic.export.gguf import adapter
from lora_magic.export.gguf.format import Gguf
from lora_magic.state.session import Session

from .jobs import adapted, job


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with adapted() as made:
        yield made


def tensors_of(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a GGUF file, as the gguf package reads them."""
    return {
        one.name: torch.tensor(gguf.quants.dequantize(one.data, one.tensor_type))
        for one in gguf.GGUFReader(str(file)).tensors
    }


def test_the_factors_give_the_whole_change_without_another_scale(
    session: Session, tmp_path: Path
) -> None:
    Gguf().write(job(session, adapter_only=True), tmp_path)
    held = tensors_of(tmp_path / "pirate.gguf")
    layers: Any = session._state.attached["pirate"].replacements
    assert len(held) == 2 * len(layers)
    for path, name in (("q_proj", "attn_q"), ("v_proj", "attn_v")):
        for block in range(4):
            layer = layers[f"model.layers.{block}.self_attn.{path}"]
            expected = layer.get_delta_weight(next(iter(layer.lora_A)))
            if path == "q_proj":  # row i of a head's first half beside row i of its second
                expected = expected.view(6, 2, 16, -1).transpose(1, 2).reshape(192, -1)
            a, b = (held[f"blk.{block}.{name}.weight.lora_{part}"] for part in "ab")
            torch.testing.assert_close(b @ a, expected.detach(), rtol=1e-5, atol=1e-7)
    fields = gguf.GGUFReader(str(tmp_path / "pirate.gguf")).fields
    read = {name: fields[name].contents() for name in fields}
    assert (read["general.type"], read["adapter.type"]) == ("adapter", "lora")
    assert (read["general.architecture"], read["adapter.lora.alpha"]) == ("llama", 4.0)


def test_a_larger_rank_pads_with_zeros(session: Session, tmp_path: Path) -> None:
    one = job(session, adapter_only=True, rank=9)
    Gguf().refuse(one)
    Gguf().write(one, tmp_path)
    found = adapter.factors(one)
    plain = adapter.factors(job(session, adapter_only=True))
    for path, (down, up) in found.items():
        assert down.shape[0] == up.shape[1] == 9
        torch.testing.assert_close(up @ down, plain[path].up @ plain[path].down)
    size = (tmp_path / "pirate.gguf").stat().st_size
    assert 0 <= size - Gguf().bytes(one) < 5000


def test_what_llama_cpp_cannot_add_is_refused_with_another_way(session: Session) -> None:
    refusals: dict[str, tuple[dict[str, Any], str]] = {
        "dora": (
            {"dora": True},
            r"\(dora.* is not a plain low-rank update.*compress dora --rank \d",
        ),
        "full": ({"method": "full"}, "not a plain low-rank update.*omit --adapter-only"),
        "virtual": ({"method": "prompt"}, "%lora save virtual"),
        "words": ({"targets": "embed_tokens"}, "of type Embedding.*omit --adapter-only"),
    }
    for name, (spec, named) in refusals.items():
        session.attach(name, **spec)
        with pytest.raises(ExportError, match=named):
            Gguf().refuse(job(session, name, adapter_only=True))
        session.detach(name)


def test_a_rank_below_the_adapters_and_a_base_alone_are_refused(session: Session) -> None:
    with pytest.raises(ExportError, match="--rank 2: the largest rank here is 4"):
        Gguf().refuse(job(session, adapter_only=True, rank=2))
    with pytest.raises(ExportError, match="base has no adapter"):
        Gguf().refuse(job(session, "base", adapter_only=True))


def test_the_commands_make_the_base_and_serve_both(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "pirate gguf"
    lines = dict(Gguf().commands(job(session, adapter_only=True), folder))
    base = tmp_path / "base-gguf"
    assert lines["write the base"] == f"%lora export base {base} --to gguf"
    assert lines["serve it"] == f"llama-server -m {base}/base.gguf --lora '{folder}/pirate.gguf'"
