"""How a prompt becomes tokens: the form that an adapter is trained and prompted with.

Knows tokenizers, and chat templates through their texts; knows no model, no rows and no adapter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lora_magic.errors import CommandError, PromptError

from . import FORMS
from .template import Turn, Turns, made_up, render, render_all
from .tokens import added_ids, all_token_ids, stripped, token_ids, without_double_start

#: A text that no template changes, to find the token that a template puts after an answer.
_PROBE = "answer"

_THINK = "<think>"
#: The end of a prompt whose template has opened a reasoning block, and has perhaps closed it.
_OPENED = re.compile(r"<think>\s*(</think>\s*)?$")


@dataclass(frozen=True)
class Asked:
    """The turns before an answer, the answer's turn, and the tools on offer."""

    turns: Turns
    answer: Turn
    tools: Any = None


@dataclass(frozen=True)
class Written:
    """The text before an answer, and the answer's own, without its end token."""

    before: str
    answer: str

    def __str__(self) -> str:
        return self.before + self.answer


@dataclass(frozen=True)
class Tokens:
    """Token ids of a prompt, and of its answer with the end token.

    `read` are the ids of the text alone, without the tokens that tokenizer and form add.
    """

    prompt: list[int]
    answer: list[int]
    read: list[int]


@dataclass(frozen=True)
class PromptForm:
    """A prompt's form: the tokenizer's chat template, or the prompt and a newline.

    `end_token` is trained after each completion and ends an answer, and so does the tokenizer's own
    end of text: `stop_ids` has both. A base whose template ends a turn with another token than its
    end of text would otherwise continue after an answer.
    """

    kind: str
    system: str | None
    end_token: str | None
    end_token_id: int | None
    stop_ids: tuple[int, ...]

    @classmethod
    def of(
        cls, tokenizer: Any, template: str | None = None, system: str | None = None
    ) -> PromptForm:
        """A tokenizer's form; `template` is "chat", "plain" or None (chat if it has a template).

        Raises `CommandError` for an unknown template, for "chat" without a template, and for a
        system prompt in the plain form.
        """
        kind = template or ("chat" if tokenizer.chat_template else "plain")
        if kind not in FORMS:
            raise CommandError(f"--template {kind}: expected {' or '.join(FORMS)}.")
        if kind == "chat" and not tokenizer.chat_template:
            raise CommandError(
                "--template chat: this tokenizer has no template; type --template plain"
            )
        if kind == "plain" and system is not None:
            raise CommandError(
                "--system needs a chat template; put its text into the prompt instead."
            )
        if half := _half(system or ""):
            raise CommandError(f"--system: {half}; remove it.")
        end_id = _turn_end(tokenizer) if kind == "chat" else None
        if end_id is None:
            end_id = tokenizer.eos_token_id
        stops = tuple(dict.fromkeys(i for i in (end_id, tokenizer.eos_token_id) if i is not None))
        text = None if end_id is None else str(tokenizer.convert_ids_to_tokens(end_id))
        return cls(kind, system, text, end_id, stops)

    def encode(self, tokenizer: Any, prompt: str) -> list[int]:
        """Token ids of a prompt, up to the answer.

        Raises `PromptError` if it is empty, or if the template leaves it or the system message out.
        """
        check_text(prompt)
        return self.encode_turns(tokenizer, [{"role": "user", "content": prompt}])

    def encode_turns(self, tokenizer: Any, given: Turns) -> list[int]:
        """Token ids of a conversation, up to the answer to its last turn; raises as `encode`."""
        text = self.text_of(tokenizer, given)
        # A template writes its own special tokens, so the tokenizer must add none.
        ids = token_ids(tokenizer, text)
        check_tokens(ids, str(given[-1]["content"]))
        if self.kind == "plain":
            return _started(added_ids(tokenizer, text)[0], ids)
        return without_double_start(tokenizer, ids)

    def text_of(self, tokenizer: Any, given: Turns) -> str:
        """The text of a conversation, up to the answer to its last turn; raises `PromptError`."""
        turns = self._bare(tokenizer, self.conversation(given))
        return _lines(turns) if self.kind == "plain" else render(tokenizer, turns)

    def conversation(self, turns: Turns, system: str | None = None) -> Turns:
        """Turns with their system message first: `system`, else their own, else the form's.

        Raises `PromptError` for two different ones.
        """
        own = turns[0]["content"] if turns and turns[0]["role"] == "system" else None
        if own is None:
            own = system if system is not None else self.system
            return turns if own is None else [{"role": "system", "content": own}, *turns]
        if system is not None and system.strip() != own.strip():
            raise PromptError(f"two system messages, {system[:40]!r} and {own[:40]!r}: keep one")
        return turns

    def write(self, tokenizer: Any, asked: Sequence[Asked]) -> list[Written | PromptError]:
        """The texts of prompts and answers, or why there is none.

        A beginning or an end token that a turn brings at its own beginning or end is not repeated;
        one in its middle is an error. The answer is what the template makes of its turn.
        """
        found: list[Written | PromptError] = [PromptError("")] * len(asked)
        groups: dict[bool, list[int]] = {True: [], False: []}
        clean: dict[int, Asked] = {}
        for place, one in enumerate(asked):
            try:
                clean[place] = self._clean(tokenizer, one)
                groups[one.tools is None].append(place)
            except PromptError as error:
                found[place] = error
        if self.kind == "plain":
            for place, one in clean.items():
                found[place] = Written(_lines(one.turns), str(one.answer["content"]))
            return found
        for together in (groups[True], *([place] for place in groups[False])):
            some = [clean[place] for place in together]
            for place, text in zip(together, self._rendered(tokenizer, some), strict=True):
                found[place] = text
        return found

    def tokens(self, tokenizer: Any, written: Sequence[Written]) -> list[Tokens | PromptError]:
        """Tokens of prompts and of their answers, or why there are none.

        Prompt and answer are tokenized as one text where the prompt's tokens are as if it stood
        alone, as it does when it is asked.
        """
        before = all_token_ids(tokenizer, [one.before for one in written])
        whole = all_token_ids(tokenizer, [str(one) for one in written])
        end = [] if self.end_token_id is None else [self.end_token_id]
        start: list[int] | None = None if self.kind == "plain" else []
        found: list[Tokens | PromptError] = []
        for one, prompt, both in zip(written, before, whole, strict=True):
            if isinstance(prompt, PromptError):
                found.append(prompt)
                continue
            if isinstance(both, PromptError):
                found.append(both)
                continue
            if start is None:
                start = added_ids(tokenizer, one.before)[0]
            if both[: len(prompt)] != prompt:
                both = [*prompt, *token_ids(tokenizer, one.answer)]
            answer = [*both[len(prompt) :], *end]
            asked = without_double_start(tokenizer, _started(start, prompt))
            found.append(Tokens(asked, answer, both))
        return found

    def whole(self, tokenizer: Any, texts: Sequence[str]) -> list[Tokens | PromptError]:
        """Tokens of texts, all of them an answer: with the tokenizer's own, as in pretraining."""
        bare = [_end_stripped(text, self._stops(tokenizer)) for text in texts]
        around: tuple[list[int], list[int]] | None = None
        found: list[Tokens | PromptError] = []
        for text, read in zip(bare, all_token_ids(tokenizer, bare), strict=True):
            if isinstance(read, PromptError):
                found.append(read)
                continue
            start, end = around = around or added_ids(tokenizer, text)
            ids = without_double_start(tokenizer, _started(start, read))
            if end and ids[-len(end) :] != end and ids[-1:] not in self._ends:
                ids = [*ids, *end]
            if self.end_token_id is not None and ids[-1:] not in self._ends:
                ids = [*ids, self.end_token_id]
            found.append(Tokens([], ids, read))
        return found

    @property
    def _ends(self) -> list[list[int]]:
        return [[stop] for stop in self.stop_ids]

    def _stops(self, tokenizer: Any) -> list[str]:
        return [str(tokenizer.convert_ids_to_tokens(i)) for i in self.stop_ids]

    def _bare(self, tokenizer: Any, turns: Turns) -> Turns:
        """Turns without the end tokens at the end of their contents, and the beginning token before
        those of a template, which writes its own."""
        starts, stops = [tokenizer.bos_token] * (self.kind == "chat"), self._stops(tokenizer)
        return [
            {**turn, "content": stripped(str(turn["content"]), starts, stops)} for turn in turns
        ]

    def _clean(self, tokenizer: Any, asked: Asked) -> Asked:
        """The same without what the form adds; raises `PromptError` for what does not fit it."""
        turns = self._bare(tokenizer, asked.turns)
        start, stops = tokenizer.bos_token, self._stops(tokenizer)
        if self.kind == "plain":
            calls = any(turn.get("tool_calls") for turn in (*turns, asked.answer))
            if calls or asked.tools:
                raise PromptError(
                    f"{'tool calls' if calls else 'tools'} need a chat template; omit --template "
                    "plain, or use a base whose tokenizer has one"
                )
            control = stops
        else:
            control = _control_tokens(tokenizer, stops)
        said = stripped(str(asked.answer["content"]), [start], stops)
        answer = {**asked.answer, "content": said}
        _refuse_inside([*turns, answer], control)
        return Asked(turns, answer, asked.tools)

    def _rendered(self, tokenizer: Any, asked: Sequence[Asked]) -> list[Written | PromptError]:
        tools = asked[0].tools if asked else None
        befores = render_all(tokenizer, [one.turns for one in asked], tools)
        as_typed: dict[tuple[str, ...], bool] = {}
        slow: list[int] = []
        for place, one in enumerate(asked):
            roles = tuple(turn["role"] for turn in (*one.turns, one.answer))
            if not _is_plain(one.answer):
                slow.append(place)
                continue
            if roles not in as_typed:
                as_typed[roles] = self._as_typed(tokenizer, roles)
            slow += [] if as_typed[roles] else [place]
        both = [[*asked[place].turns, asked[place].answer] for place in slow]
        wholes = dict(zip(slow, render_all(tokenizer, both, tools, answering=False), strict=True))
        for place in slow:
            if isinstance(wholes[place], PromptError):
                other = _without_system(tokenizer, asked[place], befores[place])
                wholes[place] = other or wholes[place]
        found: list[Written | PromptError] = []
        for place, (one, before) in enumerate(zip(asked, befores, strict=True)):
            try:
                if isinstance(before, PromptError):
                    raise before
                found.append(Written(before, self._answer(one.answer, before, wholes.get(place))))
            except PromptError as error:
                found.append(error)
        return found

    def _as_typed(self, tokenizer: Any, roles: Sequence[str]) -> bool:
        """Does the template write the last of such turns as it was typed, and no more?"""
        *turns, answer = made_up(roles)
        (before,) = render_all(tokenizer, [turns])
        (whole,) = render_all(tokenizer, [[*turns, answer]], answering=False)
        if isinstance(before, PromptError) or isinstance(whole, PromptError):
            return False
        return self._answer(answer, before, whole) == str(answer["content"])

    def _answer(self, turn: Turn, before: str, whole: str | PromptError | None) -> str:
        """The text of an answer, as it continues its prompt.

        It is what the template makes of its turn in the `whole` conversation, unless that does not
        continue the prompt, or leaves out a part that the model is to write.
        """
        said = str(turn["content"])
        made = _continued(before, whole) if isinstance(whole, str) else None
        if made is not None:
            end = made.rfind(self.end_token) if self.end_token else -1
            made = made[:end] if end >= 0 else made[: made.rfind(said.strip()) + len(said.strip())]
        if made is None or said.strip() not in made:
            if turn.get("tool_calls"):
                raise (
                    whole
                    if isinstance(whole, PromptError)
                    else PromptError(
                        "the chat template writes an answer with tool calls in another way than it "
                        "begins one: it cannot be trained"
                    )
                )
            made = said
        return _opened_once(before, made)


