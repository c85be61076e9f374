"""`ratio --model`: counts of an adapter on a model that is not loaded, against PEFT's own."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from peft import AdaLoraConfig, IA3Config, LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.load import load
from lora_magic.cost.count import planned, trainable
from lora_magic.cost.model import Model
from lora_magic.errors import AdapterError, BaseModelError
from lora_magic.state.session import Session
from tests.conftest import Saver
from tests.tiny import ARCHITECTURES, tiny_config, tiny_model, tiny_tokenizer


def on_meta(architecture: str = "llama") -> Any:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(tiny_config(architecture))


#: The flags of `ratio`, and PEFT's config of the same adapter.
LIKE_PEFT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lora": ({"rank": 3, "targets": "all-linear"}, {"r": 3, "target_modules": "all-linear"}),
    "dora": (
        {"method": "dora", "rank": 2, "targets": "all-linear"},
        {"r": 2, "target_modules": "all-linear", "use_dora": True},
    ),
}


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("variant", LIKE_PEFT)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_on_the_meta_device_is_counted_as_peft_counts_it(
    architecture: str, variant: str
) -> None:
    flags, config = LIKE_PEFT[variant]
    found = Session().ratio(model=on_meta(architecture), **flags)
    with torch.device("meta"):
        wrapped = get_peft_model(on_meta(architecture), LoraConfig(**config))
    trainable_there, every = wrapped.get_nb_trainable_parameters()
    assert found.trainable_parameters == trainable_there
    assert found.base_parameters == every - trainable_there


#: Specs, PEFT's config of each, and what PEFT itself trains beside the layers of its method.
BOTH = [
    ("llama", {"targets": "q_proj,down_proj", "dora": True}, LoraConfig(r=4, use_dora=True)),
    (
        "llama",
        {
            "targets": "q_proj,v_proj",
            "rank_pattern": (("q_proj", 2), ("layers.1.self_attn.v_proj", 7)),
        },
        LoraConfig(r=4, rank_pattern={"q_proj": 2, "layers.1.self_attn.v_proj": 7}),
    ),
    (
        "llama",
        {"targets": "q_proj,o_proj", "method": "adalora"},
        AdaLoraConfig(init_r=6, total_step=9),
    ),
    ("llama", {"targets": "embed_tokens,q_proj"}, LoraConfig(r=4)),
    ("gpt2", {"targets": "c_attn,c_proj"}, LoraConfig(r=4)),
    ("gpt2", {"targets": "wte,wpe,c_fc"}, LoraConfig(r=4)),
    ("gpt2", {"targets": "c_attn", "bias": "all"}, LoraConfig(r=4, bias="all")),
    ("gpt2", {"targets": "c_attn", "bias": "lora_only"}, LoraConfig(r=4, bias="lora_only")),
    (
        "gpt2",
        {"targets": "c_attn", "norms": True},
        LoraConfig(r=4, modules_to_save=["ln_1", "ln_2", "ln_f"]),
    ),
    (
        "gpt2",
        {"targets": "c_attn,mlp.c_proj", "method": "ia3"},
        IA3Config(feedforward_modules=["mlp.c_proj"]),
    ),
]


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize(("architecture", "fields", "config"), BOTH)
def test_a_formula_is_what_peft_then_trains(
    architecture: str, fields: dict[str, Any], config: Any
) -> None:
    config = copy.deepcopy(config)
    config.target_modules = fields["targets"].split(",")
    rank = {} if fields.get("method") == "ia3" else {"rank": 4, "alpha": 4}
    spec = AdapterSpec(**fields, **rank)
    with torch.device("meta"):
        wrapped = get_peft_model(on_meta(architecture), config)
    counts = planned(shapes_of(on_meta(architecture)), spec)
    assert sum(count.formula for count in counts) == wrapped.get_nb_trainable_parameters()[0]


def test_a_config_a_live_model_and_one_on_the_meta_device_agree() -> None:
    session = Session()
    flags: dict[str, Any] = {"rank": 3, "targets": "attention"}
    of_config = session.ratio(model=tiny_config("llama"), **flags)
    for model in (tiny_config("llama").to_dict(), tiny_model("llama"), on_meta()):
        other = session.ratio(model=model, **flags)
        assert other.modules == of_config.modules
        assert other.base_parameters == of_config.base_parameters
        assert other.left_out == of_config.left_out
    assert "on" in of_config.line
    assert "_state" not in session.__dict__, "nothing was loaded"


def test_the_loaded_base_is_itself_even_with_an_adapter_in_it() -> None:
    session = Session()
    session.use(tiny_model(), tiny_tokenizer())
    session.attach("one", rank=2, targets="q_proj")
    told = session.ratio(model=session.model, rank=3, targets="all-linear")
    assert told.modules == session.ratio(rank=3, targets="all-linear").modules
    assert told.base_parameters == sum(p.numel() for p in tiny_model().parameters())
    session.reset()


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base_has_the_counts_of_the_plain_one(bits: int, saved_model: Saver) -> None:
    quantised = shapes_of(load(str(saved_model("gpt2")), bits=bits).model)
    plain = shapes_of(tiny_model("gpt2"))
    spec = AdapterSpec(rank=3, alpha=3, targets="all-linear", bias="all", norms=True)
    counts = [
        {count.module: count.formula for count in planned(shapes, spec)}
        for shapes in (quantised, plain)
    ]
    assert counts[0] == counts[1]
    with pytest.raises(AdapterError, match=r"is quantised .*--method lora"):
        planned(quantised, AdapterSpec(method="full"))
    if bits == 8:
        with pytest.raises(AdapterError, match="in 8 bits"):
            planned(quantised, AdapterSpec(rank=2, alpha=2, targets="c_attn", dora=True))


def test_a_classifiers_head_is_trained_in_full_with_each_adapter() -> None:
    shapes = shapes_of(on_meta("gpt2"))
    spec = AdapterSpec(rank=2, alpha=2, targets="c_attn")
    head = "transformer.h.1.mlp.c_fc"
    assert trainable(Model("x", shapes, head=(head,)), spec) == (
        trainable(Model("x", shapes), spec) + shapes.modules[head].size
    )


def test_a_prefix_needs_keys_and_values_of_one_size_in_each_layer() -> None:
    shapes = shapes_of(tiny_model("llama"))
    prefix = AdapterSpec(method="prefix", virtual_tokens=7)
    # Keys and values, two layers, two heads of eight: as the tiny config has it.
    config = tiny_config("llama")
    size = config.hidden_size // config.num_attention_heads
    assert trainable(Model("x", shapes), prefix) == (
        7 * 2 * config.num_hidden_layers * config.num_key_value_heads * size
    )
    without = type(shapes)(shapes.modules, architecture="Odd")
    with pytest.raises(AdapterError, match=r"Odd has none.*--method lora"):
        trainable(Model("x", without), prefix)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"name": "pirate"}, "omit pirate; type: %lora ratio --model"),
        ({"matrix": "8x8"}, "so omit --model"),
        ({"rank": 33, "targets": "q_proj"}, r"rank 33 exceeds the size of .*--rank 8"),
        ({"targets": "q_prj"}, "Did you mean 'q_proj'"),
        ({"method": "bitfit"}, "has no biases"),
    ],
)
def test_what_cannot_be_counted_is_told_in_one_line(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(AdapterError, match=message) as seen:
        Session().ratio(model=on_meta(), **flags)
    assert "\n" not in str(seen.value)


def test_a_model_without_weights_cannot_be_used_but_planned() -> None:
    session = Session()
    session.use(tiny_model(), tiny_tokenizer())
    before = session.model
    with pytest.raises(BaseModelError, match=r"on the meta device.*type: %lora plan model") as seen:
        session.use(on_meta(), tiny_tokenizer(), replace=True)
    assert "\n" not in str(seen.value)
    assert session.model is before
    assert session.verify()
    session.reset()


#: Run alone: other tests have imported torch already.
COLD = """
import sys
from lora_magic import Session

config = {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32}
found = Session().ratio(model=config, rank=16, targets="all-linear")
assert found.base_parameters == 6_738_415_616, found.base_parameters
assert found.trainable_parameters == 32 * 16 * (4 * 2 * 4096 + 3 * (4096 + 11008))
heavy = ("torch", "transformers", "peft", "numpy", "pandas", "plotly")
assert not [name for name in heavy if name in sys.modules]
found._repr_mimebundle_()
assert "torch" not in sys.modules
"""


def test_counting_on_a_config_imports_neither_torch_nor_numpy() -> None:
    done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-600:]
