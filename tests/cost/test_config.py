"""Where a plan's model comes from: names, sizes, folders, hub ids, configs and models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from lora_magic import demo
from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.shapes import Shapes
from lora_magic.cost import ops
from lora_magic.cost.config import model_of
from lora_magic.cost.known import KNOWN
from lora_magic.cost.model import Model
from lora_magic.errors import BaseModelError, CommandError
from tests.tiny import tiny_config, tiny_model

#: The parameters of well-known models, as their model cards or papers have them.
PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "opt-125m": 125_239_296,
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "tinyllama-1.1b": 1_100_048_384,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "mistral-7b": 7_241_732_096,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-8b": 8_190_735_360,
    "gemma-2b": 2_506_172_416,
    "gemma-7b": 8_537_680_896,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2-9b": 9_241_705_984,
    "gemma-2-27b": 27_227_128_320,
    "gemma-3-1b": 999_885_952,
    "phi-2": 2_779_683_840,
    "phi-3-mini": 3_821_079_552,
    "pythia-70m": 70_426_624,
    "pythia-410m": 405_334_016,
    "pythia-1.4b": 1_414_647_808,
    "pythia-6.9b": 6_857_302_016,
    "mixtral-8x7b": 46_702_792_704,
}

TINY = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "vocab_size": 100,
}


def owning(shapes: Shapes) -> dict[str, object]:
    """The modules with parameters."""
    return {path: (m.kind, m.parameters) for path, m in shapes.modules.items() if m.parameters}


# Names


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_known_model_has_as_many_parameters_as_were_published(name: str) -> None:
    assert model_of(name).parameters == PUBLISHED[name]


def test_gpt3_has_its_papers_sizes_and_matrices_of_its_own_for_queries_and_values() -> None:
    layers, width, words, context = 96, 12288, 50257, 2048
    # 4 matrices and 8 of the feed-forward, their biases and two norms, tables and a last norm.
    block = 12 * width**2 + (4 + 4 + 1) * width + 2 * 2 * width
    model = model_of("gpt3-175b")
    assert model.parameters == layers * block + (words + context) * width + 2 * width
    assert round(model.parameters / 1e6) == 174_604
    assert (model.context, model.stored) == (context, "fp16")
    queries = [p for p in model.shapes.modules if p.endswith(("q_proj", "v_proj"))]
    assert len(queries) == 2 * layers


def test_the_embedded_model_has_the_weights_of_its_file() -> None:
    with safe_open(demo.WEIGHTS / "model.safetensors", framework="pt") as file:
        sizes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
    model = model_of("demo")
    assert model.parameters == sum(int(torch.Size(shape).numel()) for shape in sizes)
    assert (model.stored, model.context) == ("bf16", 512)


def test_every_known_name_is_lower_case_and_has_sizes_that_are_read() -> None:
    assert [name for name in KNOWN if name != name.lower()] == []
    for name in ("GPT2", "Llama-3-8B"):
        assert model_of(name).parameters == PUBLISHED[name.lower()]


# Sizes


def test_sizes_are_those_of_a_llama() -> None:
    sizes = "layers=32,width=4096,heads=32,kv_heads=8,inner=14336,vocabulary=128256,context=8192"
    model = model_of(sizes)
    assert model.parameters == PUBLISHED["llama-3-8b"]
    assert model.context == 8192
    tied = model_of(f"{sizes}, tied")
    assert model.parameters - tied.parameters == 128256 * 4096


def test_two_sizes_are_enough() -> None:
    assert model_of("layers=32,width=4096").parameters == PUBLISHED["llama-7b"]
    cache = model_of("layers=2,width=500").shapes.cache
    assert cache is not None
    assert (cache.heads, cache.size) == (2, 250)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("layers=32", "lacks width"),
        ("width=64,tied", "lacks layers"),
        ("layers=2,widht=64", r"'widht=64'.*expected.*layers, width.*Did you mean 'width'"),
        ("layers=2,width=1e99", r"'width=1e99'.*from 1 to 1,000,000,000 for width"),
        (f"layers=2,width={10**10}", r"from 1 to 1,000,000,000 for width"),
        (f"layers=2,width=64,kv_heads={10**5}", r"from 1 to 10,000 for kv_heads"),
        ("layers=0,width=64", r"'layers=0'.*from 1"),
        ("layers=-1,width=64", r"'layers=-1'.*from 1"),
        ("layers=two,width=64", "'layers=two'"),
        ("layers=1e3,width=64", "'layers=1e3'"),
        ("layers=2,width=100,heads=3", r"100 is not a multiple of 3 heads.*99"),
        ("layers=2,width=64,heads=4,kv_heads=3", "4 heads of queries cannot share 3"),
        (f"layers={'9' * 12},width=64", "expected a whole number from 1 to 10,000"),
        (f"layers={'9' * 5000},width=64", "expected a whole number from 1"),
    ],
)
def test_sizes_that_make_no_model_are_one_line(given: str, told: str) -> None:
    with pytest.raises(BaseModelError, match=told) as seen:
        model_of(given)
    assert "\n" not in str(seen.value)
    assert "%lora plan" in str(seen.value) or "Correct" in str(seen.value)


def test_sizes_may_be_written_with_spaces_and_a_comma_at_the_end() -> None:
    one, other = model_of("layers=2,width=64"), model_of("layers=2, width=64,")
    assert one.parameters == other.parameters == model_of("layers=2 width=64").parameters


# Files, configs and models


def test_a_folder_a_file_a_config_and_a_model_have_the_same_shapes(
    tmp_path: Path,
) -> None:
    model = tiny_model("qwen2")
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(model.config)
    true = shapes_of(model)
    for given in (
        str(tmp_path),
        tmp_path,
        tmp_path / "config.json",
        written,
        model.config,
        model,
        empty,
    ):
        found = model_of(given)
        assert owning(found.shapes) == owning(true)
        assert found.shapes.total == sum(p.numel() for p in model.parameters())
        assert found.ops == model_of(written).ops
        assert (found.vocabulary, found.note) == (model.config.vocab_size, "")
    assert model_of(model_of(written)).shapes.total == true.total


def test_a_checkpoints_number_format_is_read_under_both_of_its_names() -> None:
    assert model_of({**TINY, "dtype": "bfloat16"}).stored == "bf16"
    assert model_of({**TINY, "torch_dtype": "float16"}).stored == "fp16"
    assert model_of(TINY).stored is None
    assert model_of(tiny_model("llama").to(torch.float16)).stored == "fp16"


@pytest.mark.parametrize("labels", ["a,b,c", 3, ["x", "y", "z"]])
def test_labels_make_a_classifier(labels: object) -> None:
    model = model_of(TINY, task="classification", labels=labels)
    assert model.shapes.modules["score"].parameters == (("weight", (3, 64)),)
    assert model.head == ("score",)
    assert model.shapes.output is None


def test_a_config_names_its_own_labels_and_a_live_classifier_is_what_it_is() -> None:
    named = {**TINY, "id2label": {"0": "a", "1": "b", "2": "c", "3": "d"}}
    model = model_of(named, task="classification")
    assert model.shapes.modules["score"].sides == (4, 64)
    config = tiny_config("llama", num_labels=5)
    live = model_of(AutoModelForSequenceClassification.from_config(config))
    assert live.head == ("score",)
    assert live.shapes.modules["score"].sides == (5, 32)
    assert {op.kind for op in live.ops} >= {ops.ATTENTION, ops.NORM}
    with pytest.raises(CommandError, match="only 'a'"):
        model_of(TINY, task="classification", labels="a")


def test_of_a_model_of_texts_and_images_the_text_model_is_planned() -> None:
    inner = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16}
    outer = {
        "model_type": "gemma3",
        "text_config": {**inner, "vocab_size": 100},
        "vision_config": {"hidden_size": 8},
        "dtype": "bfloat16",
    }
    found = model_of(outer)
    alone = AutoConfig.for_model("gemma3_text", **inner, vocab_size=100)
    assert found.parameters == model_of(alone).parameters
    assert (found.stored, found.note) == ("bf16", "the text model alone, without vision")


# What is stored quantised


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "falcon"])
def test_layers_count_as_4_bit_where_bitsandbytes_quantises_them(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    sizes = {**TINY, "n_embd": 64, "n_layer": 2, "n_head": 4, "ffn_dim": 96, "eos_token_id": 2}
    values = {key: value for key, value in sizes.items() if key != "model_type"}
    config = AutoConfig.for_model(kind, **values, bos_token_id=1, pad_token_id=0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=BitsAndBytesConfig(load_in_4bit=True)
    )
    true = {path: m.bits for path, m in shapes_of(model).modules.items()}
    found = model_of(model.config)
    assert {path: m.bits for path, m in found.shapes.modules.items()}.items() <= true.items()
    assert found.parameters == sum(m.size for m in shapes_of(model).modules.values()) - (
        found.shapes.modules["lm_head"].size if found.shapes.ties else 0
    )


def test_another_quantised_format_is_counted_and_said() -> None:
    found = model_of({**TINY, "quantization_config": {"quant_method": "gptq", "bits": 4}})
    assert found.parameters == model_of(TINY).parameters
    assert "gptq" in found.note


# An architecture that the table does not have


def test_an_unknown_architecture_is_built_on_the_meta_device_and_the_plan_says_so() -> None:
    values = {**TINY, "model_type": "olmo", "num_key_value_heads": 2}
    found = model_of(values)
    with torch.device("meta"):
        true = AutoModelForCausalLM.from_config(AutoConfig.for_model(**values))
    assert owning(found.shapes) == owning(shapes_of(true))
    assert found.parameters == sum(p.numel() for p in true.parameters())
    assert "OlmoForCausalLM" in found.note
    assert "'olmo' is not in the table" in found.note
    other = {**TINY, "model_type": "helium", "head_dim": 16, "num_key_value_heads": 2}
    with_head = model_of(other, task="classification", labels=3)
    assert with_head.head == ("score",)
    assert with_head.shapes.modules["score"].sides == (3, 64)


def test_an_unknown_architecture_may_have_sizes_by_layer() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}
    values = {**sizes, "intermediate_size": [48, 64], "head_dim": 16, "num_key_value_heads": 1}
    kind = {"model_type": "gemma3n_text", "vocab_size_per_layer_input": 50}
    found = model_of({**values, **kind, "num_kv_shared_layers": 0})
    assert found.shapes.modules["model.layers.1.mlp.up_proj"].sides == (64, 32)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2"])
def test_guessed_steps_are_those_of_the_table_but_for_what_has_no_module(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lora_magic.cost import meta

    values = {**TINY, "model_type": kind, "n_embd": 64, "n_layer": 2, "n_head": 4, "head_dim": 16}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**values))
    told = model_of(model)
    monkeypatch.setattr(meta, "function_of", lambda _: None)
    guessed = model_of(model)
    assert guessed.note

    def of(found: Model, kind: str) -> list[object]:
        steps = [op for op in found.ops if op.kind == kind]
        return sorted((op.block, op.path, op.gives, op.kv_heads) for op in steps)

    for step in (ops.EMBED, ops.LINEAR, ops.ATTENTION, ops.ACTIVATION, ops.PRODUCT):
        assert of(guessed, step) == of(told, step), step


def test_active_parameters_of_unknown_experts_are_those_that_a_token_passes() -> None:
    values = {**TINY, "model_type": "phimoe", "num_local_experts": 8, "num_experts_per_tok": 2}
    found = model_of(values)
    experts = [m.size for path, m in found.shapes.modules.items() if path in found.shapes.experts]
    assert sum(experts) == 2 * 8 * 3 * 64 * 96
    assert found.parameters - found.active == 6 / 8 * sum(experts)


# Refused


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"hidden_size": 0}, r"hidden_size is '0', expected a whole number from 1"),
        ({"hidden_size": -64}, "hidden_size is '-64'"),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"hidden_size": True}, "hidden_size is 'True'"),
        ({"hidden_size": None}, "null for hidden_size"),
        ({"hidden_size": [64]}, "hidden_size is"),
        ({"hidden_size": float("nan")}, "hidden_size is 'nan'"),
        ({"num_hidden_layers": 10**12}, r"num_hidden_layers is '1000000000000'.*10,000"),
        ({"num_attention_heads": 3}, "64 is not a multiple of 3 heads"),
        ({"num_attention_heads": 10**9}, "num_attention_heads is"),
        ({"num_key_value_heads": 3}, "4 heads of queries cannot share 3"),
        ({"vocab_size": 1e3}, "vocab_size is"),
        ({"vocab_size": None}, "null for vocab_size"),
        ({"intermediate_size": {}}, "intermediate_size is"),
        ({"rope_parameters": "fast"}, "cannot be used"),
        ({"hidden_act": 3}, "cannot be used"),
        ({"attention_dropout": "0.1"}, "cannot be used"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no', expected true or false"),
        ({"layer_types": ["full_attention"]}, "layer_types is not a list of 2"),
        ({"model_type": ["llama"]}, "has no model_type"),
        ({"model_type": None}, "has no model_type"),
        ({"model_type": "nosuch"}, "'nosuch' model, which transformers"),
    ],
)
def test_a_config_with_nonsense_is_one_line_that_names_it(
    changed: dict[str, Any], told: str
) -> None:
    with pytest.raises(BaseModelError, match=told) as seen:
        model_of({**TINY, **changed})
    assert "\n" not in str(seen.value)


def test_a_config_without_sizes_is_refused_with_sizes_to_type() -> None:
    for config in ({"model_type": "llama"}, {"model_type": "gpt2", "vocab_size": 10}):
        with pytest.raises(BaseModelError, match=r"no sizes.*%lora plan layers=32,width=4096"):
            model_of(config)


def test_a_model_with_code_of_its_own_runs_only_when_asked(tmp_path: Path) -> None:
    code = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    config = {**TINY, "model_type": "own", "auto_map": code, "architectures": ["Own"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(
        "from pathlib import Path\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        f"Path({str(tmp_path / 'ran')!r}).touch()\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class Own(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    with pytest.raises(BaseModelError, match=r"its own code \(own.OwnConfig, own.Own\).*--trust"):
        model_of(str(tmp_path))
    with pytest.raises(BaseModelError, match="which a config alone does not contain"):
        model_of(config, trust_remote_code=True)
    assert not (tmp_path / "ran").exists()
    found = model_of(str(tmp_path), trust_remote_code=True)
    assert (tmp_path / "ran").exists()
    assert found.parameters == model_of(TINY).parameters
    assert "its own code" in found.note


@pytest.mark.parametrize("given", [5, None, dict, nn.Linear, object(), [1]])
def test_what_is_no_model_is_told_what_to_give(given: object) -> None:
    with pytest.raises(BaseModelError, match="expected a model"):
        model_of(given)


def test_a_module_without_a_config_is_refused() -> None:
    with pytest.raises(BaseModelError, match="Linear has no config"):
        model_of(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("lama-3-8b", "Did you mean 'llama-3-8b'"),
        ("gpt3-175", "Did you mean 'gpt3-175b'"),
        ("deno", "Did you mean 'demo'"),
        ("no/such/folder", "expected a name such as"),
        ("a b", "expected a name such as"),
        ("x" * 5000, "expected"),
        ("a\0b", "expected"),
        (" ", "an empty name"),
    ],
)
def test_an_unknown_name_is_refused_without_asking_the_hub(
    given: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("lora_magic.base.hub.config_file", asked)
    with pytest.raises((BaseModelError, CommandError), match=told):
        model_of(given)


# The hub


def test_a_hub_id_is_read_from_the_cache_before_the_hub_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(path))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
    assert model_of("org/model").parameters == model_of(TINY).parameters


def _refused(kind: str) -> Exception:
    import httpx
    from huggingface_hub import errors

    made: Any = getattr(errors, kind)
    if kind == "LocalEntryNotFoundError":
        return made("no connection")  # type: ignore[no-any-return]
    request = httpx.Request("GET", "https://hub.invalid/org/model")
    found: Exception = made("refused", response=httpx.Response(403, request=request))
    return found


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("GatedRepoError", r"is gated: accept its terms.*Without it, type: %lora plan llama-3-8b"),
        ("RepositoryNotFoundError", "no model 'meta/Llama-3-8B' on the hub"),
        ("RemoteEntryNotFoundError", "has no config.json.*%lora plan llama-3-8b"),
        ("LocalEntryNotFoundError", "cannot be reached.*%lora plan llama-3-8b"),
    ],
)
def test_what_the_hub_refuses_is_one_line_with_the_sizes_that_are_known(
    kind: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise _refused(kind)

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fails)
    with pytest.raises(BaseModelError, match=told) as seen:
        model_of("meta/Llama-3-8B")
    assert "\n" not in str(seen.value)


def test_a_hub_that_cannot_be_reached_is_asked_once_and_nothing_is_downloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import httpx

    asked = []

    def unreachable(_: object, name: str, **__: object) -> None:
        asked.append(name)
        raise httpx.ConnectError("no network")

    def downloaded(*_: object, **__: object) -> None:
        raise AssertionError("a download tries again and again")

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", downloaded)
    with pytest.raises(BaseModelError, match=r"cannot be reached \(ConnectError\)"):
        model_of("owner/model")
    assert asked == ["owner/model"]


def test_a_folder_of_gguf_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    with pytest.raises(BaseModelError, match=r"has small\.gguf and no safetensors"):
        model_of(str(tmp_path))


def test_a_plans_model_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    names = ("llama-3-70b", "gpt3-175b", "demo", "layers=2,width=64", str(tmp_path))
    code = (
        "import sys\n"
        "from lora_magic.cost.config import model_of\n"
        f"for name in {names!r}:\n"
        "    model_of(name, task='classification', labels=3)\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'peft', 'huggingface_hub'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
