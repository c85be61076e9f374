from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lora_magic.base.load import load
from lora_magic.errors import BaseModelError
from tests.classifiers import tiny_of
from tests.conftest import Saver
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer


@pytest.fixture
def folder(tmp_path: Path, saved_model: Saver) -> Path:
    """A copy of a saved model, to be damaged."""
    copied = tmp_path / "model"
    shutil.copytree(saved_model(), copied)
    return copied


class Payload:
    """A pickle that creates a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(BaseModelError) as seen:
        load(str(folder), **options)
    assert "\n" not in str(seen.value)
    return str(seen.value)


def change(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


@pytest.mark.parametrize("weights", ["safetensors", "pickle"])
def test_an_adapter_beside_a_model_is_not_loaded_and_is_named(
    folder: Path, tmp_path: Path, weights: str
) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(tiny_model(), config).save_pretrained(folder)
    if weights == "pickle":
        (folder / "adapter_model.safetensors").unlink()
        trap = pickle.dumps(Payload(tmp_path / "was read"))
        (folder / "adapter_model.bin").write_bytes(trap)
    base = load(str(folder))
    stored, found = load_file(folder / "model.safetensors"), base.model.state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in stored.items())
    assert len(list(base.model.parameters())) == len(list(tiny_model().parameters()))
    assert "an adapter" in base.reason
    assert ("%lora open" in base.reason) is (weights == "safetensors")
    assert not (tmp_path / "was read").exists()


@pytest.mark.parametrize(
    "shard",
    ["../model.safetensors", "/etc/hostname", "pytorch_model.bin", "a/b.safetensors", 5, None],
)
def test_an_index_names_safetensors_files_in_the_folder_only(
    folder: Path, tmp_path: Path, shard: Any
) -> None:
    keys = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    (folder / "other.safetensors").touch()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "was read")))
    index = {"metadata": {}, "weight_map": dict.fromkeys(keys, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "inside the folder only" in refused(folder)
    assert not (tmp_path / "was read").exists()


def test_an_index_that_names_a_missing_file_says_which(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names model-1.safetensors, which is not in the folder" in refused(folder)


def test_a_link_to_the_weights_is_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(tmp_path / "elsewhere")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    base = load(str(folder))
    stored = load_file(tmp_path / "elsewhere")
    assert torch.equal(base.model.state_dict()["lm_head.weight"], stored["lm_head.weight"])


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "x.txt"])
def test_a_pipe_and_a_device_are_refused_before_they_are_opened(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert f"{name} is not read: it is a named pipe, expected a file" in refused(folder)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert f"{name} is not read: it is a device, expected a file" in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["[]", "null", '"x"', "{", "[" * 20_000, "9" * 5_000])
def test_what_is_not_a_json_object_is_named(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    assert f": {name} " in refused(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"auto_map": "evil.Evil"},
        {"num_attention_heads": 0},
        {"hidden_size": "x"},
        {"hidden_size": -32},
        {"vocab_size": 0},
        {"dtype": "__class__"},
        {"model_type": 5},
        {"rope_parameters": "x"},
        {"quantization_config": [1]},
        {"transformers_weights": "../model.safetensors"},
    ],
)
def test_a_config_of_wrong_types_is_one_line_that_names_it(
    folder: Path, fields: dict[str, Any]
) -> None:
    change(folder, **fields)
    assert "onfig.json" in refused(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"attn_implementation": "somebody/kernel"},
        {"_attn_implementation": {"": "somebody/kernel"}},
        {"text_config": {"experts_implementation": "somebody/kernel"}},
    ],
)
def test_a_config_that_takes_code_from_the_hub_needs_permission(
    folder: Path, fields: dict[str, Any]
) -> None:
    change(folder, **fields)
    assert "(somebody/kernel); if you trust it" in refused(folder)


def test_a_generation_config_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"watermarking_config": {"x": 1}}')
    assert "generation_config.json cannot be read" in refused(folder)


def test_a_config_that_claims_quantised_weights_is_named(folder: Path) -> None:
    change(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert "its weights are not quantised" in refused(folder)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"hidden_size": 10**7}, "config.json describes"),
        ({"vocab_size": 10**9}, "config.json describes"),
        ({"intermediate_size": 10**10}, "config.json describes"),
        ({"num_hidden_layers": 9_000}, "far more layers than the 21 tensors"),
        ({"num_hidden_layers": 10**9}, "expected at most 10,000"),
        ({"num_labels": 10**9}, "expected at most 10,000"),
    ],
)
def test_sizes_that_the_files_do_not_hold_are_refused_before_anything_is_built(
    folder: Path, fields: dict[str, Any], told: str
) -> None:
    change(folder, **fields)
    assert told in refused(folder)


def test_a_tokenizer_config_leads_to_no_file_elsewhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("{}")
    path = folder / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "vocab_file": "../secret.txt"}))
    assert "vocab_file '../secret.txt', expected a file in the folder" in refused(folder)


def test_running_out_of_memory_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fails)
    assert "does not fit in memory" in refused(folder)


# What helps


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
            r"stored in gptq .*%pip install optimum gptqmodel",
        ),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "%pip install gptqmodel"),
        (
            {"quantization_config": {"quant_method": "compressed-tensors", "format": "x"}},
            r'%pip install "compressed-tensors',
        ),
        ({"model_type": "brandnew5"}, "%pip install -U transformers"),
        ({"model_type": None}, "no model_type"),
        ({"_class_name": "UNet", "_diffusers_version": "1"}, "part of a diffusion pipeline"),
    ],
)
def test_the_advice_names_what_mends_it(folder: Path, fields: dict[str, Any], told: str) -> None:
    change(folder, **fields)
    message = refused(folder)
    assert re.search(told, message), message


def test_a_format_of_another_library_is_not_offered_without_bits(folder: Path) -> None:
    change(folder, quantization_config={"quant_method": "awq", "bits": 4})
    message = refused(folder, bits=4)
    assert "load the original model" in message
    assert "omit --bits" not in message


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def test_an_encoder_decoder_is_named(tmp_path: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=384, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    assert "encoder-decoder" in refused(save(T5ForConditionalGeneration(config), tmp_path / "t5"))


def test_a_model_that_reads_images_leads_to_use(tmp_path: Path) -> None:
    from transformers import (
        AutoModelForImageTextToText,
        AutoTokenizer,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    from lora_magic.base.load import use

    vision = {
        "model_type": "clip_vision_model",
        **{"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "image_size": 8, "patch_size": 4},
    }
    config = LlavaConfig(vision_config=vision, text_config=tiny_config().to_dict())
    name = str(save(LlavaForConditionalGeneration(config), tmp_path / "llava"))
    message = refused(Path(name))
    assert "%lora use model tokenizer" in message
    model = AutoModelForImageTextToText.from_pretrained(name)
    assert use(model, AutoTokenizer.from_pretrained(name)).parameters == model.num_parameters()


@pytest.mark.parametrize("kind", ["body", "masked"])
def test_an_encoder_leads_to_classification_which_then_loads(tmp_path: Path, kind: str) -> None:
    folder = save(tiny_of(kind, "bert"), tmp_path / "bert")
    message = refused(folder)
    assert f"%lora load {folder} --task classification --labels negative,positive" in message
    assert load(str(folder), task="classification", labels="negative,positive").task.classifies


def test_gguf_alone_and_a_missing_tokenizer_are_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.gguf")
    assert "GGUF is a format for inference" in refused(folder)
    (folder / "model.gguf").rename(folder / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert "has no tokenizer" in refused(folder)
