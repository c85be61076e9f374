"""Ollama's Modelfile: read by the rules of Ollama's own parser, and its template by Go's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_magic.base.prompt import PromptForm
from lora_magic.export.gguf import modelfile
from lora_magic.export.gguf.modelfile import around_of, quoted
from tests.tiny import tiny_tokenizer

QUESTION = {"role": "user", "content": "Where is it?"}
ANSWER = {"role": "assistant", "content": "There."}
SYSTEM = {"role": "system", "content": "Be brief."}
CHATS: list[list[dict[str, str]]] = [
    [QUESTION],
    [SYSTEM, QUESTION],
    [QUESTION, ANSWER, QUESTION, ANSWER, QUESTION],
    [SYSTEM, QUESTION, ANSWER, QUESTION],
]


class Base:
    """What a Modelfile reads of a base."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.context = tokenizer, 128


class Job:
    """What a Modelfile reads of a job."""

    def __init__(self, tokenizer: Any, form: PromptForm, adapter_only: bool = False) -> None:
        self.name, self.form, self.base = "pirate", form, Base(tokenizer)
        self.options = type("Options", (), {"adapter_only": adapter_only})


def parsed(text: str) -> list[tuple[str, str]]:
    """Commands of a Modelfile: a value ends with its line, or with the quotes it began with."""
    found, lines = [], iter(text.splitlines(keepends=True))
    for line in lines:
        if line.startswith("#") or not line.strip():
            continue
        name, value = line.split(" ", 1)
        quotes = '"""' if value.startswith('"""') else '"' if value.startswith('"') else ""
        while quotes and not (
            len(value.strip()) >= 2 * len(quotes) and value.strip().endswith(quotes)
        ):
            value += next(lines)
        value = value.strip()
        found.append((name, value[len(quotes) : len(value) - len(quotes)]))
    return found


def run(template: str, chat: list[dict[str, str]]) -> str:
    """What Go's text/template makes of the few statements that are used."""
    system = "".join(turn["content"] for turn in chat if turn["role"] == "system")
    head, body = re.split(r"{{ range \.Messages }}", template, maxsplit=1)
    assert head == "{{ $first := true }}"
    found, first = "", True
    for turn in chat:
        write, conditions = True, [True]
        for part in re.split(r"({{.*?}})", body.removesuffix("{{ end }}")):
            write = all(conditions)
            match part:
                case "{{ end }}":
                    conditions.pop()
                case "{{ else }}":
                    conditions[-1] = not conditions[-1]
                case "{{ if $first }}":
                    conditions.append(first)
                case "{{ if $.System }}":
                    conditions.append(bool(system))
                case '{{ if eq .Role "user" }}':
                    conditions.append(turn["role"] == "user")
                case '{{ else if eq .Role "assistant" }}':
                    conditions[-1] = turn["role"] == "assistant"
                case "{{ $first = false }}":
                    first = first and not write
                case "{{ .Content }}":
                    found += turn["content"] if write else ""
                case "{{ $.System }}":
                    found += system if write else ""
                case _:
                    assert "{{" not in part
                    found += part if write else ""
    return found


TEMPLATES = {
    "chatml": tiny_tokenizer(chat=True).chat_template,
    "system in the first turn": (
        "{% set ns = namespace(s='') %}{% for m in messages %}{% if m['role'] == 'system' %}"
        "{% set ns.s = m['content'] + '\n' %}{% elif m['role'] == 'user' %}"
        "{{ '[ASK]' + ns.s + m['content'] + '[/ASK]' }}{% set ns.s = '' %}{% else %}"
        "{{ m['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_ollama_writes_the_prompts_of_the_chat_template(name: str) -> None:
    tokenizer: Any = tiny_tokenizer(chat=True)
    tokenizer.chat_template = TEMPLATES[name]
    around = around_of(tokenizer)
    assert around is not None
    for chat in CHATS:
        there = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        assert around.text(chat) == run(around.go, chat) == there


def test_a_template_that_does_more_is_left_out_and_said(tmp_path: Path) -> None:
    tokenizer: Any = tiny_tokenizer(chat=True)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ loop.index }}: {{ m['content'] }}\n{% endfor %}"
    )
    notes = modelfile.write(Job(tokenizer, PromptForm.of(tokenizer)), tmp_path)  # type: ignore[arg-type]  # a stand-in
    assert "has no TEMPLATE" in notes[0]
    assert "TEMPLATE" not in dict(parsed((tmp_path / "Modelfile").read_text()))


@pytest.mark.parametrize("system", ["Be brief.", 'Say "no".', "two\nlines", ' "quoted" ', "# not"])
def test_a_system_message_is_read_as_it_was_typed(tmp_path: Path, system: str) -> None:
    tokenizer: Any = tiny_tokenizer(chat=True)
    form = PromptForm.of(tokenizer, system=system)
    assert modelfile.write(Job(tokenizer, form), tmp_path) == ()  # type: ignore[arg-type]  # a stand-in
    commands = parsed((tmp_path / "Modelfile").read_text())
    assert ("SYSTEM", system) in commands
    assert ("FROM", "./pirate.gguf") in commands
    assert {line for name, line in commands if name == "PARAMETER"} == {
        'stop "<|im_end|>"',
        'stop "<|endoftext|>"',
        "num_ctx 128",
        "temperature 0",
        "repeat_penalty 1",
    }


def test_a_system_message_that_no_quotes_hold_is_left_out_and_said(tmp_path: Path) -> None:
    tokenizer: Any = tiny_tokenizer(chat=True)
    form = PromptForm.of(tokenizer, system='x"""\nFROM other')
    (note,) = modelfile.write(Job(tokenizer, form), tmp_path)  # type: ignore[arg-type]  # a stand-in
    assert "no SYSTEM" in note
    assert "other" not in (tmp_path / "Modelfile").read_text()
    assert quoted('"""') is None


def test_a_plain_prompt_is_sent_with_a_newline_and_an_adapter_names_its_base(
    tmp_path: Path,
) -> None:
    tokenizer: Any = tiny_tokenizer()
    form = replace(PromptForm.of(tokenizer), end_token=None)
    modelfile.write(Job(tokenizer, form, adapter_only=True), tmp_path)  # type: ignore[arg-type]  # a stand-in
    commands = dict(parsed((tmp_path / "Modelfile").read_text()))
    assert commands["TEMPLATE"] == "{{ .Prompt }}\n"
    assert commands["FROM"] == "../base-gguf/base.gguf"
    assert commands["ADAPTER"] == "./pirate.gguf"
