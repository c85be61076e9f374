"""What `spectrum` says against what the layers compute, read off their outputs in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from lora_magic.adapters.read_shapes import shape_of
from lora_magic.adapters.trainable_copy import TrainableCopy
from lora_magic.errors import AdapterError
from lora_magic.lowrank.spectrum import Spectrum
from lora_magic.state.session import Session
from tests.adapters.shared import VARIANTS, moved, uneven
from tests.conftest import perturb
from tests.tiny import tiny_config, tiny_model, tiny_tokenizer

#: Methods without a ΔW, and those that read rows for their initialisation or need biases.
OTHER = ("prefix", "prompt", "houlsby", "adapter-l", "eva", "bitfit")
BIASED = ("bias", "lora_only", "dora and bias", "bias and norms")
#: Linear layers; Conv1D with fused query, key and value; Linear with them fused, and biases.
ARCHITECTURES = ("llama", "gpt2", "gpt_neox")
CASES = [
    (architecture, variant, None)
    for architecture in ARCHITECTURES
    for variant in VARIANTS
    if variant not in OTHER and not (architecture == "llama" and variant in BIASED)
] + [("llama", variant, "embed_tokens") for variant in ("lora", "dora")]


def attached(architecture: str, targets: str | None, dtype: torch.dtype, **flags: Any) -> Session:
    """A session with one adapter, all of whose own tensors are moved from their start."""
    session = Session()
    model = tiny_model(architecture, dtype=dtype)
    uneven(model)
    session.use(model, tiny_tokenizer())
    if "method" not in flags:
        flags["targets"] = targets or "all-linear"
    session.attach("one", **flags)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, tensor in session._state.attached["one"].tensors():
            tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.05)
    return session


def computed(layer: Any, original: nn.Module) -> Tensor:
    """W [d, k] that a layer computes with, in float64: its outputs for unit inputs."""
    # Trained weights are rounded where they are used: their layer is read in its own format, which
    # is exact for unit inputs.
    wide = layer if isinstance(layer, TrainableCopy) else copy.deepcopy(layer).double()
    with torch.no_grad():
        if isinstance(original, nn.Embedding):
            found: Tensor = wide(torch.arange(original.num_embeddings)).double()
            return found.mT
        unit = torch.eye(shape_of(original)[1], dtype=wide.weight.dtype)
        if not isinstance(layer, TrainableCopy):
            unit = unit.double()
        rows: Tensor = wide(unit).double() - wide(torch.zeros_like(unit)).double()
    return rows.mT


def expected(session: Session, path: str) -> Tensor:
    """The singular values of what the layer in the slot computes less what the base computes."""
    state = session._state
    original, layer = state.slots.original(path), session.model.get_submodule(path)
    return torch.linalg.svdvals(computed(layer, original) - computed(original, original))


def assert_true(session: Session, record: Spectrum) -> None:
    frame = record.to_frame()
    assert len(frame)
    for path, rows in frame.groupby("module"):
        dense = expected(session, str(path))
        found = torch.tensor(rows.sigma.tolist(), dtype=torch.float64)
        assert float((found - dense[: len(found)]).abs().max()) <= 1e-6 * float(dense[0]), path
        assert not (dense[len(found) :] > 1e-6 * dense[0]).any(), path


@pytest.mark.parametrize(("architecture", "variant", "targets"), CASES)
def test_sigma_is_that_of_what_the_layer_computes(
    architecture: str, variant: str, targets: str | None
) -> None:
    session = attached(architecture, targets, torch.float32, **VARIANTS[variant])
    assert_true(session, session.spectrum("one"))


@pytest.mark.parametrize("variant", ["lora", "dora", "ia3", "full"])
def test_sigma_is_true_for_weights_in_sixteen_bits(variant: str) -> None:
    session = attached("llama", None, torch.bfloat16, **VARIANTS[variant])
    assert_true(session, session.spectrum("one"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_spectrum_of_a_merged_adapter_is_of_what_is_in_the_weights(
    architecture: str, dtype: torch.dtype
) -> None:
    session = attached(architecture, None, dtype, rank=2)
    before = session.spectrum("one")
    session.merge("one")
    merged = session.spectrum("one")
    assert merged.merged == "one"
    assert "one is merged" in repr(merged)
    assert_true(session, merged)
    # Rounding to 8 bits of mantissa is in it, and to 24 bits hardly.
    first = before.summary().sigma_1 / merged.summary().sigma_1
    assert (first - 1).abs().max() < (1e-5 if dtype == torch.float32 else 0.05)
    assert (merged.to_frame().groupby("module").size() > 2).all()
    session.unmerge()
    assert session.spectrum("one").to_frame().equals(before.to_frame())


def test_norms_and_own_spectrum_are_those_of_w(session: Session) -> None:
    session.attach("one", rank=2, targets="q_proj,v_proj")
    perturb(session, "one")
    summary = session.spectrum("one").summary()
    for row in summary.itertuples():
        weight = session._state.slots.original(row.module).weight.double()
        assert row.relative_norm == pytest.approx(row.norm / float(weight.norm()), rel=1e-9)
    assert summary.intruders.isna().all(), "nobody looked for them"
    (alone,) = session.spectrum("one", module="0.q_proj").weights
    weight = session._state.slots.original(alone.module).weight.double()
    assert alone.count == len(alone.sigma) == min(weight.shape)
    assert list(alone.sigma) == pytest.approx(torch.linalg.svdvals(weight).tolist(), rel=1e-9)


def test_intruders_are_counted_where_a_new_direction_outgrows_w(session: Session) -> None:
    session.attach("one", rank=1, targets="q_proj,v_proj")
    session.attach("two", rank=1, targets="q_proj")
    perturb(session, "one", size=50)
    counted = session.spectrum("one", "two", intruders=True)
    frame = counted.summary()
    assert frame[frame.adapter == "one"].intruders.sum() >= 2
    assert frame[frame.adapter == "two"].intruders.tolist() == [0, 0], "ΔW = 0"
    assert counted.to_frame().equals(session.spectrum("one", "two").to_frame())
    # The new direction is the largest of W + ΔW, with its σ.
    for one in counted.intruders:
        original = session._state.slots.original(one.module)
        layer = session._state.attached[one.adapter].replacements[one.module]
        sigma = torch.linalg.svdvals(computed(layer, original))
        for place, value, cosine in one.found:
            assert value == pytest.approx(float(sigma[place - 1]), rel=1e-6)
            assert cosine < 0.5
    assert session.spectrum("one", module="0.q_proj").intruders[0].found[0][0] == 1


def test_trained_experts_in_one_tensor_are_left_out_and_named() -> None:
    config = {**tiny_config("mistral").to_dict(), "num_local_experts": 2}
    config = AutoConfig.for_model(**{**config, "model_type": "mixtral"})
    session = Session()
    session.use(AutoModelForCausalLM.from_config(config).eval(), tiny_tokenizer())
    session.attach("one", method="full")
    moved(session._state.attached["one"])
    state = dict(session._state.attached["one"].tensors())
    deep = {name.replace(".values", "") for name, tensor in state.items() if tensor.dim() > 2}
    found = session.spectrum("one")
    assert deep
    assert set(found.stacked) == deep
    assert f"such as experts: {found.stacked[0]}" in repr(found)
    assert session.spectrum("one", module="q_proj").stacked == ()
    session.reset()


def test_w_is_decomposed_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_magic.state import inside

    session.attach("one", rank=2)
    first = session.spectrum("one", module="0.q_proj").weights
    monkeypatch.setattr(inside, "own_spectrum", None)
    assert session.spectrum("one", module="0.q_proj").weights == first
    # Another base has other weights.
    session.reset()
    assert session._state.base_scores == {}


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        ("efective_rank", "expected one of effective_rank.*Did you mean 'effective_rank'"),
        ("sigma_0", "expected one of"),
        ("sigma_3", "at most 2 singular values; type: --measure sigma_2"),
        (3, "expected one of"),
    ],
)
def test_an_unknown_measure_is_one_line_with_what_to_type(
    session: Session, measure: Any, said: str
) -> None:
    session.attach("one", rank=2)
    with pytest.raises(AdapterError, match=said) as raised:
        session.spectrum("one", measure=measure)
    assert "\n" not in str(raised.value)


def test_a_module_that_one_of_several_adapters_lacks_is_said_with_its_name(
    session: Session,
) -> None:
    session.attach("one", rank=2, targets="q_proj")
    session.attach("two", rank=2, targets="v_proj")
    with pytest.raises(AdapterError, match=r"0\.q_proj: no such module in two"):
        session.spectrum("one", "two", module="0.q_proj")
