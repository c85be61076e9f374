"""Plain PEFT is the judge: each pane must say what PEFT's own model answers for its adapter."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import GenerationConfig

from lora_magic.adapters.slots import Slots
from lora_magic.base.prompt import PromptForm
from lora_magic.compare.comparison import Comparison
from lora_magic.compare.generate import generate
from lora_magic.compare.run import BROKEN, UNCHANGED, compare
from lora_magic.compare.stack import Variant, stacked
from lora_magic.errors import PromptError
from lora_magic.lowrank.factors import LowRank
from tests.counts import ops
from tests.tiny import tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer(chat=True)
PLAIN = PromptForm.of(TOKENIZER, "plain")
PROMPTS = ["What does a fox eat?", "Hi"]
TARGETS = {
    "llama": ["q_proj", "v_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj"],
    "opt": ["q_proj", "fc1", "fc2"],
}


def a_model(architecture: str = "llama", dtype: torch.dtype = torch.float32) -> Any:
    width = "init_std" if architecture == "opt" else "initializer_range"
    changes: dict[str, Any] = {width: 0.3}
    return tiny_model(architecture, dtype=dtype, **changes).requires_grad_(False)


def by_peft(model: nn.Module, rank: int, seed: int, zero: bool = False) -> Any:
    """PEFT's model on a copy of the base, its B drawn (or left at its beginning)."""
    targets = TARGETS[model.config.model_type]  # type: ignore[union-attr, index]  # HF's own attribute
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, lora_dropout=0.5)
    wrapped = get_peft_model(copy.deepcopy(model), config).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name and not (zero and "lora_B" in name):
            parameter.data.normal_(0, 0.2, generator=generator)
    return wrapped


def a_variant(name: str, wrapped: Any, form: PromptForm = PLAIN, stackable: bool = True) -> Variant:
    """What a session hands over for an adapter: PEFT's layers by path, and their factors."""
    layers = {
        path: module
        for path, module in wrapped.get_base_model().named_modules()
        if hasattr(module, "lora_A")
    }
    deltas = {
        path: LowRank(
            layer.lora_A["default"].weight,
            layer.lora_B["default"].weight,
            layer.scaling["default"],
        )
        for path, layer in layers.items()
    }
    return Variant(name, layers, deltas if stackable else None, form)


def the_base(form: PromptForm = PLAIN, kept: Mapping[str, nn.Module] | None = None) -> Variant:
    return Variant("base", kept or {}, {}, form)


@torch.no_grad()
def greedy(model: Any, prompt: str, count: int, form: PromptForm = PLAIN) -> str:
    row = form.encode(TOKENIZER, prompt)
    start = len(row)
    for _ in range(count):
        row.append(int(model(torch.tensor([row])).logits[0, -1].argmax()))
        if row[-1] in form.stop_ids:
            row.pop()
            break
    return str(TOKENIZER.decode(row[start:], skip_special_tokens=True))


def run(
    model: Any, variants: list[Variant], prompts: list[str] | None = None, **draw: Any
) -> Comparison:
    draw = {"max_new_tokens": 12, **draw}
    return compare(model, Slots(model), TOKENIZER, variants, prompts or PROMPTS, **draw)


@pytest.mark.parametrize("architecture", list(TARGETS))
@pytest.mark.parametrize("stackable", [True, False])
def test_each_pane_says_what_peft_answers_for_its_adapter(
    architecture: str, stackable: bool
) -> None:
    model = a_model(architecture)
    wrapped = {"a": by_peft(model, 4, 1), "b": by_peft(model, 2, 2)}
    variants = [the_base(), *(a_variant(n, w, stackable=stackable) for n, w in wrapped.items())]
    shown = run(model, variants)
    models = {"base": model, **wrapped}
    expected = [greedy(models[name], prompt, 12) for prompt in PROMPTS for name in models]
    assert [pane.text for pane in shown.panes] == expected
    assert len(set(expected)) == 6
    assert [pane.adapter for pane in shown.panes] == ["base", "a", "b"] * 2
    assert {pane.batched for pane in shown.panes} == {stackable}


