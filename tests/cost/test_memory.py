"""The bytes that torch keeps for the backward pass, against the formula, block by block.

A block's bytes are the difference of a model of three layers and one of two, each on a tiny scale:
what is outside of the blocks cancels out. The peaks of larger models are measured in
tests/benchmarks/memory.py.
"""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from lora_magic.adapters.fused import Fused
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.quantise import state_tensors
from lora_magic.cost.activations import Block, by_block
from lora_magic.cost.architectures import function_of
from lora_magic.cost.config import model_of
from lora_magic.cost.memory import between_blocks, memory, quantised, use_of
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
    kept = Block(use, by_block(model.ops)[2]).kept().plus(between_blocks(use))
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


#: Model, method, number format, and whether the step is plain.
GRID = (
    *(("llama", method, dtype, False) for method in CASES for dtype in DTYPES),
    *(("llama", method, dtype, True) for method in ("lora", "dropout") for dtype in DTYPES),
    *((kind, "lora", "bf16", plain) for kind in ("gpt2", "opt") for plain in (False, True)),
    *((kind, method, "fp32", False) for kind in ("gpt2", "opt") for method in ("houlsby", "full")),
)
#: PEFT's DoRA, and what virtual tokens keep of themselves, are not counted to the byte.
ABOUT = {"dora": 0.03, "prefix": 0.06, "prompt": 0.15}


@pytest.mark.parametrize(("kind", "method", "dtype", "plain"), GRID)
def test_a_block_keeps_the_bytes_that_torch_keeps(
    kind: str, method: str, dtype: str, plain: bool
) -> None:
    found, spec = measured(kind, dtype, CASES[method], plain)
    tolerance = ABOUT.get(method, 0.005)
    assert predicted(kind, dtype, spec, plain) == pytest.approx(found, rel=tolerance)


LLAMA = {"model_type": "llama", "hidden_size": 512, "num_hidden_layers": 8, "vocab_size": 8000}
SPEC = AdapterSpec(rank=8, alpha=16, targets="all-linear")


def peak(**what: Any) -> int:
    return memory(model_of(LLAMA), Setting(**{"spec": SPEC, **what})).peak


def test_more_rows_longer_ones_and_more_parameters_never_need_less() -> None:
    for name, values in (("rows", (1, 2, 4, 8)), ("length", (64, 128, 1000, 4000))):
        found = [peak(**{name: value}) for value in values]
        assert found == sorted(set(found)), name
    specs = [replace(SPEC, rank=rank) for rank in (1, 8, 64)] + [AdapterSpec(method="full")]
    found = [peak(spec=spec, length=256) for spec in specs]
    assert found == sorted(set(found))


def test_each_saving_saves() -> None:
    plain = peak(rows=4)
    assert peak(rows=4, checkpointing=True) < plain
    assert peak(rows=4, trained=100) <= plain
    assert peak(rows=4, plain=True) > plain
    assert peak(rows=4, dtype="fp32") > plain


def test_4_bits_save_weights_but_not_activations() -> None:
    """PEFT's layers on 4 bits keep a copy of their input in float32, each its own."""
    assert peak(length=64, bits=4) < peak(length=64)
    model = model_of(LLAMA)
    four, sixteen = (memory(model, Setting(spec=SPEC, rows=4, bits=bits)) for bits in (4, None))
    assert four.of("weights") < sixteen.of("weights") / 2
    assert four.of("activations") > sixteen.of("activations")


def test_the_parts_of_a_fully_trained_model_are_known_multiples_of_its_parameters() -> None:
    model = model_of(LLAMA)
    found = memory(model, Setting(spec=AdapterSpec(method="full"), length=8, cuda=False))
    count = model.parameters
    assert found.of("weights") == 2 * count
    # The parameters, the state that they started from and the one that an error restores.
    assert found.of("adapter") == 3 * 4 * count
    assert found.of("gradients") == 4 * count
    assert found.of("optimizer") == 8 * count


def test_a_quantised_matrix_takes_what_bitsandbytes_makes_of_it() -> None:
    import bitsandbytes as bnb

    layer = bnb.nn.Linear4bit(128, 96, bias=False, quant_type="nf4", compress_statistics=True)
    layer = layer.to("cpu")
    tensors = (layer.weight, *state_tensors(layer, "weight").values())
    found = {t.data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    assert quantised(96 * 128, 96, 4) == sum(found.values())


def test_no_torch_is_needed() -> None:
    code = (
        "import sys; from lora_magic.cost.config import model_of; "
        "from lora_magic.cost.memory import memory; from lora_magic.cost.setting import Setting; "
        "from lora_magic.adapters.spec import AdapterSpec as S; "
        "s = S(rank=8, alpha=16, targets='all-linear'); "
        f"print(memory(model_of({LLAMA!r}), Setting(spec=s)).peak > 0, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
