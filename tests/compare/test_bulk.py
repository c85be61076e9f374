"""A column's answers are those of its prompts one by one, whatever shares a batch with them.

The references are separate calls of `ask`, and transformers' own `generate` of a single row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lora_magic.base.prompt import PromptForm
from lora_magic.compare import bulk
from lora_magic.compare.ask import ask
from lora_magic.compare.bulk import Answers, ask_all, classify_all
from lora_magic.compare.classify import classify
from lora_magic.errors import PromptError
from tests.classifiers import closing_tokenizer, tiny_classifier
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer(chat=True)
FORM = PromptForm.of(TOKENIZER, "plain")
TEXT = "What does a fox eat at night? Arr, the library be down by the harbour"
PROMPTS = [" ".join(TEXT.split()[:count]) for count in (3, 14, 1, 7, 3, 9, 14, 2, 11)]


def a_model(architecture: str = "llama", **changes: Any) -> Any:
    width = {"init_std": 0.5} if architecture == "opt" else {"initializer_range": 0.5}
    return tiny_model(architecture, **{**width, **changes})


def answers(model: Any, prompts: list[str], **flags: Any) -> Answers:
    return ask_all(model, TOKENIZER, FORM, prompts, adapter="base", **flags)


def texts(found: Answers) -> list[str | None]:
    return [row.answer for row in found.rows]


@torch.no_grad()
def by_transformers(model: Any, prompt: str, count: int) -> str:
    row = torch.tensor([FORM.encode(TOKENIZER, prompt)])
    ends = [*FORM.stop_ids]
    out = model.generate(
        row, max_new_tokens=count, do_sample=False, eos_token_id=ends, pad_token_id=3
    )
    return str(TOKENIZER.decode(out[0, row.shape[1] :], skip_special_tokens=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("most", [bulk.BATCH_TOKENS, 60])
def test_greedy_answers_are_those_of_transformers_row_by_row(
    architecture: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH_TOKENS", most)
    model = a_model(architecture)
    expected = [by_transformers(model, prompt, 12) for prompt in PROMPTS]
    assert texts(answers(model, PROMPTS, max_new_tokens=12)) == expected
    assert len(set(expected)) > 5


@pytest.mark.parametrize("flags", [{}, {"temperature": 1.0, "seed": 4, "top_p": 0.8}])
def test_every_field_is_that_of_a_separate_answer(flags: dict[str, Any]) -> None:
    model = a_model()
    found = answers(model, PROMPTS, max_new_tokens=30, **flags)
    for row in found.rows:
        alone = ask(model, TOKENIZER, FORM, row.prompt, adapter="base", max_new_tokens=30, **flags)
        assert (row.answer, row.tokens) == (alone.text, alone.tokens)  # type: ignore[union-attr]
        assert row.finished == alone.ended  # type: ignore[union-attr]


def test_near_the_context_each_answer_is_as_long_as_alone() -> None:
    model = a_model("gpt2")
    prompts = ["x" * length for length in (60, 100, 101, 120, 90)]
    found = answers(model, prompts, max_new_tokens=50)
    alone = [
        ask(model, TOKENIZER, FORM, prompt, adapter="base", max_new_tokens=50) for prompt in prompts
    ]
    assert texts(found) == [answer.text for answer in alone]
    assert len({answer.tokens for answer in alone}) > 2, "some answers are cut by the context"


def test_one_row_for_each_prompt_in_its_order_and_empty_ones_are_counted() -> None:
    prompts = ["Arr", "", "What", "  \n", "Arr"]
    found = answers(a_model(), prompts, max_new_tokens=4)
    assert [row.prompt for row in found.rows] == prompts
    empty = [row.cells for row in found.rows if not row.prompt.strip()]
    assert empty == [("", 0, True), ("", 0, True)]
    assert found.rows[0] == found.rows[4]
    assert (found.empty, found.answered) == (2, 3)
    assert "3 of 3 rows answered · 2 rows without a prompt" in found.line


def test_only_empty_prompts_are_no_error_and_run_nothing() -> None:
    found = answers(None, ["", " "], context=10)
    assert texts(found) == ["", ""]


def test_the_frame_has_whole_numbers_also_where_a_row_was_not_answered() -> None:
    found = answers(a_model(), PROMPTS, max_new_tokens=6, watch=lambda _: True)
    table = found.to_frame()
    assert list(table.columns) == ["prompt", "adapter", "answer", "tokens", "finished"]
    assert list(table.prompt) == PROMPTS
    assert list(table.answer) == [None] * len(PROMPTS)
    assert str(table.tokens.dtype) == "Int64"
    assert not table.finished.any()


def test_a_stop_keeps_the_complete_answers_and_nothing_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "BATCH_TOKENS", 60)
    model = a_model()
    whole = answers(model, PROMPTS, max_new_tokens=12)
    lines: list[str] = []

    def watch(line: Callable[[], str]) -> bool:
        lines.append(line())
        return " of 7 prompts answered" in lines[-1] and not lines[-1].startswith(("0", "1"))

    found = answers(model, PROMPTS, max_new_tokens=12, watch=watch)
    done = [row for row in found.rows if row.answer is not None]
    assert 0 < len(done) < len(PROMPTS)
    assert found.stopped
    assert "stopped by you" in found.line
    for row, expected in zip(found.rows, whole.rows, strict=True):
        assert row.answer is None or row == expected


def test_a_stop_in_the_middle_of_a_batch_keeps_the_rows_that_had_ended() -> None:
    model = a_model()
    whole = answers(model, PROMPTS, max_new_tokens=12)
    stop_after = 5
    # The model's own third token of the first prompt ends an answer.
    row = FORM.encode(TOKENIZER, PROMPTS[0])
    with torch.no_grad():
        for _ in range(3):
            row.append(int(model(torch.tensor([row])).logits[0, -1].argmax()))
    form = PromptForm("plain", None, None, row[-1], (row[-1],))
    calls: list[int] = []

    def watch(_: Callable[[], str]) -> bool:
        calls.append(1)
        return len(calls) >= len(set(PROMPTS)) + stop_after

    found = ask_all(model, TOKENIZER, form, PROMPTS, adapter="base", max_new_tokens=12, watch=watch)
    assert found.stopped
    kept = [row for row in found.rows if row.answer is not None]
    assert kept
    assert all(row.finished for row in kept if isinstance(row, bulk.TextRow))
    assert found.rows[0].answer is not None
    assert len(kept) < len(whole.rows)


def test_prompts_beyond_the_context_are_one_error_with_their_rows() -> None:
    prompts = ["Hi", *["x" * 200] * 12, "Hi"]
    with pytest.raises(PromptError) as refused:
        answers(a_model(), prompts)
    text = str(refused.value)
    assert text.startswith("12 rows too long for a context of 128 tokens, by row and tokens: 2 (")
    assert "9 (201) and 4 more" in text
    assert "\n" not in text


def test_rows_that_cannot_be_read_are_one_error_with_their_numbers() -> None:
    prompts = ["Hi", "a\ud83d", "b\ud83d", "c\ud83d", "d\ud83d"]
    with pytest.raises(PromptError, match=r"row 2: .*; row 3: .*; row 4: .*; and 1 more rows\. No"):
        answers(a_model(), prompts)


def test_a_batch_that_does_not_fit_in_memory_is_halved() -> None:
    model = a_model()
    expected = texts(answers(model, PROMPTS, max_new_tokens=6))
    sizes: list[int] = []

    def scarce(module: nn.Module, args: Any, kwargs: Any) -> None:
        ids = kwargs["input_ids"]
        sizes.append(len(ids))
        if len(ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(scarce, with_kwargs=True)
    assert texts(answers(model, PROMPTS, max_new_tokens=6)) == expected
    assert max(sizes) > 2
    assert sizes[-1] <= 2


def test_a_lack_of_memory_for_one_row_passes_through() -> None:
    model = a_model()

    def none(module: nn.Module, args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(none)
    with pytest.raises(torch.OutOfMemoryError):
        answers(model, PROMPTS)


def test_a_base_that_is_not_finite_is_named() -> None:
    model = a_model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(PromptError, match=r"base's logits are not finite.*layers\.1\.mlp\.up_proj"):
        answers(model, PROMPTS)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_labels_are_those_of_each_text_alone(architecture: str) -> None:
    tokenizer, labels = closing_tokenizer(), ("no", "so-so", "yes")
    model = tiny_classifier(architecture, 3)
    prompts = [*PROMPTS, ""]
    found = classify_all(model, tokenizer, prompts, labels, adapter="base")
    for row in found.rows[:-1]:
        alone = classify(model, tokenizer, row.prompt, labels, adapter="base")
        assert row.answer == alone.label
        assert row.cells[1] == pytest.approx(alone.probability, abs=1e-6)
    assert found.rows[-1].cells == (None, None)
    assert list(found.to_frame().columns) == ["prompt", "adapter", "label", "probability"]
