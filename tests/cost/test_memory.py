"""The bytes that torch keeps for the backward pass, against the formula, block by block.

A block's bytes are the difference of a model of three layers and one of two, each on a tiny scale:
what is outside of the blocks cancels out. The peaks of larger models are measured in
tests/benchmarks/memory.py.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from lora_magic.adapters.fused import Fused
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.cost.activations import Block, by_block
from lora_magic.cost.architectures import function_of
from lora_magic.cost.memory import between_blocks, use_of
from lora_magic.cost.setting import Setting
from lora_magic.state.session import Session
from lora_magic.state.train import begin
from lora_magic.training.documents import Documents
from lora_magic.training.encode import Example
from lora_magic.training.way import Way
from tests.tiny import tiny_tokenizer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
ROWS, LENGTH = 2, 24

DECODER = {
    "vocab_size": 384,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 160,
    "max_position_embeddings": 128,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**DECODER, "num_key_value_heads": 2},
    "gpt2": {"vocab_size": 384, "n_embd": 64, "n_head": 4, "n_positions": 128},
    "opt": {
        "vocab_size": 384,
        **{"hidden_size": 64, "word_embed_proj_dim": 64, "num_attention_heads": 4},
        **{"ffn_dim": 160, "max_position_embeddings": 128, "dropout": 0.0},
    },
}
LAYERS = {"gpt2": "n_layer"}


def config(kind: str, layers: int) -> dict[str, Any]:
    ids = {"pad_token_id": 3, "bos_token_id": None, "eos_token_id": 0}
    count = {LAYERS.get(kind, "num_hidden_layers"): layers}
    return {"model_type": kind, **CONFIGS[kind], **count, **ids}


def examples(masked: bool) -> list[Example]:
    """Rows of one length, or with padding."""
    lengths = [LENGTH, LENGTH - 5 if masked else LENGTH]
    rows = [tuple(range(4, 4 + length)) for length in lengths]
    return [Example(row, row, n) for n, row in enumerate(rows)]


@contextmanager
def trained(kind: str, layers: int, dtype: str, flags: dict[str, Any]) -> Iterator[Any]:
    """A model whose adapter is being trained, and its LoRA layers."""
    torch.manual_seed(0)
    made = AutoConfig.for_model(**config(kind, layers))
    model = AutoModelForCausalLM.from_config(made, dtype=DTYPES[dtype])
    session = Session()
    session.use(model.eval(), tiny_tokenizer())
    session.attach("a", **flags)
    state = session._state
    attached = state.attached["a"]
    begin(state, attached, initial=True)
    with attached.trainable():
        yield model.train(), Fused(attached.replacements), attached.spec
    session.reset()


class Box:
    """What autograd keeps in place of a tensor; it goes when autograd lets go of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def saved(model: nn.Module, way: Way, rows: list[Example]) -> int:
    """The bytes that a pass keeps, each storage once, without those of weights."""
    owned = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: weakref.WeakSet[Box] = weakref.WeakSet()

    def packed(tensor: Tensor) -> Box:
        box = Box(tensor)
        kept.add(box)
        return box

    batch = way.batch(rows)
    hooks = torch.autograd.graph.saved_tensors_hooks(packed, lambda box: box.tensor)
    with hooks, way.using(batch):
        loss = way.total(batch)
    assert loss.requires_grad
    storages = {box.tensor.untyped_storage().data_ptr(): box.tensor for box in kept}
    return sum(
        tensor.untyped_storage().nbytes()
        for address, tensor in storages.items()
        if address not in owned
    )


def measured(kind: str, dtype: str, flags: dict[str, Any], plain: bool) -> tuple[int, AdapterSpec]:
    sizes = []
    for layers in (2, 3):
        with trained(kind, layers, dtype, flags) as (model, layers_of, spec):
            way = Way(model, 3)
            if not plain:
                if spec.method == "lora":
                    layers_of.install(model)
                if spec.method not in ("prefix", "prompt"):
                    way = Way(model, 3, packed=True, trained_only=True, documents=Documents(model))
            sizes.append(saved(model, way, examples(masked=plain)))
    return sizes[1] - sizes[0], spec


def predicted(kind: str, dtype: str, spec: AdapterSpec, plain: bool) -> int:
    function = function_of(kind)
    assert function is not None
    model = function(config(kind, 3), kind)
    setting = Setting(
        dtype=dtype, rows=ROWS, length=LENGTH, spec=spec, cuda=False, plain=plain, trained=0
    )
    use = use_of(model, setting)
    length = LENGTH + (spec.virtual_tokens if use.method == "prompt" else 0)
    kept = Block(use, by_block(model.ops)[2]).kept() + between_blocks(use)
    return kept.at(ROWS, length)


LORA = {"rank": 4, "targets": "all-linear"}
CASES = {
    "lora": LORA,
    "lora q v": {"rank": 4, "targets": "attention"},
    "dropout": {**LORA, "dropout": 0.1},
    "dora": {**LORA, "dora": True},
    "adalora": {**LORA, "method": "adalora"},
    "ia3": {"method": "ia3"},
    "houlsby": {"method": "houlsby", "rank": 4},
    "adapter-l": {"method": "adapter-l", "rank": 4},
    "norms": {**LORA, "norms": True},
    "full": {"method": "full"},
    "prefix": {"method": "prefix", "virtual_tokens": 8},
    "prompt": {"method": "prompt", "virtual_tokens": 8},
}


@pytest.mark.parametrize("plain", [False, True], ids=["ours", "plain"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("method", CASES)
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_block_keeps_the_bytes_that_torch_keeps(
    kind: str, method: str, dtype: str, plain: bool
) -> None:
    found, spec = measured(kind, dtype, CASES[method], plain)
    assert predicted(kind, dtype, spec, plain) == pytest.approx(found, rel=0.02)
