"""Separate dense float64 forwards are the judge: a mix must average what they give."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_magic.adapters.prefix import VirtualTokens
from lora_magic.adapters.slots import ROOT, Slots
from lora_magic.base.prompt import PromptForm
from lora_magic.compare.ask import ask
from lora_magic.compare.generate import generate
from lora_magic.compare.mix import Mix, Mixed, log_probabilities
from lora_magic.compare.run import BROKEN, UNCHANGED, compare
from lora_magic.compare.stack import Variant, in_blocks
from lora_magic.errors import AdapterError
from tests.compare.test_compare import PLAIN, PROMPTS, TOKENIZER, a_model, a_variant, by_peft
from tests.compare.test_compare import the_base as base_variant

WEIGHTS = (0.2, 0.5, 0.3)


def three(architecture: str = "llama", form: PromptForm = PLAIN) -> tuple[Any, dict[str, Any], Mix]:
    """A base, it and two adapters by PEFT, and the mix of them."""
    model = a_model(architecture)
    wrapped = {"base": model, "a": by_peft(model, 4, 1), "b": by_peft(model, 2, 2)}
    members = (base_variant(), a_variant("a", wrapped["a"], form), a_variant("b", wrapped["b"]))
    return model, wrapped, Mix("mix of three", tuple(zip(members, WEIGHTS, strict=True)))


@torch.no_grad()
def mixture(models: Any, rows: list[list[int]]) -> Tensor:
    """Σ wₘ·softmax(zₘ) after each model's own ids, in float64."""
    each = [
        model.double()(torch.tensor([row])).logits[0, -1].double().softmax(-1)
        for model, row in zip(models, rows, strict=True)
    ]
    return sum(weight * p for weight, p in zip(WEIGHTS, each, strict=True))  # type: ignore[return-value]  # three tensors


def by_hand(models: Any, forms: list[PromptForm], prompt: str, count: int) -> list[int]:
    """The mixture's greedy tokens, one forward of each float64 model at each."""
    rows, written = [form.encode(TOKENIZER, prompt) for form in forms], []
    while len(written) < count and (not written or written[-1] not in PLAIN.stop_ids):
        written.append(int(mixture(models, [[*row, *written] for row in rows]).argmax()))
    return written


def text_of(tokens: list[int]) -> str:
    return str(TOKENIZER.decode(tokens, skip_special_tokens=True))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt"])
