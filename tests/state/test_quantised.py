"""A session on a quantised base: loaded, attached, trained, asked, compared, saved, given back."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from lora_magic.errors import BaseModelError, CommandError
from lora_magic.state.session import Session
from tests.conftest import Saver
from tests.state.shared import ROWS, snapshot
from tests.tiny import tiny_tokenizer


@pytest.mark.parametrize("bits", [4, 8])
def test_an_adapter_s_whole_life_leaves_a_quantised_base_as_it_was(
    bits: int, saved_model: Saver
) -> None:
    session = Session()
    record = session.load(str(saved_model()), bits=bits)
    kind = "nf4" if bits == 4 else "int8"
    assert record.quantised is not None
    assert record.quantised.kind == kind
    assert f"· {kind} · cpu · unchanged ✓" in session.status().line
    digest = record.fingerprint
    session.attach("pirate", rank=2)
    summary = session.train("pirate", text=ROWS, steps=20, lr=2e-2)
    assert summary.losses[-1] < summary.losses[0] - 0.1
    assert session.verify()
    session.compare("Where is the library?", max_new_tokens=3)
    assert session.verify()
    session.save("pirate", "kept")
    session.detach("pirate")
    session.open("kept", "pirate")
    session.ask("Where is the library?", max_new_tokens=3)
    assert session.verify()
    assert session.verify(quick=True)
    assert session._state.record().fingerprint == digest
    assert "unchanged" in session.reset().line


def test_trained_twice_from_the_same_start_it_has_the_same_bits(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model()), bits=4)
    session.attach("pirate", rank=2)
    ends = []
    for _ in range(2):
        session.train("pirate", text=ROWS, steps=5, lora_plus=4.0)
        session.ask("Where is the library?", max_new_tokens=2)
        ends.append([t.tolist() for t in session._state.attached["pirate"].state().values()])
    assert ends[0] == ends[1]
    session.reset()


def test_the_same_load_is_instant_and_other_bits_are_another_base(saved_model: Saver) -> None:
    session, folder = Session(), str(saved_model())
    session.load(folder, bits=4)
    first = session.model
    session.load(folder, bits=4)
    assert session.model is first
    session.load(folder)
    assert session.model is not first
    assert session.status().base is not None
    assert session.status().base.quantised is None  # type: ignore[union-attr]
    session.reset()


def test_a_refused_width_leaves_the_session_as_it_was(session: Session) -> None:
    session.attach("pirate", rank=2)
    before = snapshot(session)
    with pytest.raises(BaseModelError, match="--bits 3: expected 4"):
        session.load("demo", bits=3)
    assert snapshot(session) == before


@pytest.mark.parametrize("bits", [4, 8])
def test_a_refused_training_leaves_no_trace(bits: int, saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model("gpt2")), bits=bits)
    session.attach("pirate", rank=2)
    before = snapshot(session)
    for flags in ({"optimizer": "adam"}, {"lora_plus": 0.0}):
        with pytest.raises(CommandError, match="expected"):
            session.train("pirate", text=ROWS, **flags)  # type: ignore[arg-type]
    assert snapshot(session) == before
    session.train("pirate", text=ROWS, steps=2, optimizer="paged-adamw-8bit")
    after = snapshot(session)
    for kept in ("tree", "flags", "training", "hooks", "attributes", "config"):
        assert after[kept] == before[kept], kept
    session.reset()


def test_a_quantised_base_used_live_comes_back_as_it_was(saved_model: Saver) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    model = AutoModelForCausalLM.from_pretrained(
        saved_model("gpt2"),
        quantization_config=BitsAndBytesConfig(load_in_8bit=True),
        device_map={"": "cpu"},
    )
    hooks = [len(module._forward_pre_hooks) for module in model.modules()]
    session = Session()
    record = session.use(model, tiny_tokenizer(chat=True))
    assert "int8 (" in record.line
    session.attach("pirate", rank=2)
    session.train("pirate", text=ROWS, steps=2)
    assert session.verify()
    session.reset()
    assert [len(module._forward_pre_hooks) for module in model.modules()] == hooks


def test_4_bits_used_live_keep_their_bytes_also_inside_a_peft_model(saved_model: Saver) -> None:
    """On some CPUs the first forward pass of a layer that is not patched repacks its weight."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    model = AutoModelForCausalLM.from_pretrained(
        saved_model(hidden_size=64),
        quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
        device_map={"": "cpu"},
    )
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    session = Session()
    session.use(model, tiny_tokenizer(chat=True))
    session.reset()
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    session.use(wrapped, tiny_tokenizer(chat=True))
    session.ask("hi", max_new_tokens=1)
    session.reset()
    wrapped.unload()
    after = dict(model.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_quantised_base_is_let_go(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model()), bits=4)
    there = weakref.ref(session.model)
    session.reset()
    gc.collect()
    assert there() is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("bits", "method"), [(4, "ia3"), (8, "ia3"), (4, "adalora"), (8, "adalora")]
)
def test_an_adapted_layer_computes_in_the_base_s_16_bits(
    bits: int, method: str, dtype: torch.dtype, saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model()), bits=bits, dtype=dtype)
    session.attach("one", method=method, **({"rank": 2} if method == "adalora" else {}))
    attached = session._state.attached["one"]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, tensor in attached.tensors():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    path, layer = next(
        (p, m) for p, m in attached.replacements.items() if "k_proj" in p or "q_" in p
    )
    x = torch.randn(3, 32, generator=generator).to(dtype)
    found, y = layer(x), session._state.slots.original(path)(x).double()
    if method == "ia3":
        expected = y * layer.ia3_l["default"].flatten().double()
    else:
        a, e, b = (getattr(layer, f"lora_{part}")["default"].double() for part in "AEB")
        scale = layer.scaling["default"] / (float(layer.ranknum["default"]) + 1e-5)
        expected = y + scale * x.double() @ (a * e).mT @ b.mT
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=2e-2, atol=2e-2)
    session.train("one", text=ROWS, steps=10)
    assert session.verify()
    session.reset()
