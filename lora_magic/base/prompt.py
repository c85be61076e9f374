"""How a prompt becomes tokens: the form that an adapter is trained in and asked in.

Knows tokenizers and chat templates; knows no model, no rows and no adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_magic.errors import CommandError, PromptError

Messages = Sequence[Mapping[str, str]]

#: A text that no template changes, to find out what a template puts after an answer.
_PROBE = "answer"


@dataclass(frozen=True)
class PromptForm:
    """A prompt's form: the tokenizer's chat template, or the prompt and a newline.

    `end_token` is trained after each completion and stopped on; `stop_ids` holds it and the
    tokenizer's own end of text. A base model whose template closes a turn with another token than
    its end of text would otherwise run on after a tuned answer.
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
        """The form for a tokenizer; `template` is "chat", "plain" or None: chat where there is one.

        Raises `CommandError` for another word, for "chat" without a template, and for a system
        prompt in the plain form, which has no place for it.
        """
        kind = template or ("chat" if tokenizer.chat_template else "plain")
        if kind not in ("chat", "plain"):
            raise CommandError(f"--template {kind}: expected chat or plain.")
        if kind == "chat" and not tokenizer.chat_template:
            raise CommandError("--template chat: this tokenizer has none; use --template plain.")
        if kind == "plain" and system is not None:
            raise CommandError("--system needs a chat template; put the words into the prompt.")
        end_id = _turn_end(tokenizer) if kind == "chat" else None
        if end_id is None:
            end_id = tokenizer.eos_token_id
        stops = tuple(dict.fromkeys(i for i in (end_id, tokenizer.eos_token_id) if i is not None))
        text = None if end_id is None else str(tokenizer.convert_ids_to_tokens(end_id))
        return cls(kind, system, text, end_id, stops)

    def encode(self, tokenizer: Any, prompt: str) -> list[int]:
        """Token ids of a prompt, ready for the answer. Raises `PromptError` if it is empty."""
        if not prompt.strip():
            raise PromptError("the prompt is empty; type it after the verb.")
        return self.encode_messages(tokenizer, [{"role": "user", "content": prompt}])

    def encode_messages(self, tokenizer: Any, messages: Messages) -> list[int]:
        """Token ids of a conversation up to the assistant's answer."""
        if self.kind == "plain":
            text = "\n".join(message["content"] for message in messages) + "\n"
            return list(tokenizer(text)["input_ids"])
        turns = [dict(message) for message in messages]
        if self.system is not None and turns[0].get("role") != "system":
            turns.insert(0, {"role": "system", "content": self.system})
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        # The template writes its own special tokens, so the tokenizer must add none.
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode_answer(self, tokenizer: Any, completion: str) -> list[int]:
        """Token ids of a completion, closed by the end token where there is one."""
        ids = list(tokenizer(completion, add_special_tokens=False)["input_ids"])
        return ids if self.end_token_id is None else [*ids, self.end_token_id]


def _turn_end(tokenizer: Any) -> int | None:
    """The one special token that the chat template puts after an answer, if it puts one."""
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _PROBE}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = tokenizer(text[text.rfind(_PROBE) + len(_PROBE) :], add_special_tokens=False)["input_ids"]
    special = [i for i in ids if i in set(tokenizer.all_special_ids)]
    special += [i for i in ids if i in getattr(tokenizer, "added_tokens_decoder", {})]
    return special[0] if special else None
