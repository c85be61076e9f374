"""The number formats of a GGUF file, against formulas of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from transformers import LlamaConfig

from lora_magic.errors import ExportError
from lora_magic.export.gguf.file import model_bytes
from lora_magic.export.gguf.quantise import chosen
from tests.export.gguf.test_architectures import SIZES, made, written

WIDE = LlamaConfig(**SIZES, tie_word_embeddings=True)
#: Rows of 48 are not whole blocks of 32; those of `down_proj`, 96, are.
ODD = LlamaConfig(**{**SIZES, "hidden_size": 48}, tie_word_embeddings=True)


def stored(model: Any, path: Path, format: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The file's tensors by name, and the notes."""
    notes = written(model, path, format)
    return {one.name: one for one in GGUFReader(path).tensors}, notes


def test_the_default_keeps_32_bits_for_an_fp32_base_and_16_for_others() -> None:
    formats = [chosen(None, dtype) for dtype in (torch.float32, torch.bfloat16, torch.float16)]
    assert formats == ["f32", "f16", "f16"]
    assert chosen("q8_0", torch.float32) == "q8_0"


def test_q8_0_has_the_scale_and_the_whole_numbers_of_its_definition(tmp_path: Path) -> None:
    """Of each 32 neighbours of a row: d = max |x| / 127 in f16, and q = x / d, rounded."""
    model = made(WIDE)
    found, notes = stored(model, tmp_path / "a.gguf", "q8_0")
    assert not notes
    one = found["blk.1.ffn_down.weight"]
    assert one.tensor_type.name == "Q8_0"
    raw = np.asarray(one.data).reshape(-1, 34)
    scale = raw[:, :2].copy().view(np.float16).astype(np.float32)
    whole = raw[:, 2:].view(np.int8).astype(np.float32)
    blocks = model.model.layers[1].mlp.down_proj.weight.detach().numpy().reshape(-1, 32)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    assert np.array_equal(scale, (largest / 127).astype(np.float16).astype(np.float32))
    assert np.abs(whole).max() == 127
    # Half a step, and what the scale's own 11 bits leave.
    assert np.all(np.abs(whole * scale - blocks) <= scale * 0.5 + largest * 2**-11 + 1e-9)


def test_f16_is_the_nearest_half_and_vectors_stay_f32(tmp_path: Path) -> None:
    model = made(WIDE)
    found, notes = stored(model, tmp_path / "a.gguf", "f16")
    weight = model.model.layers[0].self_attn.v_proj.weight.detach()
    assert np.array_equal(found["blk.0.attn_v.weight"].data, weight.half().numpy())
    norm = found["blk.0.attn_norm.weight"]
    assert norm.tensor_type.name == "F32"
    assert np.array_equal(norm.data, model.model.layers[0].input_layernorm.weight.detach().numpy())
    matrices = [tensor for tensor in model.parameters() if tensor.dim() > 1]
    moved = sum(int((one.half().float() != one).sum()) for one in matrices)
    assert f"f16 rounds {moved:,} of {sum(one.numel() for one in matrices):,} weights" in notes[0]


def test_f16_holds_bf16_weights_of_usual_size(tmp_path: Path) -> None:
    model = made(WIDE)
    for parameter in model.parameters():
        # Larger than f16's smallest normal number.
        parameter.data = parameter.data.sign() * parameter.data.abs().clamp(min=1e-4)
    model.to(torch.bfloat16)
    found, notes = stored(model, tmp_path / "a.gguf", "f16")
    assert notes == ("f16 holds every weight exactly",)
    weight = model.model.embed_tokens.weight.detach().float().numpy()
    assert np.array_equal(found["token_embd.weight"].data.astype(np.float32), weight)


def test_rows_that_are_no_whole_blocks_stay_f16_and_are_counted(tmp_path: Path) -> None:
    model = made(ODD)
    found, notes = stored(model, tmp_path / "a.gguf", "q8_0")
    kinds = {name: one.tensor_type.name for name, one in found.items()}
    assert kinds["blk.0.attn_q.weight"] == kinds["token_embd.weight"] == "F16"
    assert kinds["blk.0.ffn_down.weight"] == "Q8_0"
    count = list(kinds.values()).count("F16")
    assert notes[0].startswith(f"{count} tensors are f16")


@pytest.mark.parametrize("format", ["f32", "f16", "q8_0"])
def test_the_bytes_are_known_beforehand(format: str, tmp_path: Path) -> None:
    model = made(ODD)
    found, _ = stored(model, tmp_path / "a.gguf", format)
    assert model_bytes(ODD, model.state_dict(), format) == sum(
        one.n_bytes for one in found.values()
    )


@pytest.mark.parametrize(("format", "large"), [("f16", 7e4), ("q8_0", 9e6), ("f16", float("nan"))])
def test_a_weight_that_a_format_cannot_hold_is_refused(
    format: str, large: float, tmp_path: Path
) -> None:
    model = made(WIDE)
    model.model.layers[0].mlp.up_proj.weight.data[3, 5] = large
    with pytest.raises(ExportError, match=r"blk.0.ffn_up.weight has .* type: --quantise f32"):
        written(model, tmp_path / "a.gguf", format)
    written(model, tmp_path / "a.gguf", "f32")