def _without_system(tokenizer: Any, asked: Asked, before: str | PromptError) -> str | None:
    """A conversation's text, whose answer is written as after the turns without a system message.

    Some templates write that message before the last turn of a user, and leave it out if an answer
    follows. None if the template does not continue those turns either.
    """
    turns = [turn for turn in asked.turns if turn["role"] != "system"]
    if len(turns) == len(asked.turns) or isinstance(before, PromptError):
        return None
    (bare,) = render_all(tokenizer, [turns], asked.tools)
    (whole,) = render_all(tokenizer, [[*turns, asked.answer]], asked.tools, answering=False)
    if isinstance(bare, PromptError) or isinstance(whole, PromptError):
        return None
    rest = _continued(bare, whole)
    return None if rest is None else before + rest


def _is_plain(answer: Turn) -> bool:
    """Has a turn nothing that a template treats in its own way?"""
    said = str(answer["content"])
    return set(answer) == {"role", "content"} and said == said.strip() and "think>" not in said


def _turn_end(tokenizer: Any) -> int | None:
    """The special token that the chat template puts after an answer, or None."""
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _PROBE}]
    (text,) = render_all(tokenizer, [turns], answering=False)
    if isinstance(text, PromptError):
        if "leaves out" in str(text):
            return None
        raise text
    ids = token_ids(tokenizer, text[text.rfind(_PROBE) + len(_PROBE) :])
    special = [i for i in ids if i in set(tokenizer.all_special_ids)]
    special += [i for i in ids if i in getattr(tokenizer, "added_tokens_decoder", {})]
    return special[0] if special else None


