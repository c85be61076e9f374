"""Both readings of an adapter: a dense copy in float64, read row by row, is the judge."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import nn

from lora_magic.adapters.slots import Slots
from lora_magic.compare import learned as reading
from lora_magic.compare.learned import LEAST, NEW_TOKENS, learned
from lora_magic.compare.lens import Lens
from lora_magic.compare.readout import Readout, find_readout
from lora_magic.compare.stack import Variant
from lora_magic.compare.words import word_at, words
from lora_magic.errors import PromptError
from tests.compare.test_compare import PLAIN, TARGETS, TOKENIZER, a_model, a_variant, by_peft
from tests.tiny import ARCHITECTURES, tiny_model

QUESTIONS = ["What does a fox eat?", "Hi", "Where is the library, and what is it like inside?"]
CONTEXT = 64


def a_lens(model: Any, variant: Variant, questions: list[str] = QUESTIONS, **more: Any) -> Lens:
    given = {"context": CONTEXT, **more}
    return learned(model, Slots(model), TOKENIZER, variant, questions, **given)


@pytest.fixture(scope="module")
def llama() -> tuple[Any, Variant, Lens]:
    """A model, an adapter with a ΔW, and what is read of it; none of them is changed."""
    model = a_model()
    variant = a_variant("a", by_peft(model, 4, 1))
    return model, variant, a_lens(model, variant)


def dense(model: Any, variant: Variant) -> Any:
    """A copy of the base in float64, with W + ΔW written into its weights."""
    made = copy.deepcopy(model).double()
    for path, update in (variant.deltas or {}).items():
        layer = made.get_submodule(path)
        change = update.scale * update.up.double() @ update.down.double()
        layer.weight.data += change if isinstance(layer, nn.Linear) else change.T
    return made


@torch.no_grad()
def by_hand(model: Any, own: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The score of every token, and the mean difference after each layer, one row at a time."""
    base = copy.deepcopy(model).double()
    gains, moved = [], []
    for question in QUESTIONS:
        row = PLAIN.encode(TOKENIZER, question)
        start = len(row)
        while len(row) < min(start + NEW_TOKENS, CONTEXT):
            row.append(int(own(torch.tensor([row])).logits[0, -1].argmax()))
            if row[-1] in PLAIN.stop_ids:
                break
        ids = torch.tensor([row[:-1]])
        a, b = (one(ids, output_hidden_states=True) for one in (own, base))
        p, q = (one.logits[0, start - 1 :].log_softmax(-1) for one in (a, b))
        gains.append(p.exp() * (p - q).clamp(min=0))
        moved.append(
            [
                x[0, :start] - y[0, :start]
                for x, y in zip(a.hidden_states, b.hidden_states, strict=True)
            ]
        )
    # The last state of the tuple is after the final norm, so it is left out.
    layers = [torch.cat(parts).mean(0) for parts in zip(*moved, strict=True)][1:-1]
    return torch.cat(gains).mean(0), layers


@pytest.mark.parametrize("architecture", list(TARGETS))
def test_both_readings_are_those_of_the_dense_models_in_float64(architecture: str) -> None:
    model = a_model(architecture)
    variant = a_variant("a", by_peft(model, 4, 1))
    scores, moved = by_hand(model, dense(model, variant))
    found = a_lens(model, variant)
    scores[[*TOKENIZER.all_special_ids, *PLAIN.stop_ids]] = 0
    best = scores.sort(descending=True)
    assert found.of("answers")[0].score == pytest.approx(float(best.values[0]), abs=1e-5)
    # 20 different words come from the first 40 tokens, in their order.
    shown = [one.score for one in found.of("answers")]
    expected = best.values[:40].tolist()
    assert all(min(abs(one - other) for other in expected) < 1e-5 for one in shown)
    assert shown == sorted(shown, reverse=True)
    assert min(shown) >= LEAST
    (norm, head) = {
        "llama": lambda m: (m.model.norm, m.lm_head),
        "gpt2": lambda m: (m.transformer.ln_f, m.lm_head),
        "opt": lambda m: (m.model.decoder.final_layer_norm, m.lm_head),
    }[architecture](model)
    for layer, direction in enumerate(moved):
        gain = norm.weight.double()
        centred = direction - direction.mean() if architecture != "llama" else direction
        logits = head.weight.double() @ (gain * centred)
        logits[[*TOKENIZER.all_special_ids, *PLAIN.stop_ids]] = -torch.inf
        ids = logits.sort(descending=True).indices[:10].tolist()
        own = [one.token for one in found.of("states", layer)][:10]
        assert own == [reading.shown(TOKENIZER.decode([i])) for i in ids]