@pytest.mark.parametrize("architecture", list(TARGETS))
def test_the_first_logit_change_is_the_difference_that_peft_makes(architecture: str) -> None:
    model = a_model(architecture)
    wrapped = by_peft(model, 4, 1)
    base, pane = run(model, [the_base(), a_variant("a", wrapped)], PROMPTS[:1]).panes
    row = torch.tensor([PLAIN.encode(TOKENIZER, PROMPTS[0])])
    with torch.no_grad():
        expected = (wrapped(row).logits[0, -1] - model(row).logits[0, -1]).abs().max()
    assert pane.first_logit_change == pytest.approx(float(expected), rel=1e-5)
    assert (base.first_logit_change, base.note, pane.note) == (0.0, "", "")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_untrained_adapter_answers_as_the_base_and_is_called_out(
    dtype: torch.dtype, temperature: float
) -> None:
    model = a_model(dtype=dtype)
    variants = [
        the_base(),
        a_variant("loud", by_peft(model, 4, 1)),
        a_variant("new", by_peft(model, 2, 2, zero=True)),
    ]
    for prompt in PROMPTS:
        base, loud, new = run(model, variants, [prompt], temperature=temperature).panes
        assert new.text == base.text != loud.text
        assert new.first_logit_change == 0.0
        assert new.note == UNCHANGED
        assert loud.first_logit_change > 0


@pytest.mark.parametrize("architecture", list(TARGETS))
def test_in_bf16_a_row_is_what_its_adapter_gives_at_that_batch_shape(architecture: str) -> None:
    """Each row against PEFT's model on the same rows: a kernel depends on the batch's shape."""
    model = a_model(architecture, torch.bfloat16)
    models = {"base": model, "a": by_peft(model, 4, 1), "b": by_peft(model, 4, 2)}
    variants = [the_base(), *(a_variant(name, models[name]) for name in "ab")]
    row, slots, seen = PLAIN.encode(TOKENIZER, PROMPTS[0]), Slots(model), []
    batch = torch.tensor([row] * 3)
    stack = stacked(slots, variants)
    assert stack is not None
    with torch.no_grad():
        expected = [models[name](batch).logits[n, -1].float() for n, name in enumerate(models)]
    with stack.using(slots):
        generate(model, TOKENIZER, [row] * 3, stop_ids=[], max_new_tokens=1, first=seen.append)
    assert torch.equal(seen[0][0], expected[0])
    for found, wanted in zip(seen[0][1:], expected[1:], strict=True):
        # The fp32 sums differ by their order of addition, so a rounding may land a step off.
        torch.testing.assert_close(found, wanted, rtol=2**-7, atol=2**-7 * float(wanted.std()))
        assert int(found.argmax()) == int(wanted.argmax())


def test_a_token_takes_few_operations_more_than_the_bare_base_at_that_batch() -> None:
    """Four for each adapted module, and at most six for all that happens to the logits."""
    model = a_model()
    variants = [the_base(), *(a_variant(n, by_peft(model, 4, s)) for s, n in enumerate("abc"))]
    modules = len(variants[1].replacements)
    row = torch.tensor([PLAIN.encode(TOKENIZER, PROMPTS[0])] * len(variants))
    stop = dataclasses.replace(PLAIN, stop_ids=())
    variants = [dataclasses.replace(variant, form=stop) for variant in variants]

    def bare(count: int) -> int:
        flags = GenerationConfig(max_new_tokens=count, do_sample=False, eos_token_id=None)
        mask = torch.ones_like(row)
        with torch.no_grad():
            return ops(
                lambda: model.generate(input_ids=row, attention_mask=mask, generation_config=flags)
            )

    def ours(count: int) -> int:
        return ops(lambda: run(model, variants, PROMPTS[:1], max_new_tokens=count))

    more = (ours(12) - ours(4) - bare(12) + bare(4)) / 8
    assert 4 * modules <= more <= 4 * modules + 6
    # Nothing but the stack is made once: no pass of the base, and none of an adapter.
    assert ours(4) - bare(4) <= 4 * more + 60 * modules


def test_one_adapter_that_cannot_be_stacked_makes_all_answer_one_by_one() -> None:
    model = a_model()
    plain, other = by_peft(model, 4, 1), by_peft(model, 4, 2)
    norm, secret = "model.layers.1.post_attention_layernorm", nn.Identity()
    fuller = Variant("b", {**a_variant("b", other).replacements, norm: secret},
                   a_variant("b", other).deltas, PLAIN)  # fmt: skip
    for odd in (a_variant("b", other, stackable=False), fuller):
        shown = run(model, [the_base(), a_variant("a", plain), odd])
        assert {pane.batched for pane in shown.panes} == {False}
    assert shown.panes[2].text != greedy(other, PROMPTS[0], 12)  # without its norm


