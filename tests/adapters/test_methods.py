"""The table of methods: complete, true, and what its rows promise is so."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest
import torch

from lora_magic.adapters.merge import refuse_unmergeable
from lora_magic.adapters.methods import ALIASES, METHODS, method_of
from lora_magic.adapters.presets import VIRTUAL_TOKENS
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.recipe import SMALL
from lora_magic.errors import AdapterError
from lora_magic.state.resolve import resolve_spec
from lora_magic.state.session import Session
from tests.adapters.shared import VARIANTS, answer, based, made, moved
from tests.tiny import ARCHITECTURES

#: A value other than the default for each field of a spec.
GIVEN: dict[str, Any] = {
    "rank": 4,
    "alpha": 3.0,
    "dropout": 0.1,
    "targets": "all-linear",
    "seed": 7,
    "rslora": True,
    "dora": True,
    "init": "gaussian",
    "bias": "all",
    "norms": True,
    "rank_pattern": "q_proj=2",
    "alpha_pattern": "q_proj=2.5",
    "virtual_tokens": 5,
}

#: Bases without a single bias.
WITHOUT_BIASES = ("llama", "mistral", "gemma")


def test_every_field_of_a_spec_is_read_by_some_method_and_every_name_read_is_a_field() -> None:
    names = {field.name for field in fields(AdapterSpec)} - {"method"}
    assert set(GIVEN) == names
    assert {name for method in METHODS.values() for name in method.takes} | {"seed"} == names


def test_every_flag_of_attach_is_a_field_or_known_to_stand_for_some() -> None:
    flags = set(inspect.signature(Session.attach).parameters) - {"self", "name"}
    assert flags == {field.name for field in fields(AdapterSpec)} | {"for_", "replace"}


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_a_row_of_the_table_is_complete(method: Any) -> None:
    assert METHODS[method.name] is method
    for text in (method.title, method.source, method.storage, method.latency, method.context):
        assert text
        assert "\n" not in text
    # What says why not is the middle of a sentence.
    for reason in (method.not_merged, method.no_spectrum, method.not_quantised):
        assert not reason.endswith(".")


@pytest.mark.parametrize("name", METHODS)
def test_every_flag_that_a_method_does_not_read_is_refused_by_name(name: str) -> None:
    method = METHODS[name]
    for flag, value in GIVEN.items():
        if method.reads(flag):
            assert resolve_spec("one", SMALL, {"method": name, flag: value}).method == name, flag
            continue
        with pytest.raises(AdapterError) as seen:
            resolve_spec("one", SMALL, {"method": name, flag: value})
        assert f"{method.title} does not use --{flag.replace('_', '-')}" in str(seen.value)


@pytest.mark.parametrize("name", METHODS)
def test_all_flags_not_read_are_refused_in_one_error(name: str) -> None:
    method = METHODS[name]
    unread = {flag: value for flag, value in GIVEN.items() if not method.reads(flag)}
    if not unread:
        return
    with pytest.raises(AdapterError) as seen:
        resolve_spec("one", SMALL, {"method": name, **unread})
    for flag in unread:
        assert f"--{flag.replace('_', '-')}" in str(seen.value)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_method_is_attached_or_refused_in_one_line(architecture: str, name: str) -> None:
    base, slots = based(architecture)
    before = answer(base, slots)
    # Gemma's keys are 8 wide here.
    flags = {"method": name, **({"rank": 4} if METHODS[name].reads("rank") else {})}
    if name == "bitfit" and architecture in WITHOUT_BIASES:
        with pytest.raises(AdapterError) as seen:
            made(base, slots, **flags)
        assert "\n" not in str(seen.value)
        assert "--" in str(seen.value)
    else:
        attached = made(base, slots, **flags)
        assert attached.method is METHODS[name]
        record = attached.record()
        assert record.trainable == record.formula > 0
        assert record.differing == ()
        moved(attached, 0.1)
        assert not torch.equal(answer(base, slots, attached), before)
    assert slots.foreign_paths() == []
    assert torch.equal(answer(base, slots), before)
    assert base.fingerprint.verify()


def test_ia3_on_a_model_that_no_table_knows_asks_for_names() -> None:
    base, slots = based()
    base.model.config.model_type = "unheard_of"
    with pytest.raises(AdapterError, match=r"scales in LlamaForCausalLM; .*--targets k_proj"):
        made(base, slots, method="ia3")
    attached = made(base, slots, method="ia3", targets="k_proj,v_proj,down_proj")
    inner = {path for path, layer in attached.replacements.items() if layer.is_feedforward}  # type: ignore[union-attr]  # (IA)³'s
    assert {path.rpartition(".")[2] for path in inner} == {"down_proj"}


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_the_method_with_its_flags(alias: str) -> None:
    meant = dict(ALIASES[alias])
    expected = resolve_spec("one", SMALL, meant)
    assert resolve_spec("one", SMALL, {"method": alias}) == expected
    assert resolve_spec("one", SMALL, {"method": alias.upper()}) == expected
    assert alias not in METHODS
    assert meant["method"] in METHODS
    # Said twice is the same; said otherwise is refused.
    assert resolve_spec("one", SMALL, {**meant, "method": alias}) == expected


@pytest.mark.parametrize(
    ("alias", "flag", "value"),
    [("dora", "dora", False), ("pissa", "init", "olora"), ("rslora", "rslora", False)],
)
def test_a_flag_against_its_alias_is_refused(alias: str, flag: str, value: object) -> None:
    with pytest.raises(AdapterError, match=rf"--method {alias} means --{flag}.*omit one"):
        resolve_spec("one", SMALL, {"method": alias, flag: value})


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("qlora", r"%lora load MODEL --bits 4"),
        ("lora+", r"--lora-plus 16"),
        ("lora-plus", r"--lora-plus 16"),
        ("adalroa", r"Did you mean 'adalora'"),
        ("huolsby", r"Did you mean 'houlsby'"),
        (3, r"expected one of lora, adalora"),
    ],
)
def test_what_is_no_method_names_the_way(typed: Any, told: str) -> None:
    with pytest.raises(AdapterError, match=told):
        method_of(typed)


def test_what_cannot_be_merged_says_why_and_what_to_do() -> None:
    for method in METHODS.values():
        if not method.not_merged:
            refuse_unmergeable(method, "one")
            continue
        with pytest.raises(AdapterError) as seen:
            refuse_unmergeable(method, "one")
        assert method.not_merged in str(seen.value)
        assert "%lora swap one" in str(seen.value)
    refused = {name for name, method in METHODS.items() if method.not_merged}
    assert refused == {"prefix", "prompt", "houlsby", "adapter-l"}


def test_defaults_come_from_the_recipe_and_the_purpose() -> None:
    plain = resolve_spec("one", SMALL, {})
    assert (plain.rank, plain.alpha, plain.targets) == (SMALL.rank, SMALL.alpha, SMALL.targets)
    style = resolve_spec("one", SMALL, {"for_": "style"})
    assert (style.rank, style.alpha) == (8, 16.0)
    assert resolve_spec("one", SMALL, {"for_": "style", "rank": 3}).rank == 3
    assert resolve_spec("one", SMALL, {"method": "prompt"}).virtual_tokens == VIRTUAL_TOKENS
    with pytest.raises(AdapterError, match="Did you mean 'domain'"):
        resolve_spec("one", SMALL, {"for_": "domian"})


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_told_by_its_line(variant: str) -> None:
    spec = resolve_spec("one", SMALL, VARIANTS[variant])
    words = {
        "lora": "lora r2",
        "gaussian": "lora init gaussian r2",
        "rslora": "rslora r4",
        "dora": "dora r2",
        "pissa": "lora init pissa r3",
        "olora": "rslora init olora r3",
        "eva": "lora init eva r2",
        "bias": "bias all",
        "lora_only": "bias lora_only",
        "dora and bias": "dora r2",
        "norms": "norms",
        "bias and norms": "bias all norms",
        "adalora": "adalora r2",
        "ia3": "ia3",
        "prefix": "prefix 3 tokens",
        "prompt": "prompt 3 tokens",
        "houlsby": "houlsby r3",
        "adapter-l": "adapter-l r3",
        "bitfit": "bitfit",
        "full": "full",
    }
    assert words[variant] in spec.line
