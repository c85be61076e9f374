"""The judge of every text here is a greedy loop of three lines without cache, batch or padding."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
import torch
from transformers import GenerationConfig, TopPLogitsWarper

from lora_magic.compare.generate import Nucleus, generate
from lora_magic.errors import PromptError
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
PROMPTS = ["Hi\n", "What does a fox eat at night?\n", "Where is the library\n"]
INPUTS: list[list[int]] = [TOKENIZER(prompt)["input_ids"] for prompt in PROMPTS]


def a_model(architecture: str = "llama", **changes: Any) -> Any:
    """A tiny model with weights wide enough that its answers differ from prompt to prompt."""
    width = {"init_std": 0.5} if architecture == "opt" else {"initializer_range": 0.5}
    return tiny_model(architecture, **{**width, **changes})


@torch.no_grad()
def by_hand(model: Any, ids: list[int], count: int) -> list[int]:
    row = list(ids)
    for _ in range(count):
        row.append(int(model(torch.tensor([row])).logits[0, -1].argmax()))
    return row[len(ids) :]


def read(ids: list[int]) -> str:
    return str(TOKENIZER.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_padded_batch_answers_as_each_prompt_alone(architecture: str) -> None:
    model = a_model(architecture)
    answers = generate(model, TOKENIZER, INPUTS, stop_ids=[], max_new_tokens=12)
    assert [answer.text for answer in answers] == [read(by_hand(model, i, 12)) for i in INPUTS]
    assert len({answer.text for answer in answers}) == 3


def test_an_answer_ends_before_its_stop_token_and_counts_it() -> None:
    model = a_model()
    written = by_hand(model, INPUTS[1], 12)
    stop = written[5]
    first = written.index(stop)
    (answer,) = generate(model, TOKENIZER, [INPUTS[1]], stop_ids=[stop], max_new_tokens=12)
    assert answer.text == read(written[:first])
    assert (answer.tokens, answer.ended) == (first + 1, True)
    (cut,) = generate(model, TOKENIZER, [INPUTS[1]], stop_ids=[stop], max_new_tokens=first)
    assert (cut.text, cut.tokens, cut.ended) == (answer.text, first, False)


def test_each_row_stops_on_its_own_tokens() -> None:
    model = a_model()
    written = by_hand(model, INPUTS[1], 12)
    stop = written[5]
    stopped, free, empty = generate(
        model, TOKENIZER, [INPUTS[1]] * 3, stop_ids=[[stop], [383, 382], []], max_new_tokens=12
    )
    assert stopped.ended
    assert not free.ended
    assert free == empty
    assert free.text == read(written)


QUIRKS = {
    "do_sample": True,
    "temperature": 5.0,
    "top_k": 1,
    "repetition_penalty": 5.0,
    "no_repeat_ngram_size": 1,
    "min_new_tokens": 12,
    "suppress_tokens": list(range(5, 200)),
    "begin_suppress_tokens": list(range(200, 300)),
    "forced_eos_token_id": 301,
    "bad_words_ids": [[9]],
    "num_beams": 3,
    "eos_token_id": list(range(300, 384)),
    "max_length": 5,
}


def test_the_bases_generation_config_has_no_say_and_is_left_alone() -> None:
    model = a_model()
    expected = [read(by_hand(model, ids, 12)) for ids in INPUTS]
    model.generation_config = GenerationConfig(**QUIRKS)
    kept, before = model.generation_config, copy.deepcopy(model.generation_config.to_dict())
    answers = generate(model, TOKENIZER, INPUTS, stop_ids=[], max_new_tokens=12)
    assert [answer.text for answer in answers] == expected
    assert model.generation_config is kept
    assert kept.to_dict() == before


def test_transformers_still_mixes_the_bases_config_into_an_explicit_one() -> None:
    # The trap that `answering` steps round. If this fails, it can go.
    model = a_model()
    model.generation_config = GenerationConfig(repetition_penalty=50.0)
    explicit = GenerationConfig(max_new_tokens=12, do_sample=False)
    with torch.no_grad():
        leaked = model.generate(torch.tensor([INPUTS[1]]), generation_config=explicit)
    assert leaked[0, len(INPUTS[1]) :].tolist() != by_hand(model, INPUTS[1], 12)


def test_a_model_in_training_answers_without_dropout_and_stays_in_training() -> None:
    model = a_model("gpt2", resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    expected = read(by_hand(model, INPUTS[0], 12))
    model.train()
    model.transformer.h[1].eval()
    model.config.use_cache = False
    flags = [module.training for module in model.modules()]
    (answer,) = generate(model, TOKENIZER, INPUTS[:1], stop_ids=[], max_new_tokens=12)
    assert answer.text == expected
    assert [module.training for module in model.modules()] == flags
    assert model.config.use_cache is False


def numpy_state() -> str:
    return str(numpy.random.get_state(legacy=False))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_global_random_state_stays_as_it_was(temperature: float) -> None:
    model = a_model()
    before = torch.get_rng_state(), random.getstate(), numpy_state()
    generate(model, TOKENIZER, INPUTS, stop_ids=[], max_new_tokens=4, temperature=temperature)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert numpy_state() == before[2]


def test_draws_depend_on_the_seed_and_not_on_the_batch() -> None:
    model = tiny_model()

    def drawn(inputs: list[list[int]], seed: int) -> list[str]:
        answers = generate(
            model, TOKENIZER, inputs, stop_ids=[], max_new_tokens=12, temperature=1.0, seed=seed
        )
        return [answer.text for answer in answers]

    together = drawn(INPUTS, 1)
    assert together == [text for ids in INPUTS for text in drawn([ids], 1)]
    assert drawn(INPUTS, 1) == together
    assert drawn(INPUTS, 2) != together


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What transformers logs meanwhile: its logger does not propagate, so caplog cannot see it."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]  # a stub
    logging.getLogger("transformers").addHandler(handler)
    yield lines
    logging.getLogger("transformers").removeHandler(handler)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt"])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_nothing_is_printed_or_warned(
    architecture: str,
    temperature: float,
    said: list[str],
    capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    bare = tiny_tokenizer(pad=False)
    model = a_model(architecture)
    model.generation_config = GenerationConfig(**QUIRKS)
    said.clear()
    recwarn.clear()
    ids = [*INPUTS, [5] * 127]
    generate(model, bare, ids, stop_ids=[0], max_new_tokens=500, temperature=temperature)
    assert said == []
    assert [str(warning.message) for warning in recwarn] == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("asked", "expected"), [(None, 8), (500, 8), (3, 3)])
def test_an_answer_never_passes_the_context(asked: int | None, expected: int) -> None:
    (answer,) = generate(a_model("gpt2"), TOKENIZER, [[5] * 120], stop_ids=[], max_new_tokens=asked)
    assert (answer.tokens, answer.ended) == (expected, False)


def test_an_answer_has_two_hundred_tokens_at_most_unless_asked() -> None:
    model = a_model(max_position_embeddings=512)
    (answer,) = generate(model, TOKENIZER, INPUTS[:1], stop_ids=[])
    assert answer.tokens == 200


def test_flags_that_cannot_be_are_told_at_once() -> None:
    with pytest.raises(PromptError, match=r"--max-new-tokens 0: .*--temperature -1: "):
        generate(a_model(), TOKENIZER, INPUTS, stop_ids=[], max_new_tokens=0, temperature=-1)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(PromptError, match="--temperature"):
            generate(a_model(), TOKENIZER, INPUTS, stop_ids=[], temperature=bad)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt"])
def test_first_logits_are_those_of_the_whole_forward_pass(architecture: str) -> None:
    model = a_model(architecture)
    with torch.no_grad():
        expected = model(torch.tensor([INPUTS[1]])).logits[0, -1]
    seen: list[torch.Tensor] = []
    draw = {"temperature": 0.7, "top_p": 0.5, "max_new_tokens": 3}
    generate(model, TOKENIZER, INPUTS, stop_ids=[], first=seen.append, **draw)
    (first,) = seen
    assert (first.dtype, first.shape) == (torch.float32, (len(INPUTS), 384))
    torch.testing.assert_close(first[1], expected)


def test_an_interrupt_leaves_flags_config_and_hooks_as_they_were() -> None:
    model = a_model()
    model.train()
    kept = model.generation_config
    calls = []

    def interrupt(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    handle = model.lm_head.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        generate(model, TOKENIZER, INPUTS, stop_ids=[], max_new_tokens=12)
    handle.remove()
    assert model.generation_config is kept
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def kept_by_hand(logits: list[float], temperature: float, top_p: float) -> set[int]:
    """The fewest most likely tokens of softmax(logits/T) that reach `top_p`, in float64."""
    scaled = numpy.array(logits, dtype=numpy.float64) / temperature
    shares = numpy.exp(scaled - scaled.max())
    shares /= shares.sum()
    order = numpy.argsort(-shares)
    count = int(numpy.searchsorted(numpy.cumsum(shares[order]), top_p)) + 1
    return set(order[:count].tolist())


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 1e-30])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.999])
def test_top_p_keeps_what_transformers_keeps_after_the_temperature(
    temperature: float, top_p: float
) -> None:
    logits = torch.randn(5, 60, generator=torch.Generator().manual_seed(1)) * 3
    kept = Nucleus(temperature, top_p)(torch.zeros(5, 1), logits)
    assert torch.equal(kept[kept.isfinite()], logits[kept.isfinite()])
    for row, found in zip(logits, kept, strict=True):
        tokens = set(found.isfinite().nonzero().flatten().tolist())
        assert tokens == kept_by_hand(row.tolist(), temperature, top_p)
        if temperature > 1e-3:
            warped = TopPLogitsWarper(top_p)(torch.zeros(1, 1), row[None] / temperature)[0]
            assert tokens == set(warped.isfinite().nonzero().flatten().tolist())


def test_a_tiny_top_p_is_greedy_and_the_same_seed_gives_the_same_answer() -> None:
    model = a_model()

    def drawn(**flags: Any) -> list[str]:
        made = generate(model, TOKENIZER, INPUTS, stop_ids=[], max_new_tokens=12, **flags)
        return [answer.text for answer in made]

    assert drawn(temperature=2.0, top_p=1e-6) == drawn()
    once = drawn(temperature=2.0, top_p=0.7, seed=5)
    assert once == drawn(temperature=2.0, top_p=0.7, seed=5)
    assert once != drawn(temperature=2.0, top_p=0.7, seed=6)


@pytest.mark.parametrize("bad", [0, -0.1, 1.5, float("nan"), "0.9", True])
def test_a_top_p_that_cannot_be_is_refused(bad: Any) -> None:
    with pytest.raises(PromptError, match="--top-p"):
        generate(a_model(), TOKENIZER, INPUTS, stop_ids=[], temperature=1.0, top_p=bad)


def test_top_p_without_a_temperature_says_to_add_one() -> None:
    with pytest.raises(PromptError, match=r"--top-p 0\.9 has no effect.*--temperature 0\.7"):
        generate(a_model(), TOKENIZER, INPUTS, stop_ids=[], top_p=0.9)


def test_a_row_whose_logits_are_not_finite_ends_and_the_others_do_not() -> None:
    model = a_model()
    with torch.no_grad():
        model.model.embed_tokens.weight[INPUTS[0][0]] = float("nan")
    others = [ids for ids in INPUTS[1:] if INPUTS[0][0] not in ids]
    assert others
    made = generate(model, TOKENIZER, [INPUTS[0], *others], stop_ids=[], max_new_tokens=12)
    assert [answer.finite for answer in made] == [False, *[True] * len(others)]
    assert [a.text for a in made[1:]] == [read(by_hand(model, ids, 12)) for ids in others]