@pytest.mark.parametrize("path", ["model.embed_tokens", "model.experts.0"])
def test_a_layer_that_does_not_see_the_rows_in_order_is_not_stacked(path: str) -> None:
    model = a_model()
    model.model.experts = nn.ModuleList([nn.Linear(32, 384)])
    layer = copy.deepcopy(model.get_submodule(path))
    delta = LowRank(torch.zeros(2, 32), torch.zeros(384, 2), 1.0)
    shown = run(model, [the_base(), Variant("a", {path: layer}, {path: delta}, PLAIN)])
    assert not any(pane.batched for pane in shown.panes)


def test_a_kept_base_is_what_the_base_pane_and_the_stack_stand_on() -> None:
    pristine = a_model()
    merged = copy.deepcopy(pristine)
    kept = {}
    for path in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"):
        kept[path] = pristine.get_submodule(path)
        merged.get_submodule(path).weight.data.normal_()
    wrapped = by_peft(pristine, 4, 1)
    shown = run(merged, [the_base(kept=kept), a_variant("a", wrapped)])
    assert greedy(merged, PROMPTS[0], 12) != greedy(pristine, PROMPTS[0], 12)
    expected = [greedy(model, prompt, 12) for prompt in PROMPTS for model in (pristine, wrapped)]
    assert [pane.text for pane in shown.panes] == expected
    assert all(pane.batched for pane in shown.panes)


@pytest.mark.parametrize("stackable", [True, False])
def test_each_pane_keeps_its_own_prompt_form(stackable: bool) -> None:
    model = a_model()
    wrapped = by_peft(model, 4, 1, zero=True)
    chat = PromptForm.of(TOKENIZER, "chat", system="Be brief.")
    base, pane = run(
        model, [the_base(), a_variant("a", wrapped, chat, stackable)], PROMPTS[:1]
    ).panes
    assert base.text == greedy(model, PROMPTS[0], 12)
    assert pane.text == greedy(model, PROMPTS[0], 12, chat) != base.text
    # Against the base on the same tokens: the form is not the adapter's doing.
    assert pane.first_logit_change == 0.0


@pytest.mark.parametrize("stackable", [True, False])
def test_each_pane_stops_on_its_own_end_token(stackable: bool) -> None:
    model = a_model()
    wrapped = by_peft(model, 4, 1, zero=True)
    free = greedy(model, PROMPTS[0], 12)
    written = TOKENIZER(free)["input_ids"]
    early = dataclasses.replace(PLAIN, stop_ids=(written[4],))
    base, pane = run(
        model, [the_base(), a_variant("a", wrapped, early, stackable)], PROMPTS[:1]
    ).panes
    assert (base.text, base.ended) == (free, False)
    assert (pane.text, pane.ended) == (greedy(model, PROMPTS[0], 12, early), True)
    assert free.startswith(pane.text)
    assert pane.tokens < base.tokens


def test_the_answer_to_a_prompt_does_not_depend_on_the_prompts_beside_it() -> None:
    model = a_model(dtype=torch.bfloat16)
    variants = [the_base(), a_variant("a", by_peft(model, 4, 1))]
    together = run(model, variants, temperature=1.0)
    alone = [
        pane for prompt in PROMPTS for pane in run(model, variants, [prompt], temperature=1.0).panes
    ]
    assert [pane.text for pane in together.panes] == [pane.text for pane in alone]


@pytest.mark.parametrize("stackable", [True, False])
@pytest.mark.parametrize("at", [1, 4, 13, 14])
def test_an_interrupt_leaves_the_slots_and_the_model_as_they_were(stackable: bool, at: int) -> None:
    model = a_model()
    slots = Slots(model)
    variants = [the_base(), a_variant("a", by_peft(model, 4, 1), stackable=stackable)]
    before = a_variant("active", by_peft(model, 2, 5)).replacements
    slots.write(before)
    model.train()
    kept, calls = model.generation_config, []
    hooks = [count_hooks(module) for module in model.modules()]

    def interrupt(*_: Any) -> None:
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt

    handle = model.lm_head.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        compare(model, slots, TOKENIZER, variants, PROMPTS, max_new_tokens=12)
    handle.remove()
    assert slots.written == before
    assert slots.foreign_paths() == []
    assert model.get_submodule(next(iter(before))) is next(iter(before.values()))
    assert all(module.training for module in model.modules())
    assert model.generation_config is kept
    assert [count_hooks(module) for module in model.modules()] == hooks


def count_hooks(module: nn.Module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks)


def test_prompts_that_cannot_be_are_all_named_before_anything_runs() -> None:
    model = a_model()
    model.forward = None
    long = ["fox " * 200, "hen " * 300]
    with pytest.raises(
        PromptError, match=r"context of 128 tokens: 'fox .* has \d+, 'hen .* has \d"
    ):
        run(model, [the_base()], ["Hi", *long])
    with pytest.raises(PromptError, match="no prompt"):
        compare(model, Slots(model), TOKENIZER, [the_base()], [])
    with pytest.raises(PromptError, match="--max-new-tokens -1"):
        run(model, [the_base()], max_new_tokens=-1)


