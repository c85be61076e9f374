"""Ollama's `Modelfile` beside a GGUF file: what it serves, with which prompt and which stops.

Ollama does not run a chat template (Jinja): it compares it with those that it knows, and sends the
bare prompt if it knows none. So the template is probed with made-up turns and written in Ollama's
own language (Go's text/template), if it only puts fixed texts around the turns. Knows prompt forms
and texts; knows no tensor.

Sources, in ollama/ollama: `docs/modelfile.md`; `parser/parser.go` (quoting, which has no escapes);
`template/template.go` (what a template is given).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.base.prompt import PromptForm
from lora_magic.base.template import Turn, render
from lora_magic.base.tokens import added_ids
from lora_magic.errors import PromptError
from lora_magic.export.job import Job

#: Where an adapter's `Modelfile` looks for its base: beside its own folder.
BASE = Path("base-gguf", "base.gguf")

#: Tokens of context at most: Ollama reserves memory for all of them.
_CONTEXT = 8192

#: Contents that no template changes and that no template has.
_SYSTEM, _ASKED, _SAID = "Sq7system", "Uq7user", "Aq7answer"


@dataclass(frozen=True)
class Around:
    """The fixed texts that a chat template puts around contents.

    `first` is before the first user's turn, without a system message; with one, `system` has the
    texts before and after it (None if the template has no place for one). `after` follows a user's
    turn, `between` an answer that another turn follows.
    """

    first: str
    system: tuple[str, str] | None
    after: str
    between: str

    def text(self, turns: Sequence[Turn]) -> str:
        """A conversation up to its next answer, as Ollama writes it by `go`."""
        found, first = "", self.first
        for turn in turns:
            content = str(turn["content"])
            if turn["role"] == "system" and self.system:
                first = self.system[0] + content + self.system[1]
            elif turn["role"] == "user":
                found += first + content + self.after
                first = self.between
            else:
                found += content
        return found

    @property
    def go(self) -> str:
        """The same in Go's text/template."""
        start = self.first
        if self.system:
            before, after = self.system
            start = f"{{{{ if $.System }}}}{before}{{{{ $.System }}}}{after}"
            start += f"{{{{ else }}}}{self.first}{{{{ end }}}}"
        return (
            "{{ $first := true }}{{ range .Messages }}"
            '{{ if eq .Role "user" }}'
            f"{{{{ if $first }}}}{start}{{{{ else }}}}{self.between}{{{{ end }}}}"
            f"{{{{ $first = false }}}}{{{{ .Content }}}}{self.after}"
            '{{ else if eq .Role "assistant" }}{{ .Content }}'
            "{{ end }}{{ end }}"
        )


def write(job: Job, folder: Path) -> tuple[str, ...]:
    """Write `folder/Modelfile`; returns what a person should know."""
    form, notes = job.form, []
    assert form is not None  # a classifier was refused
    lines = list(_models(job))
    template = _template(job.base.tokenizer, form)
    if template is None:
        lines.append("# No TEMPLATE: the chat template does more than put texts around the turns.")
        notes.append(
            "the Modelfile has no TEMPLATE: Ollama lacks this chat template unless it is one that "
            "it ships; llama-server reads it from the GGUF file"
        )
    else:
        lines.append(f"TEMPLATE {template}")
    if form.system is not None:
        system = quoted(form.system)
        if system is None:
            notes.append('the Modelfile has no SYSTEM: the system message has """ in it')
        else:
            lines.append(f"SYSTEM {system}")
    stops = (quoted(str(job.base.tokenizer.convert_ids_to_tokens(stop))) for stop in form.stop_ids)
    lines += [
        *(f"PARAMETER stop {stop}" for stop in stops if stop),
        f"PARAMETER num_ctx {min(job.base.context, _CONTEXT)}",
        "# The likeliest token each time, as in the notebook; remove these for Ollama's sampling.",
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
    ]
    (folder / "Modelfile").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tuple(notes)


def quoted(text: str) -> str | None:
    '''A value as a Modelfile holds it; None if it cannot, since there is no escape for """.'''
    if '"""' in text:
        return None
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'


def _models(job: Job) -> Iterator[str]:
    if job.options.adapter_only:
        yield "# The base's own file is written by: %lora export base --to gguf"
        yield f"FROM ../{BASE.as_posix()}"
        yield f"ADAPTER ./{job.name}.gguf"
    else:
        yield f"FROM ./{job.name}.gguf"


def _template(tokenizer: Any, form: PromptForm) -> str | None:
    if form.kind == "plain":
        return '"""{{ .Prompt }}\n"""'
    around = around_of(tokenizer)
    texts = (around.first, around.after, around.between, *(around.system or ())) if around else ()
    # Go reads {{ as its own, and a text that ends a line with a quote could end the value.
    if around is None or any("{{" in text or '"' in text for text in texts):
        return None
    return f'"""{around.go}"""'


def around_of(tokenizer: Any) -> Around | None:
    """The fixed texts of a chat template; None if it is not made of such."""
    asked = [_turn("user", f"{_ASKED}{n}") for n in range(3)]
    said = [_turn("assistant", f"{_SAID}{n}") for n in range(2)]
    chat = [asked[0], said[0], asked[1], said[1], asked[2]]
    try:
        whole = render(tokenizer, chat)
        first, rest = whole.split(str(asked[0]["content"]))
        after, rest = rest.split(str(said[0]["content"]))
        between, _ = rest.split(str(asked[1]["content"]))
    except (PromptError, ValueError):
        return None
    start = _start(tokenizer, first)
    found = Around(first[len(start) :], _system(tokenizer, start, chat), after, between)
    system = [_turn("system", _SYSTEM)] if found.system else []
    for turns in ([asked[0]], chat, [*system, asked[0]], [*system, *chat]):
        if start + found.text(turns) != render(tokenizer, turns):
            return None
    return found


def _system(tokenizer: Any, start: str, chat: Sequence[Turn]) -> tuple[str, str] | None:
    try:
        whole = render(tokenizer, [_turn("system", _SYSTEM), *chat])
        before, rest = whole.split(_SYSTEM)
        after, _ = rest.split(str(chat[0]["content"]))
    except (PromptError, ValueError):
        return None
    return before.removeprefix(start), after


def _start(tokenizer: Any, text: str) -> str:
    """The beginning token, if the template writes it: Ollama adds it as the tokenizer does."""
    bos = tokenizer.bos_token
    return bos if bos and text.startswith(bos) and added_ids(tokenizer, "a")[0] else ""


def _turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}
