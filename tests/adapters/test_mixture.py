"""Several adapters at once: for LoRA the weighted sum of ΔW, for any other kind of its outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lora_magic.adapters.mixture import Added, Blended, mixed
from lora_magic.adapters.read_shapes import shape_of
from lora_magic.adapters.slots import Slots
from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError
from lora_magic.lowrank.factors import LowRank
from lora_magic.state.session import Session
from tests.adapters.shared import VARIANTS, answer, based, made, moved
from tests.conftest import logits, perturb

#: The ways in which a plain update comes.
LOW_RANK = ("lora", "rslora", "adalora", "pissa", "olora")

WEIGHTS = (0.7, -0.4, 1.5)


def under(base: BaseModel, slots: Slots, modules: dict[str, nn.Module]) -> Tensor:
    with slots.using(modules), torch.no_grad():
        found: Tensor = base.model(input_ids=torch.arange(10, 26)[None]).logits
    return found


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_of_low_rank_updates_the_weighted_sum_is_in_force(architecture: str) -> None:
    base, slots = based(architecture, dtype=torch.float64)
    parts = []
    for seed, (weight, variant) in enumerate(zip(WEIGHTS, LOW_RANK, strict=False)):
        attached = moved(made(base, slots, f"a{seed}", **VARIANTS[variant]), seed=seed)
        parts.append((weight, attached))
    standing = mixed(slots, [(w, a.name, a.replacements) for w, a in parts])
    assert all(isinstance(layer, Added) for layer in standing.values())
    # Dense, in float64, from what each layer does to a unit matrix.
    parameters = {}
    for path in standing:
        total = torch.zeros_like(_weight(slots.original(path)))
        for weight, attached in parts:
            update = attached.updates()[path].dense(torch.float64)
            total += weight * (update.mT if architecture == "gpt2" else update)
        parameters[f"{path}.weight"] = _weight(slots.original(path)) + total
    ids = torch.arange(10, 26)[None]
    with torch.no_grad():
        expected = functional_call(base.model, parameters, (ids,)).logits
    assert torch.allclose(under(base, slots, standing), expected, atol=1e-6)
    assert not torch.allclose(answer(base, slots), expected, atol=1e-2)


def _weight(module: Any) -> Tensor:
    weight: Tensor = module.weight.detach()
    return weight


def test_what_only_one_of_them_changes_stands_with_its_weight() -> None:
    base, slots = based(dtype=torch.float64)
    one = moved(made(base, slots, "one", rank=2, targets="q_proj"))
    two = moved(made(base, slots, "two", rank=4, targets="v_proj"), seed=1)
    standing = mixed(slots, [(0.5, "one", one.replacements), (2.0, "two", two.replacements)])
    assert set(standing) == {*one.replacements, *two.replacements}
    for weight, attached in ((0.5, one), (2.0, two)):
        for path, update in attached.updates().items():
            layer: Any = standing[path]
            found = layer.added.dense()
            assert torch.allclose(found, weight * update.dense(torch.float64), atol=1e-12)


@pytest.mark.parametrize(
    "variant", ["dora", "ia3", "bias", "houlsby", "adapter-l", "full", "norms"]
)
def test_other_kinds_are_weighed_by_what_they_answer(variant: str) -> None:
    base, slots = based("gpt2", dtype=torch.float64)
    one = moved(made(base, slots, "one", **VARIANTS[variant]))
    two = moved(made(base, slots, "two", rank=2), seed=1)
    weighed = [(0.7, one), (-0.4, two)]
    standing = mixed(slots, [(w, a.name, a.replacements) for w, a in weighed])
    blended = {path: layer for path, layer in standing.items() if isinstance(layer, Blended)}
    assert blended
    assert set(blended) <= set(one.replacements)
    generator = torch.Generator().manual_seed(0)
    for path, layer in blended.items():
        original = slots.original(path)
        if isinstance(original, nn.Embedding):
            x = torch.arange(12)[None]
        else:
            x = torch.randn(2, 5, _width(original), dtype=torch.float64, generator=generator)
        with torch.no_grad():
            start = _first(original(x))
            expected = start.clone()
            for weight, attached in weighed:
                if path in attached.replacements:
                    expected += weight * (_first(attached.replacements[path](x)) - start)
            assert torch.allclose(_first(layer(x)), expected, atol=1e-10), path


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("variant", ["houlsby", "adapter-l"])
def test_a_block_that_is_weighed_fills_its_cache_once(variant: str, architecture: str) -> None:
    base, slots = based(architecture, dtype=torch.float64)
    one = moved(made(base, slots, "one", **VARIANTS[variant]))
    two = moved(made(base, slots, "two", rank=2), seed=1)
    standing = mixed(slots, [(0.7, "one", one.replacements), (-0.4, "two", two.replacements)])
    whole = under(base, slots, standing)
    assert not torch.allclose(whole, answer(base, slots), atol=1e-3)
    ids, found = torch.arange(10, 26)[None], []
    cache = None
    with slots.using(standing), torch.no_grad():
        for begin, end in ((0, 8), *((i, i + 1) for i in range(8, 16))):
            mask = torch.ones(1, end, dtype=torch.long)
            told = {"attention_mask": mask, "past_key_values": cache, "use_cache": True}
            step = base.model(input_ids=ids[:, begin:end], **told)
            found.append(step.logits)
            cache = step.past_key_values
    assert torch.allclose(torch.cat(found, dim=1), whole, atol=1e-6)


def _first(found: Any) -> Tensor:
    tensor: Tensor = found[0] if isinstance(found, tuple) else found
    return tensor


def _width(module: Any) -> int:
    if isinstance(module, nn.LayerNorm):
        return int(module.normalized_shape[0])
    # A block answers to the width of its stream.
    return shape_of(module)[1] if hasattr(module, "weight") else 32


@pytest.mark.parametrize("variant", ["lora", "dora", "ia3", "pissa", "houlsby", "full"])
def test_one_alone_with_weight_1_is_that_adapter_bit_for_bit(
    variant: str, session: Session
) -> None:
    session.attach("one", **VARIANTS[variant])
    moved(session._state.attached["one"])
    expected = logits(session)
    session.swap("base")
    assert not torch.equal(logits(session), expected)
    session.swap("one=1")
    assert torch.equal(logits(session), expected)
    assert session.active == "one"


def test_a_weight_of_nothing_is_the_base_and_a_half_lies_between(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one", size=0.5)
    full = logits(session)
    session.swap("base")
    base = logits(session)
    session.swap("one=0")
    assert torch.equal(logits(session), base)
    session.swap("one=0.5")
    half = logits(session)
    assert 0 < float((half - base).norm()) < float((full - base).norm())


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_virtual_tokens_are_refused_beside_others_and_nothing_changes(
    method: str, session: Session
) -> None:
    session.attach("words", method=method, virtual_tokens=3)
    session.attach("one", rank=2)
    before = (session.active, logits(session))
    with pytest.raises(AdapterError, match=r"words acts through virtual tokens.*%lora swap words"):
        session.swap("one=0.5,words=0.5")
    assert session.active == before[0]
    assert torch.equal(logits(session), before[1])
    assert session.verify()


def test_the_sum_of_an_embedding_keeps_its_layout_and_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    table = nn.Embedding(6, 4)
    update = LowRank(
        torch.randn(2, 6, generator=generator), torch.randn(4, 2, generator=generator), 0.5
    )
    ids = torch.tensor([[0, 5, 3]])
    with torch.no_grad():
        found = Added(table, update)(ids)
        expected = table.weight + update.dense().mT
    assert torch.allclose(found, expected[ids], atol=1e-6)


def test_what_is_added_can_be_read_through() -> None:
    original = nn.Linear(4, 3)
    update = LowRank(torch.ones(1, 4), torch.ones(3, 1), 1.0)
    for layer in (Added(original, update), Blended(original, [(1.0, nn.Linear(4, 3))])):
        assert layer.weight is original.weight
        assert layer.in_features == 4
        with pytest.raises(AttributeError):
            _ = layer.nothing_of_the_kind


def test_the_sum_stands_apart_from_the_adapters_it_is_made_of(session: Session) -> None:
    for seed, name in enumerate(("one", "two")):
        session.attach(name, rank=2)
        perturb(session, name, seed=seed)
    session.swap("one=0.5,two=0.5")
    assert session.active == "one=0.5,two=0.5"
    together = logits(session)
    assert not any(name.endswith(("lora_A", "lora_B")) for name, _ in session.model.named_modules())
    session.swap("two")
    session.swap("one=0.5,two=0.5")
    assert torch.equal(logits(session), together)
    session.swap("base")
    assert session.verify()