def test_a_diverged_adapter_is_called_out() -> None:
    model = a_model()
    wrapped = by_peft(model, 2, 1)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(float("nan"))
    _, pane = run(model, [the_base(), a_variant("a", wrapped)], ["Hi"]).panes
    assert "not finite" in pane.note


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_diverged_adapter_reaches_no_other_row(dtype: torch.dtype) -> None:
    model = a_model(dtype=dtype)
    wrapped = {name: by_peft(model, 4, seed) for seed, name in enumerate("abc")}
    variants = [the_base(), *(a_variant(name, found) for name, found in wrapped.items())]
    whole = run(model, variants, ["Hi"]).panes
    for name, parameter in wrapped["b"].named_parameters():
        if "lora_" in name:
            parameter.data.fill_(float("nan"))
    panes = run(model, variants, ["Hi"]).panes
    assert panes[2].note == BROKEN
    for place in (0, 1, 3):
        assert dataclasses.replace(panes[place], seconds=0.0) == dataclasses.replace(
            whole[place], seconds=0.0
        )


@pytest.mark.parametrize("stackable", [True, False])
def test_the_first_logit_change_is_against_the_base_on_the_same_tokens(stackable: bool) -> None:
    model = a_model()
    wrapped = by_peft(model, 4, 1)
    chat = PromptForm.of(TOKENIZER, "chat", system="Be brief.")
    variants = [the_base(), a_variant("a", wrapped, chat, stackable), a_variant("b", wrapped)]
    panes = run(model, variants, PROMPTS[:1]).panes
    for pane, form in zip(panes[1:], (chat, PLAIN), strict=True):
        row = torch.tensor([form.encode(TOKENIZER, PROMPTS[0])])
        with torch.no_grad():
            expected = (wrapped(row).logits[0, -1] - model(row).logits[0, -1]).abs().max()
        assert pane.first_logit_change == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("stackable", [True, False])
def test_a_base_that_is_not_finite_is_refused(stackable: bool) -> None:
    model = a_model()
    variants = [the_base(), a_variant("a", by_peft(model, 4, 1), stackable=stackable)]
    model.model.norm.weight.data[3] = float("nan")
    with pytest.raises(PromptError, match=r"base's logits are not finite.*model\.norm\.weight"):
        run(model, variants)


def test_an_answer_that_the_stop_came_before_has_no_change_and_no_remark() -> None:
    model = a_model()
    variants = [the_base(), a_variant("a", by_peft(model, 4, 1), stackable=False)]
    base, pane = run(model, variants, ["Hi"], watch=lambda _: True).panes
    assert (base.tokens, base.first_logit_change, base.note) == (1, 0.0, "")
    assert (pane.tokens, pane.note, pane.stopped) == (0, "", True)
    assert math.isnan(pane.first_logit_change)


def test_the_base_alone_is_a_comparison_too() -> None:
    model = a_model()
    (pane,) = run(model, [the_base()], ["Hi", "Hi"]).panes
    assert (pane.text, pane.batched) == (greedy(model, "Hi", 12), False)


def test_the_first_text_does_not_wait_for_the_batch_and_nobody_else_pays_for_it() -> None:
    model = a_model()
    variants = [
        the_base(),
        a_variant("a", by_peft(model, 4, 1)),
        a_variant("b", by_peft(model, 2, 2)),
    ]
    rows: list[int] = []
    model.register_forward_hook(
        lambda _, args, kwargs, out: rows.append(len(out.logits)), with_kwargs=True
    )
    seen: list[tuple[list[int], dict[str, str]]] = []

    def watch(written: Any) -> bool:
        seen.append(([*rows], written()))
        return False

    alone = run(model, variants, PROMPTS[:1])
    passes = len(rows)
    rows.clear()
    watched = run(model, variants, PROMPTS[:1], watch=watch)
    assert len(rows) == passes + 1
    before, first = seen[0]
    assert before == [1]
    assert list(first) == ["base"]
    assert first["base"]
    assert alone.panes[0].text.startswith(first["base"])
    assert [pane.text for pane in watched.panes] == [pane.text for pane in alone.panes]
    rows.clear()
    ended = run(model, variants, PROMPTS[:1], watch=lambda _: True)
    assert rows == [1]
    assert all(pane.stopped and not pane.tokens for pane in ended.panes)