def test_the_random_direction_beside_them_follows_the_seed_alone(
    llama: tuple[Any, Variant, Lens],
) -> None:
    model, variant, first = llama
    again, other = (a_lens(model, variant, seed=seed) for seed in (0, 1))
    assert first.of("random", 0) == again.of("random", 0)
    assert first.of("random", 0) != other.of("random", 0)
    assert first.of("random", 0) != first.of("random", 1)
    assert first.of("answers") == other.of("answers")
    assert first.of("states", 1) == other.of("states", 1)
    assert len(first.of("random", 1)) == 20


def test_without_an_effect_no_token_is_shown_and_no_layer_moves() -> None:
    model = a_model()
    found = a_lens(model, a_variant("a", by_peft(model, 4, 1, zero=True)))
    assert found.tokens == ()
    assert [one.change for one in found.layers] == [0.0, 0.0]
    assert "no token more likely" in found.no_words


def test_it_does_not_matter_how_many_rows_share_a_pass(
    llama: tuple[Any, Variant, Lens], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, variant, together = llama
    monkeypatch.setattr(reading, "MOST", 1)
    monkeypatch.setattr(reading, "_BATCH", 2)
    alone = a_lens(model, variant)
    for one, other in zip(together.tokens, alone.tokens, strict=True):
        assert (one.reading, one.layer, one.rank) == (other.reading, other.layer, other.rank)
        assert one.score == pytest.approx(other.score, rel=1e-3, abs=1e-5)
    assert together.positions == alone.positions
    assert [one.token for one in together.of("answers")][:5] == [
        one.token for one in alone.of("answers")
    ][:5]


def test_the_model_is_left_as_it_was(llama: tuple[Any, Variant, Lens]) -> None:
    model, variant, _ = llama
    slots = Slots(model)
    before = {name: dict(module._forward_hooks) for name, module in model.named_modules()}
    learned(model, slots, TOKENIZER, variant, QUESTIONS[1:2], context=CONTEXT)
    assert slots.written == {}
    assert before == {name: dict(module._forward_hooks) for name, module in model.named_modules()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_norm_and_head_are_found_in_every_architecture(architecture: str) -> None:
    model = tiny_model(architecture)
    found = find_readout(model)
    assert isinstance(found, Readout)
    names = {module: path for path, module in model.named_modules()}
    assert len(found.layers) == 2
    assert len({path.rpartition(".")[0] for path in found.layers}) == 1
    assert names[found.norm].rpartition(".")[2] in (
        *("norm", "ln_f", "final_layernorm", "final_layer_norm"),
    )
    assert found.head is model.get_output_embeddings()
    assert found.logits(torch.randn(3, model.config.hidden_size)).shape[0] == 3


def test_a_direction_is_read_without_its_length_and_without_what_a_bias_adds() -> None:
    model = a_model("gpt2")
    model.transformer.ln_f.bias.data.normal_()
    found = find_readout(model)
    assert isinstance(found, Readout)
    direction = torch.randn(1, model.config.hidden_size)
    first, second = found.logits(direction), found.logits(1e-4 * direction)
    assert torch.allclose(first, second, rtol=1e-3, atol=1e-4)
    centred = direction - direction.mean()
    plain = (centred / centred.std(correction=0) * model.transformer.ln_f.weight) @ (
        model.lm_head.weight.T
    )
    assert torch.allclose(first, plain, rtol=1e-3, atol=1e-3)


def test_what_has_no_head_or_norm_is_said_and_the_answers_are_still_read() -> None:
    model = a_model()
    variant = a_variant("a", by_peft(model, 4, 1))
    model.model.norm = nn.Identity()
    found = a_lens(model, variant, QUESTIONS[:1])
    assert "no final norm" in found.no_states
    assert found.of("states", 0) == ()
    assert found.of("answers")
    model.get_output_embeddings = lambda: None
    assert "no output embeddings" in a_lens(model, variant, QUESTIONS[1:2]).no_states


def test_a_stop_keeps_what_was_answered_until_then(llama: tuple[Any, Variant, Lens]) -> None:
    model, variant, _ = llama
    calls: list[str] = []

    def watch(line: Any) -> bool:
        calls.append(line())
        return len(calls) > 8

    found = a_lens(model, variant, watch=watch)
    assert found.stopped
    assert "stopped by you" in found.line
    assert found.of("answers")
    nothing = a_lens(model, variant, watch=lambda line: True)
    assert nothing.tokens == ()
    assert "before it answered" in nothing.line


def test_questions_without_room_for_an_answer_are_named(
    llama: tuple[Any, Variant, Lens],
) -> None:
    model, variant, _ = llama
    with pytest.raises(PromptError, match="1 row too long for a context of 9 tokens"):
        a_lens(model, variant, context=9)
    # The answer fills the context: there is no room for a word's other tokens.
    longest = max(len(PLAIN.encode(TOKENIZER, one)) for one in QUESTIONS)
    assert a_lens(model, variant, context=longest + 1).answered == len(QUESTIONS)


def test_logits_that_are_not_finite_are_refused() -> None:
    model = a_model()
    wrapped = by_peft(model, 4, 1)
    variant = a_variant("a", wrapped)
    next(iter(variant.replacements.values())).lora_B["default"].weight.data.fill_(torch.nan)
    with pytest.raises(PromptError, match="not finite"):
        a_lens(model, dataclasses.replace(variant, deltas=None))


def test_tokens_that_the_model_excludes_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "phi", ["q_proj", "dense"])
    model = a_model("phi")
    model.lm_head.bias.data[300:] = -torch.inf
    found = a_lens(model, a_variant("a", by_peft(model, 4, 1)))
    shown = {one.token for one in found.tokens}
    assert found.of("answers")
    assert len(found.of("states", 1)) == 20
    assert shown.isdisjoint(TOKENIZER.decode([i]) for i in range(300, 384))
    assert all(math.isfinite(one.score) for one in found.tokens)


def test_a_word_is_a_run_of_letters_with_its_apostrophes_or_of_signs() -> None:
    text = "Arr, don't! an' {\"topic\": [\n\n- नमस्ते 3rd\x06x"
    assert [word for _, word in words(text)] == [
        *(
            "Arr",
            ",",
            "don't",
            "!",
            "an'",
            '{"',
            "topic",
            '":',
            "[",
            "↵",
            "-",
            "नमस्ते",
            "3rd",
            "\x06",
            "x",
        ),
    ]
    assert all(text[place] != " " for place, _ in words(text))


def test_a_token_becomes_the_word_that_it_is_a_part_of() -> None:
    ids = TOKENIZER.encode("Arr, be down by the harbour, matey!")
    for place, token in enumerate(ids):
        text, word = word_at(TOKENIZER, ids[:place], token, ids[place + 1 :])
        assert text.strip() in ("", word) or text.strip() in word
        assert word in ("Arr", ",", "be", "down", "by", "the", "harbour", "matey", "!", "␣")
