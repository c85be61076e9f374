"""A base's weights read again from its files: the bits that were saved, under every name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lora_magic import demo
from lora_magic.base.load import load
from lora_magic.base.quantise import dequantised, quantised_bits
from lora_magic.base.weight_files import WeightFiles
from lora_magic.errors import BaseModelError
from tests.conftest import Saver
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.mark.parametrize("bits", [None, 4, 8])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2", "gpt_neox", "phi"])
def test_every_weight_is_the_one_that_was_saved(
    architecture: str, bits: int | None, saved_model: Saver
) -> None:
    saved = tiny_model(architecture)
    base = load(str(saved_model(architecture)), bits=bits)
    modules = dict(base.model.named_modules())
    seen = 0
    for path, module in saved.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, nn.Parameter):
            continue
        seen += 1
        # A quantised Conv1D is a linear layer, whose weight stands the other way round.
        flipped = type(module).__name__ == "Conv1D" and quantised_bits(modules[path]) is not None
        expected = weight.data.mT if flipped else weight.data
        assert torch.equal(base.stored_weight(path), expected), path
    assert seen > 10


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_layer_s_source_has_its_shape_and_is_near_it(
    bits: int, saved_model: Saver
) -> None:
    for architecture in ("gpt2", "llama"):
        base = load(str(saved_model(architecture)), bits=bits)
        for path, module in base.model.named_modules():
            if quantised_bits(module) is not None:
                whole, near = base.stored_weight(path).float(), dequantised(module)
                assert whole.shape == near.shape
                assert float((whole - near).norm() / whole.norm()) < (0.12 if bits == 4 else 0.02)


def test_the_embedded_model_s_are_in_bf16_as_it_ships() -> None:
    base = load("demo", bits=4)
    path = "model.layers.2.mlp.down_proj"
    stored = load_file(demo.folder() / "model.safetensors")[f"{path}.weight"]
    assert torch.equal(base.stored_weight(path), stored)
    assert base.stored_weight(path).dtype is torch.bfloat16


def test_a_tied_weight_is_found_under_the_name_that_the_files_have(saved_model: Saver) -> None:
    folder = saved_model("qwen2")
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    base = load(str(folder))
    assert torch.equal(base.stored_weight("lm_head"), base.stored_weight("model.embed_tokens"))


def test_shards_are_followed_by_their_index(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path, max_shard_size="30KB")  # type: ignore[operator]
    tiny_tokenizer().save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    base = load(str(tmp_path), bits=4)
    for path in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "model.norm"):
        assert torch.equal(base.stored_weight(path), model.get_submodule(path).weight)


def test_a_checkpoint_of_the_body_alone_has_names_without_its_prefix(tmp_path: Path) -> None:
    """GPT-2 on the hub is saved so: h.0…, not transformer.h.0…"""
    model = tiny_model("gpt2")
    model.transformer.save_pretrained(tmp_path)  # type: ignore[operator,union-attr]
    config = {**json.loads((tmp_path / "config.json").read_text())}
    (tmp_path / "config.json").write_text(
        json.dumps({**config, "architectures": ["GPT2LMHeadModel"]})
    )
    tiny_tokenizer().save_pretrained(tmp_path)
    assert "h.0.attn.c_attn.weight" in load_file(tmp_path / "model.safetensors")
    base = load(str(tmp_path), bits=4)
    found = base.stored_weight("transformer.h.0.attn.c_attn")
    assert torch.equal(found, model.get_submodule("transformer.h.0.attn.c_attn").weight.mT)


def test_names_that_transformers_changes_when_it_reads_are_followed(tmp_path: Path) -> None:
    """Old BERT-like files call a norm's weight gamma; transformers reads it as weight."""
    from transformers import AutoModelForSequenceClassification, BertConfig

    bert = BertConfig(
        vocab_size=384, hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=64, num_labels=2,
    )  # fmt: skip
    model = AutoModelForSequenceClassification.from_config(bert)
    norm = model.bert.encoder.layer[0].output.LayerNorm
    norm.weight.data.normal_()
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma"): value
        for key, value in load_file(file).items()
    }
    save_file(tensors, file, metadata={"format": "pt"})
    base = load(str(tmp_path), task="classification")
    path = "bert.encoder.layer.0.output.LayerNorm"
    assert torch.equal(base.model.get_submodule(path).weight, norm.weight)
    assert torch.equal(base.stored_weight(path), norm.weight)
    query = "bert.encoder.layer.0.attention.self.query"
    assert torch.equal(base.stored_weight(query), model.get_submodule(query).weight)


def test_the_hub_s_cache_is_read_at_the_snapshot_that_was_loaded(
    tmp_path: Path, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache as the hub's library lays it out; a later download points `main` elsewhere."""
    main = tmp_path / "models--some--model" / "refs" / "main"
    snapshots = tmp_path / "models--some--model" / "snapshots"
    shutil.copytree(saved_model(), snapshots / "abc")
    shutil.copytree(saved_model(tie_word_embeddings=True), snapshots / "def")
    main.parent.mkdir()
    main.write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    source = WeightFiles.of("some/model")
    main.write_text("def")
    (snapshots / "def" / "model.safetensors").unlink()
    found = source.read(tiny_model(), ("model.norm.weight",))
    assert torch.equal(found, tiny_model().get_submodule("model.norm").weight)
    assert Path(source.folder) == snapshots / "abc"


def test_what_is_gone_or_was_never_there_is_said_with_the_way_out(
    tmp_path: Path, saved_model: Saver
) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(saved_model(), folder)
    base = load(str(folder), bits=4)
    with pytest.raises(BaseModelError, match=r"has no module 'model\.nothing'"):
        base.stored_weight("model.nothing")
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(BaseModelError, match=r"cannot be read again .*--replace"):
        base.stored_weight("model.norm")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BaseModelError, match=r"has no tensor model\.norm\.weight.*--replace"):
        base.stored_weight("model.norm")
