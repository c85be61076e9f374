"""The bases of the script: Llama-shaped, random weights, made on the device. Downloads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from lora_magic.base.quantise import bitsandbytes
from lora_magic.state.session import Session
from tests.tiny import tiny_tokenizer

from .table import Settings

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"vocab_size": 384, "hidden_size": 64, "intermediate_size": 128, "layers": 2, "kv": 2},
    "30M": {"vocab_size": 384, "hidden_size": 512, "intermediate_size": 1536, "layers": 8, "kv": 4},
    "1B": {
        **{"vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192},
        **{"layers": 16, "kv": 8, "tie_word_embeddings": True},
    },
    "7B": {
        **{"vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008},
        **{"layers": 32, "kv": 32},
    },
}
TOKENIZER = tiny_tokenizer()
PROMPT = "Where is the library? "


def a_model(shape: str, settings: Settings, dtype: torch.dtype, **changes: Any) -> Any:
    """A random Llama of a shape on the device; the tiny tokenizer's ids are in its vocabulary."""
    fields = {**SHAPES[shape], **changes}
    config = LlamaConfig(
        num_hidden_layers=fields.pop("layers"),
        num_key_value_heads=fields.pop("kv"),
        num_attention_heads=max(4, fields["hidden_size"] // 128),
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=3,
        **fields,
    )
    torch.manual_seed(0)
    with settings.device:
        made = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return made.eval()


def quantise(model: Any) -> Any:
    """Replace every linear layer but the head by its NF4, one after the other, on its device."""
    bnb = bitsandbytes()
    for name, module in list(model.named_modules()):
        if not isinstance(module, nn.Linear) or name == "lm_head":
            continue
        sizes, weight = (module.in_features, module.out_features), module.weight
        made = bnb.nn.Linear4bit(
            *sizes, bias=False, compute_dtype=weight.dtype, quant_type="nf4", device="meta"
        )
        packed = bnb.nn.Params4bit(weight.data, requires_grad=False, quant_type="nf4")
        made.weight = packed.to(weight.device)
        owner, _, own = name.rpartition(".")
        setattr(model.get_submodule(owner), own, made.eval())
    return model


def saved(shape: str, settings: Settings, **changes: Any) -> str:
    """A folder with a random base, which `load` reads as it reads any other."""
    folder = Path.cwd() / shape
    dtype = torch.bfloat16 if settings.cuda else torch.float32
    a_model(shape, settings, dtype, **changes).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return str(folder)


def rows(tokens: int, count: int = 16) -> list[tuple[str, str]]:
    """Rows of about this many tokens each."""
    words = "arr, matey! " * max(1, tokens // 6)
    return [(f"{PROMPT}{number}", words) for number in range(count)]


def perturb(session: Session, name: str) -> None:
    """Give a LoRA a ΔW without training it."""
    generator = torch.Generator().manual_seed(sum(name.encode()))
    with torch.no_grad():
        for path, tensor in session._state.attached[name].tensors():
            if "lora_B" in path:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.01)


@torch.no_grad()
def logits(session: Session) -> torch.Tensor:
    """The model's logits on a fixed text."""
    ids = torch.arange(10, 42, device=session.model.device)[None]
    found: torch.Tensor = session.model(input_ids=ids).logits
    return found
