"""Tiny models of each architecture, written as GGUF: llama.cpp answers as transformers does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from lora_magic.base.prompt import PromptForm
from lora_magic.demo import WEIGHTS
from lora_magic.errors import ExportError
from lora_magic.export.gguf.architectures import architecture_of, keys, window_notes
from lora_magic.export.gguf.file import write_model
from lora_magic.export.gguf.tokenizer import vocabulary
from tests.export.gguf.llama_cpp import asked

TOKENIZER = AutoTokenizer.from_pretrained(WEIGHTS)
SIZE = len(TOKENIZER)
#: Special tokens, and those that are no whole characters: they are in no answer.
BANNED = [i for i in range(SIZE) if i < 4 or not TOKENIZER.decode([i]).isascii()]

SIZES = {
    "vocab_size": SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
    # Sharp answers, so that a wrong weight changes them.
    "initializer_range": 0.2,
}
GEMMA = {**SIZES, "head_dim": 32}
WINDOW = {"query_pre_attn_scalar": 32, "sliding_window": 8}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"rope_type": "llama3", "rope_theta": 1e4, "original_max_position_embeddings": 32}
LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}
YARN |= {"original_max_position_embeddings": 64}
BOTH = {
    "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
CONFIGS: Mapping[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
    "llama, llama3": LlamaConfig(**SIZES, rope_parameters=LLAMA3, tie_word_embeddings=True),
    "llama, linear": LlamaConfig(**SIZES, rope_parameters=LINEAR),
    "mistral": MistralConfig(**SIZES, head_dim=32, sliding_window=None),
    "qwen2": Qwen2Config(**SIZES, tie_word_embeddings=True),
    "qwen2, yarn": Qwen2Config(**SIZES, rope_parameters=YARN),
    "qwen3": Qwen3Config(**SIZES, head_dim=32, tie_word_embeddings=True),
    "gemma": GemmaConfig(**GEMMA),
    "gemma2": Gemma2Config(**GEMMA, **WINDOW),
    # One more than six layers, so that one attends to all tokens.
    "gemma3": Gemma3TextConfig(**{**GEMMA, "num_hidden_layers": 7}, **WINDOW, rope_parameters=BOTH),
}

#: Of log-probabilities. llama.cpp's GELU reads a table of 16-bit numbers.
LIMIT, GELU_LIMIT = 1e-4, 5e-3
TOKENS = 24
TEXTS = ("What does a fox eat? A fox eats mice.", "The quick brown fox jumps over the lazy dog.")


def made(config: Any) -> Any:
    """A random model; norms and biases too, which begin as all ones and zeros."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or name.endswith("bias"):
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def written(model: Any, path: Path, format: str = "f32") -> tuple[str, ...]:
    """The model as a file, with the embedded model's tokenizer."""
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    words = vocabulary(TOKENIZER, SIZE, PromptForm.of(TOKENIZER))
    return write_model(path, path.stem, model.config, tensors, words, format)


def answered(model: Any, prompt: list[int]) -> tuple[list[int], list[float]]:
    """Greedy ids and their log-probabilities, by transformers."""
    ids = torch.tensor([prompt])
    found = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=TOKENS,
        do_sample=False,
        suppress_tokens=BANNED,
        output_logits=True,
        return_dict_in_generate=True,
    )
    answer = found.sequences[0, len(prompt) :].tolist()
    scores = [
        row[0].log_softmax(-1)[one].item() for row, one in zip(found.logits, answer, strict=True)
    ]
    return answer, scores


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any, Any, Any]]:
    """Each config's file, its model, its prompts, and what llama.cpp makes of the file."""
    folder = tmp_path_factory.mktemp("files")
    prompts = [TOKENIZER(text)["input_ids"] for text in TEXTS]
    rows, requests = {}, []
    for name, config in CONFIGS.items():
        path = folder / f"{name}.gguf"
        model = made(config)
        written(model, path)
        rows[name] = path, model, prompts
        asks = {"prompts": prompts, "tokens": TOKENS, "banned": BANNED, "texts": TEXTS}
        requests.append({"model": str(path), **asks})
    results = asked(folder, requests)
    return {name: (*row, result) for (name, row), result in zip(rows.items(), results, strict=True)}


@pytest.mark.parametrize("name", CONFIGS)
def test_llama_cpp_answers_as_transformers(name: str, read: Any) -> None:
    _, model, prompts, found = read[name]
    assert found["texts"] == prompts
    limit = GELU_LIMIT if name.startswith("gemma") else LIMIT
    for place, prompt in enumerate(prompts):
        answer, scores = answered(model, prompt)
        assert found["answers"][place] == answer
        assert found["scores"][place] == pytest.approx(scores, abs=limit)


