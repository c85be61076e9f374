"""How a prompt becomes tokens: the form that an adapter is trained and prompted with.

Knows tokenizers and chat templates; knows no model, no rows and no adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_magic.errors import CommandError, PromptError, sentence
from lora_magic.interrupts import TooSlowError, limited

Messages = Sequence[Mapping[str, str]]

#: The values of `--template`.
FORMS = ("chat", "plain")

#: Seconds for a chat template: it is a program from a file, and can loop.
_SECONDS = 2.0

#: Characters that a template may write beyond ten times those of the turns.
_MORE = 1_000_000

#: A text that no template changes, to find the token that a template puts after an answer.
_PROBE = "answer"


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
        end_id = _turn_end(tokenizer) if kind == "chat" else None
        if end_id is None:
            end_id = tokenizer.eos_token_id
        stops = tuple(dict.fromkeys(i for i in (end_id, tokenizer.eos_token_id) if i is not None))
        text = None if end_id is None else str(tokenizer.convert_ids_to_tokens(end_id))
        return cls(kind, system, text, end_id, stops)

    def encode(self, tokenizer: Any, prompt: str) -> list[int]:
        """Token ids of a prompt, up to the answer. Raises `PromptError` if it is empty."""
        check_text(prompt)
        ids = self.encode_messages(tokenizer, [{"role": "user", "content": prompt}])
        check_tokens(ids, prompt)
        return ids

    def encode_messages(self, tokenizer: Any, messages: Messages) -> list[int]:
        """Token ids of a conversation up to the assistant's answer."""
        if self.kind == "plain":
            text = "\n".join(message["content"] for message in messages) + "\n"
            return token_ids(tokenizer, text, special=True)
        turns = [dict(message) for message in messages]
        if self.system is not None and turns[0].get("role") != "system":
            turns.insert(0, {"role": "system", "content": self.system})
        text = _rendered(tokenizer, turns, add_generation_prompt=True)
        # The template writes its own special tokens, so the tokenizer must add none.
        return token_ids(tokenizer, text)

    def encode_answer(self, tokenizer: Any, completion: str) -> list[int]:
        """Token ids of a completion and the end token, if there is one."""
        ids = token_ids(tokenizer, completion)
        return ids if self.end_token_id is None else [*ids, self.end_token_id]


def check_text(prompt: object) -> None:
    """Raise `PromptError` for a prompt that is empty or is not text."""
    if not isinstance(prompt, str):
        raise PromptError(f"expected the prompt as text, got {type(prompt).__name__}.")
    if not prompt.strip():
        raise PromptError("the prompt is empty; type it after the verb: %lora ask PROMPT")
    half = next((place for place, c in enumerate(prompt) if "\ud800" <= c <= "\udfff"), None)
    if half is not None:
        raise PromptError(
            f"character {half + 1} of the prompt is half of one (U+{ord(prompt[half]):04X}), as in "
            "text that was cut; remove it."
        )


def check_tokens(ids: Sequence[int], prompt: str) -> None:
    """Raise `PromptError` if the tokenizer made no tokens from a prompt."""
    if not ids:
        raise PromptError(
            f"the tokenizer produces no tokens for {prompt[:40]!r}: it may belong to another "
            "model. Type: %lora use model tokenizer"
        )


def classified_ids(tokenizer: Any, text: str, most: int) -> tuple[list[int], bool]:
    """Token ids of a text for a classifier, at most `most`, and whether it was truncated.

    Truncation keeps the tokenizer's special tokens.
    """
    ids = token_ids(tokenizer, text, special=True)
    if len(ids) <= most:
        return ids, False
    return list(tokenizer(text, truncation=True, max_length=most)["input_ids"]), True


def token_ids(tokenizer: Any, text: str, special: bool = False) -> list[int]:
    """A text's token ids, without the tokenizer's warning about its length.

    Raises `PromptError` for a text that the tokenizer cannot encode.
    """
    try:
        return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])
    except Exception as error:
        # The tokenizers library raises plain `Exception`.
        raise PromptError(
            f"the tokenizer cannot encode {text[:40]!r} ({sentence(error)}): its files are "
            "incomplete or belong to another model. Type: %lora use model tokenizer"
        ) from error


def _rendered(tokenizer: Any, turns: list[dict[str, str]], **options: Any) -> str:
    """The template's text. Its errors (no system turn, a wrong order) become `PromptError`."""
    roles = ", ".join(turn.get("role", "?") for turn in turns)
    try:
        with limited(_SECONDS):
            text = str(tokenizer.apply_chat_template(turns, tokenize=False, **options))
        most = _MORE + 10 * sum(len(turn.get("content", "")) for turn in turns)
        if len(text) <= most:
            return text
        why = f"it writes {len(text):,} characters, expected at most {most:,}"
        raise ValueError(why)
    except TooSlowError:
        why = f"it takes more than {_SECONDS:g} s"
        raise _rejected(roles, why) from None
    except MemoryError:
        raise _rejected(roles, "it runs out of memory") from None
    except Exception as error:
        # A template is a program, and fails with any error.
        raise _rejected(roles, sentence(error)) from error


def _rejected(roles: str, why: str) -> PromptError:
    return PromptError(
        f"the tokenizer's chat template fails on these turns ({roles}): {why}. Correct it or "
        "remove it (chat_template.jinja), or train with --template plain"
    )


def _turn_end(tokenizer: Any) -> int | None:
    """The special token that the chat template puts after an answer, or None."""
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _PROBE}]
    text = _rendered(tokenizer, turns)
    ids = token_ids(tokenizer, text[text.rfind(_PROBE) + len(_PROBE) :])
    special = [i for i in ids if i in set(tokenizer.all_special_ids)]
    special += [i for i in ids if i in getattr(tokenizer, "added_tokens_decoder", {})]
    return special[0] if special else None