def _lines(turns: Turns) -> str:
    """The plain form: each content on a line of its own."""
    return "\n".join(str(turn["content"]) for turn in turns) + "\n"


def _started(start: list[int], ids: list[int]) -> list[int]:
    """Ids after the tokenizer's own beginning, unless the text brings it."""
    return ids if ids[: len(start)] == start else [*start, *ids]


def _end_stripped(text: str, stops: Sequence[str]) -> str:
    """A text without white space after its end token."""
    bare = text.rstrip()
    return bare if bare.endswith(tuple(stops)) else text


def _control_tokens(tokenizer: Any, stops: Sequence[str]) -> list[str]:
    """The special tokens that the template writes itself."""
    special = {str(token) for token in tokenizer.all_special_tokens}
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    special |= {str(token) for token in added if getattr(token, "special", False)}
    template = str(tokenizer.chat_template)
    own = [token for token in special if token in template and token != tokenizer.unk_token]
    return [*stops, *own, *filter(None, [tokenizer.bos_token])]


def _refuse_inside(turns: Turns, control: Sequence[str]) -> None:
    """Raise `PromptError` for a control token inside a turn."""
    for turn in turns:
        token = next((token for token in control if token in str(turn["content"])), None)
        if token is not None:
            name = "completion" if turn["role"] == "assistant" else f"{turn['role']} turn"
            raise PromptError(
                f"{token} inside the {name}, which the model reads as a special token: remove it; "
                "rows that are already in a template's form are read with --format text"
            )


