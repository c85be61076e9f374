from __future__ import annotations

import copy
import logging

import pytest
import torch

from lora_magic.adapters.slots import Slots
from lora_magic.base.prompt import PromptForm
from lora_magic.compare.ask import ask
from lora_magic.errors import PromptError
from tests.tiny import tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer(chat=True)


@pytest.mark.parametrize("kind", ["chat", "plain"])
def test_a_prompt_is_answered_in_its_form(kind: str) -> None:
    model = tiny_model(initializer_range=0.3)
    form = PromptForm.of(TOKENIZER, kind)
    answer = ask(model, TOKENIZER, form, "Hi", adapter="pirate", max_new_tokens=6)
    row = form.encode(TOKENIZER, "Hi")
    start = len(row)
    with torch.no_grad():
        for _ in range(6):
            row.append(int(model(torch.tensor([row])).logits[0, -1].argmax()))
    assert answer.text == TOKENIZER.decode(row[start:], skip_special_tokens=True)
    assert (answer.adapter, answer.prompt, answer.tokens) == ("pirate", "Hi", 6)
    assert answer.seconds > 0


def test_a_prompt_that_fills_the_context_says_what_fits() -> None:
    form, model = PromptForm.of(TOKENIZER, "plain"), tiny_model()
    prompt = "x" * 127
    assert len(form.encode(TOKENIZER, prompt)) == 128
    with pytest.raises(PromptError, match=r"context of 128 tokens: 'x+…' has 128; .* 127 or fewer"):
        ask(model, TOKENIZER, form, prompt, adapter="base")
    assert ask(model, TOKENIZER, form, prompt[1:], adapter="base").tokens == 1
    with pytest.raises(PromptError, match=r"context of 64 tokens"):
        ask(model, TOKENIZER, form, prompt[1:], adapter="base", context=64)


def test_the_tokenizers_own_warning_about_length_stays_out_of_the_cell() -> None:
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]  # a stub
    logging.getLogger("transformers").addHandler(handler)
    try:
        fresh = tiny_tokenizer()
        with pytest.raises(PromptError):
            ask(tiny_model(), fresh, PromptForm.of(fresh), "x" * 500, adapter="base")
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert said == []


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(PromptError, match="empty"):
        ask(tiny_model(), TOKENIZER, PromptForm.of(TOKENIZER), "  ", adapter="base")


TURNS = [
    {"role": "system", "content": "You answer in one short sentence."},
    {"role": "user", "content": "Where is the library?"},
    {"role": "assistant", "content": "Arr"},
    {"role": "user", "content": "What does a fox eat?"},
]


def test_a_conversation_is_answered_after_all_its_turns() -> None:
    model = tiny_model(initializer_range=0.3)
    form = PromptForm.of(TOKENIZER, "chat")
    answer = ask(model, TOKENIZER, form, TURNS, adapter="base", max_new_tokens=6)
    rendered = "".join(
        f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in TURNS
    )
    row = TOKENIZER(f"{rendered}<|im_start|>assistant\n")["input_ids"]
    start = len(row)
    with torch.no_grad():
        for _ in range(6):
            row.append(int(model(torch.tensor([row])).logits[0, -1].argmax()))
    assert answer.text == TOKENIZER.decode(row[start:], skip_special_tokens=True)
    assert (answer.prompt, answer.before) == ("What does a fox eat?", 3)
    assert "after 3 turns" in str(answer._repr_mimebundle_()["text/html"])


def user(content: object = "Hi", role: object = "user") -> dict[str, object]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("turns", "fault"),
    [
        ([], "it is empty"),
        ([user(), user(role="assistant")], "last turn must be the user's, but turn 2"),
        ([user(role="human")], "turn 1 has the role 'human'"),
        ([user(role=None)], "turn 1 has the role None"),
        ([user(), user(role="system"), user()], "turn 2 is a system turn"),
        ([user(""), user(3)], "turn 1: its content is empty; turn 2: expected its content as text"),
        ([user("half \ud83d")], "turn 1: character 6 of its content"),
        (["Hi"], "turn 1 is a str, not a dict"),
        ([{}] * 9, "and 6 more"),
    ],
)
def test_turns_that_are_no_conversation_are_one_line(turns: list[object], fault: str) -> None:
    form = PromptForm.of(TOKENIZER, "chat")
    with pytest.raises(PromptError) as refused:
        ask(tiny_model(), TOKENIZER, form, turns, adapter="base")  # type: ignore[arg-type]
    assert fault in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_text_so_far_is_a_growing_start_of_the_answer() -> None:
    model, form = tiny_model(initializer_range=0.3), PromptForm.of(TOKENIZER, "plain")
    seen: list[str] = []
    answer = ask(
        model,
        TOKENIZER,
        form,
        "Hi",
        adapter="base",
        max_new_tokens=8,
        watch=lambda text: seen.append(text()) or False,  # type: ignore[func-returns-value]
    )
    assert len(seen) == answer.tokens == 8
    assert seen[-1] == answer.text
    assert not answer.stopped


def test_an_answer_that_watch_ends_is_the_text_so_far() -> None:
    model, form = tiny_model(initializer_range=0.3), PromptForm.of(TOKENIZER, "plain")
    calls: list[int] = []

    def watch(_: object) -> bool:
        calls.append(1)
        return len(calls) == 3

    answer = ask(model, TOKENIZER, form, "Hi", adapter="base", max_new_tokens=8, watch=watch)
    whole = ask(model, TOKENIZER, form, "Hi", adapter="base", max_new_tokens=3)
    assert (answer.text, answer.tokens, answer.stopped) == (whole.text, 3, True)
    assert "stopped by you" in answer.line


def test_a_base_that_is_not_finite_is_named() -> None:
    model, form = tiny_model(), PromptForm.of(TOKENIZER, "plain")
    with torch.no_grad():
        model.get_submodule("model.layers.0.mlp.up_proj").weight[0, 0] = float("nan")
    with pytest.raises(PromptError, match=r"base's logits are not finite.*layers\.0\.mlp\.up_proj"):
        ask(model, TOKENIZER, form, "Hi", adapter="pirate")


def test_an_adapter_that_is_not_finite_on_a_base_that_is_has_diverged() -> None:
    model, form = tiny_model(), PromptForm.of(TOKENIZER, "plain")
    slots = Slots(model)
    path = "model.layers.0.mlp.up_proj"
    bad = copy.deepcopy(model.get_submodule(path))
    torch.nn.init.constant_(bad.weight, float("nan"))  # type: ignore[arg-type]
    with (
        slots.using({path: bad}),
        pytest.raises(PromptError, match=r"logits of pirate .*the base's are: its training"),
    ):
        ask(model, TOKENIZER, form, "Hi", adapter="pirate", slots=slots)