def test_the_probabilities_are_the_weighted_mean_of_separate_forwards(architecture: str) -> None:
    model, wrapped, mix = three(architecture)
    row, seen = PLAIN.encode(TOKENIZER, PROMPTS[0]), []
    slots = Slots(model)
    with in_blocks(slots, mix.variants).using(slots):
        generate(model, TOKENIZER, [row] * 3, stop_ids=[], max_new_tokens=1, first=seen.append)
    expected = mixture([copy.deepcopy(one) for one in wrapped.values()], [row] * 3)
    found = log_probabilities(seen[0], mix.weights)
    torch.testing.assert_close(found.exp().double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(float(found.exp().sum()), 1.0, rtol=0, atol=1e-5)
    applied = Mixed(0, mix.weights).applied(seen[0])
    torch.testing.assert_close(applied.exp().double(), expected.expand(3, -1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt"])
def test_ask_and_compare_answer_with_the_mixtures_greedy_tokens(architecture: str) -> None:
    model, wrapped, mix = three(architecture)
    doubles = [copy.deepcopy(one) for one in wrapped.values()]
    expected = by_hand(doubles, [PLAIN] * 3, PROMPTS[0], 12)
    flags: dict[str, Any] = {"max_new_tokens": 12, "mix": mix}
    slots = Slots(model)
    answer = ask(model, TOKENIZER, PLAIN, PROMPTS[0], adapter=mix.name, slots=slots, **flags)
    assert (answer.text, answer.tokens) == (text_of(expected), len(expected))
    assert answer.adapter == mix.name
    assert slots.written == {}
    shown = compare(model, slots, TOKENIZER, mix.variants, PROMPTS[:1], **flags)
    alone = compare(model, slots, TOKENIZER, mix.variants, PROMPTS[:1], max_new_tokens=12)
    assert [pane.text for pane in shown.panes[:3]] == [pane.text for pane in alone.panes]
    assert (shown.panes[3].adapter, shown.panes[3].text) == (mix.name, text_of(expected))
    assert all(pane.batched for pane in shown.panes)
    assert text_of(expected) not in [pane.text for pane in alone.panes]


def test_it_is_not_the_model_with_the_averaged_weights() -> None:
    model, wrapped, mix = three()
    row = PLAIN.encode(TOKENIZER, PROMPTS[0])
    averaged = copy.deepcopy(model)
    for name, module in averaged.named_modules():
        for weight, variant in zip(WEIGHTS, mix.variants, strict=True):
            if name in (variant.deltas or {}):
                module.weight.data += weight * variant.deltas[name].dense()  # type: ignore[index]
    with torch.no_grad():
        other = averaged(torch.tensor([row])).logits[0, -1].softmax(-1)
    right = mixture([copy.deepcopy(one) for one in wrapped.values()], [row] * 3)
    assert float((other - right).abs().max()) > 0.01


def test_a_sample_is_drawn_from_the_mixture() -> None:
    model, wrapped, mix = three()
    row, slots = PLAIN.encode(TOKENIZER, PROMPTS[0]), Slots(model)
    p = mixture([copy.deepcopy(one) for one in wrapped.values()], [row] * 3)
    with in_blocks(slots, mix.variants).using(slots):
        for seed in range(20):
            u = torch.rand(384, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            expected = int((p.log() / 0.8 - u.log().neg().log()).argmax())
            rows = generate(
                model, TOKENIZER, [row] * 3, stop_ids=[expected], max_new_tokens=1,
                temperature=0.8, seed=seed, mix=Mixed(0, mix.weights),
            )  # fmt: skip
            assert [(one.tokens, one.ended) for one in rows] == [(1, True)] * 3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_one_member_of_weight_1_answers_as_that_adapter(temperature: float) -> None:
    model, _, mix = three()
    draw: dict[str, Any] = {"temperature": temperature, "max_new_tokens": 12}
    for variant in mix.variants:
        one = Mix("one", ((variant, 1.0),))
        shown = compare(model, Slots(model), TOKENIZER, mix.variants, PROMPTS, mix=one, **draw)
        by_name = {(pane.prompt, pane.adapter): pane.text for pane in shown.panes}
        for prompt in PROMPTS:
            assert by_name[prompt, "one"] == by_name[prompt, variant.name]


def test_each_member_reads_the_prompt_in_its_own_form() -> None:
    chat = PromptForm.of(TOKENIZER, "chat", system="Be brief.")
    model, wrapped, mix = three(form=chat)
    doubles = [copy.deepcopy(one) for one in wrapped.values()]
    expected = by_hand(doubles, [PLAIN, chat, PLAIN], PROMPTS[0], 8)
    assert expected != by_hand(doubles, [PLAIN] * 3, PROMPTS[0], 8)
    shown = compare(
        model, Slots(model), TOKENIZER, mix.variants, PROMPTS[:1], mix=mix, max_new_tokens=8
    )
    assert shown.panes[3].text == text_of(expected)


def test_without_a_common_batch_the_panes_answer_one_by_one_and_the_mix_in_one_pass() -> None:
    model, wrapped, mix = three()
    variants = [base_variant(), a_variant("a", wrapped["a"], stackable=False)]
    doubles = [copy.deepcopy(one) for one in wrapped.values()]
    texts: list[Any] = []

    def watch(partial: Any) -> bool:
        texts.append(partial())
        return False

    shown = compare(
        model,
        Slots(model),
        TOKENIZER,
        variants,
        PROMPTS[:1],
        mix=mix,
        max_new_tokens=8,
        watch=watch,
    )
    assert [pane.batched for pane in shown.panes] == [False] * 3
    expected = text_of(by_hand(doubles, [PLAIN] * 3, PROMPTS[0], 8))
    assert shown.panes[2].text == expected
    assert texts[-1] == {mix.name: expected}


def test_members_without_effect_are_called_out_and_a_diverged_one_too() -> None:
    model = a_model()
    new = a_variant("new", by_peft(model, 2, 2, zero=True))
    idle = Mix("idle", ((new, 0.5), (base_variant(), 0.5)))
    bad = by_peft(model, 2, 3)
    for name, parameter in bad.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(float("nan"))
    broken = Mix("broken", ((new, 0.5), (a_variant("bad", bad), 0.5)))
    for mix, note in ((idle, UNCHANGED), (broken, BROKEN)):
        panes = compare(
            model, Slots(model), TOKENIZER, [base_variant(), new], ["Hi"], mix=mix, max_new_tokens=4
        ).panes
        assert panes[2].note == note
        assert panes[1].note == UNCHANGED
    assert panes[2].tokens == 1


def test_virtual_tokens_and_experts_are_refused_with_the_way_out() -> None:
    model = a_model()
    prefix = VirtualTokens.__new__(VirtualTokens)
    expert = {"model.experts.0": torch.nn.Linear(2, 2)}
    model.model.experts = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
    for modules, what in (({ROOT: prefix}, "virtual tokens"), (expert, "experts")):
        odd = Variant("odd", modules, None, PLAIN)
        with pytest.raises(AdapterError, match=f"odd changes .*{what}.*--adapters odd"):
            in_blocks(Slots(model), [base_variant(), odd])