def test_a_file_has_the_keys_of_its_config(read: Any) -> None:
    fields = GGUFReader(read["gemma2"][0]).fields
    value = {name: field.contents() for name, field in fields.items()}
    assert (value["general.architecture"], value["general.file_type"]) == ("gemma2", 0)
    wanted = {
        "context_length": 256,
        "embedding_length": 64,
        "block_count": 3,
        "feed_forward_length": 96,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.key_length": 32,
        "attention.value_length": 32,
        "attention.sliding_window": 8,
        "rope.dimension_count": 32,
        "rope.freq_base": 10000.0,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    }
    assert {key: value[f"gemma2.{key}"] for key in wanted} == wanted


def test_q_and_k_are_interleaved_and_norms_shifted(read: Any) -> None:
    path, model, *_ = read["llama"]
    found = {tensor.name: torch.tensor(tensor.data) for tensor in GGUFReader(path).tensors}
    attention = model.model.layers[0].self_attn
    # Row 2i of a head is row i of its first half, row 2i + 1 row i of its second.
    for part, heads in (("q", 4), ("k", 2)):
        module = getattr(attention, f"{part}_proj")
        head = module.out_features // heads
        order = [
            start + half * (head // 2) + row
            for start in range(0, module.out_features, head)
            for row in range(head // 2)
            for half in (0, 1)
        ]
        assert torch.equal(found[f"blk.0.attn_{part}.weight"], module.weight[order])
        assert torch.equal(found[f"blk.0.attn_{part}.bias"], module.bias[order])
    assert torch.equal(found["blk.0.attn_v.weight"], attention.v_proj.weight)
    path, model, *_ = read["gemma"]
    found = {tensor.name: torch.tensor(tensor.data) for tensor in GGUFReader(path).tensors}
    assert torch.equal(found["output_norm.weight"], model.model.norm.weight + 1)
    assert "output.weight" not in found


def test_llama3_divides_low_frequencies(read: Any) -> None:
    """The published rule: wavelengths above 32/1 by 8, below 32/4 not, smoothly in between."""
    found = {one.name: one.data for one in GGUFReader(read["llama, llama3"][0]).tensors}
    wanted = []
    for place in range(0, 16, 2):
        wavelength = 2 * torch.pi * 1e4 ** (place / 16)
        smooth = min(max((32 / wavelength - 1) / 3, 0.0), 1.0)
        wanted.append(1 / ((1 - smooth) / 8 + smooth))
    assert found["rope_freqs.weight"].tolist() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (Qwen3Config(**SIZES, rope_parameters=LLAMA3), "rope_type llama3"),
        (LlamaConfig(**SIZES, rope_parameters={**LINEAR, "rope_type": "dynamic"}), "dynamic"),
        (Qwen2Config(**SIZES, rope_parameters={**YARN, "attention_factor": 2.0}), "attention_fac"),
        # llama.cpp has a key for it, which it reads for other architectures only.
        (Qwen2Config(**SIZES, rope_parameters={**YARN, "beta_slow": 2}), "beta_slow 2 of yarn"),
        (LlamaConfig(**SIZES, hidden_act="relu"), "activation relu, expected silu"),
        (Gemma2Config(**GEMMA, query_pre_attn_scalar=8), "query_pre_attn_scalar 8, expected 32"),
        (Gemma2Config(**GEMMA, final_logit_softcapping=None), "final_logit_softcapping None"),
        (Gemma3TextConfig(**GEMMA, layer_types=["full_attention"] * 3), "every layer 6 of 6"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_llama_cpp_computes_otherwise_is_refused(config: Any, named: str) -> None:
    with pytest.raises(ExportError, match=named) as caught:
        architecture_of(config)
    assert "--to merged" in str(caught.value)


def test_an_unknown_architecture_is_refused_by_name() -> None:
    class Phi:
        model_type = "phi"

    with pytest.raises(ExportError, match=r"'phi'.*llama, mistral, qwen2, qwen3, gemma"):
        architecture_of(Phi())


def test_modules_that_llama_cpp_lacks_are_refused(tmp_path: Path) -> None:
    model = made(Qwen3Config(**SIZES, attention_bias=True))
    with pytest.raises(ExportError, match=r"qwen3 has no bias in 'model.layers.0.self_attn.q_proj"):
        written(model, tmp_path / "a.gguf")
    model = made(CONFIGS["gemma"])
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight * 2)
    with pytest.raises(ExportError, match="gemma has no head of its own"):
        written(model, tmp_path / "a.gguf")


def test_a_window_that_llama_cpp_lacks_is_said() -> None:
    config = MistralConfig(**SIZES, sliding_window=128)
    (note,) = window_notes(config, architecture_of(config))
    assert "beyond 128 tokens" in note
    config = MistralConfig(**SIZES, sliding_window=None)
    assert not window_notes(config, architecture_of(config))
    assert "attention.sliding_window" not in keys(config, architecture_of(config))