def _continued(before: str, whole: str) -> str | None:
    """What follows a prompt in its whole conversation; None if that does not begin with it."""
    if whole.startswith(before):
        return whole[len(before) :]
    # A template that opens a reasoning block only to be continued.
    opened = _OPENED.search(before)
    if opened and whole.startswith(before[: opened.start()]):
        return whole[opened.start() :]
    return None


def _opened_once(before: str, answer: str) -> str:
    """An answer that does not open the reasoning block that its prompt has opened.

    Raises `PromptError` if the prompt has closed it, too.
    """
    opened = _OPENED.search(before)
    if not opened or not answer.lstrip().startswith(_THINK):
        return answer
    rest = answer.lstrip().removeprefix(_THINK)
    if not opened[1]:
        return rest.lstrip("\n")
    reasoning, closed, said = rest.partition("</think>")
    if reasoning.strip() or not closed:
        raise PromptError(
            "the chat template closes <think> before the answer, and the completion opens it "
            "again: remove it, or train with --template plain"
        )
    return said.lstrip("\n")


def check_text(prompt: object) -> None:
    """Raise `PromptError` for a prompt that is empty or is not text."""
    if not isinstance(prompt, str):
        raise PromptError(f"expected the prompt as text, got {type(prompt).__name__}.")
    if not prompt.strip():
        raise PromptError("the prompt is empty; type it after the verb: %lora ask PROMPT")
    if half := _half(prompt, " of the prompt"):
        raise PromptError(f"{half}, as in text that was cut; remove it.")


def _half(text: str, of: str = "") -> str:
    """Which character of a text is half of one; "" if none is."""
    at = next((at for at, c in enumerate(text) if "\ud800" <= c <= "\udfff"), None)
    return "" if at is None else f"character {at + 1}{of} is half of one (U+{ord(text[at]):04X})"


def check_tokens(ids: Sequence[int], prompt: str) -> None:
    """Raise `PromptError` if the tokenizer made no tokens from a prompt."""
    if not ids:
        raise PromptError(
            f"the tokenizer produces no tokens for {prompt[:40]!r}: it may belong to another "
            "model. Type: %lora use model tokenizer"
        )
