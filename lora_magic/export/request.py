"""What a reader is asked: a model to load, and the notebook's prompts as tokens and as text.

Knows the session's tokenizer and a reference; runs no process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lora_magic.base.device import fitting_threads
from lora_magic.base.tokens import bare_text, token_ids
from lora_magic.errors import PromptError

from .job import Job
from .reference import TOKENS, Reference

#: The way in which a reader reads a prompt that no plain call turns into the notebook's tokens.
_AS_GIVEN: dict[str, Any] = {"text": None, "special": False}


def request(job: Job, notebook: Reference, model: str, **more: Any) -> dict[str, Any]:
    """The request for `readers/with_transformers.py`, to load `model` and answer the prompts.

    `more` are its other keys: adapter, tokenizer, bits, sums.
    """
    base = job.base
    with fitting_threads(base.model):
        import torch

        threads = torch.get_num_threads()
    config: Any = base.model.config
    attention = getattr(config, "_attn_implementation", None)
    return {
        "model": model,
        "adapter": None,
        "task": base.task.kind,
        "dtype": str(base.dtype).removeprefix("torch."),
        "device": str(base.device),
        "threads": threads,
        "attention": attention if attention in ("sdpa", "eager") else None,
        "trust_remote_code": is_remote_code(base.model),
        "prompts": prompts(job, notebook),
        "new_tokens": TOKENS,
        "stop_ids": list(job.form.stop_ids) if job.form else [],
        **more,
    }


def is_remote_code(model: object) -> bool:
    """Was the model's class read from its own files, not from transformers?"""
    return type(model).__module__.partition(".")[0] == "transformers_modules"


def prompts(job: Job, notebook: Reference) -> list[dict[str, Any]]:
    """Each prompt with its ids, its answer, and a plain way to turn it into these ids.

    That is a conversation for the chat template or a text, with the tokenizer's own special tokens
    or without. A prompt that no such way makes (a text that was cut, a second beginning token that
    was left out) has neither, and its ids are not compared.
    """
    found = []
    for prompt, ids, answer in zip(
        notebook.prompts, notebook.inputs, notebook.answers, strict=True
    ):
        ways = (way for way in _ways(job, prompt) if _ids(job, way) == list(ids))
        found.append({**next(ways, _AS_GIVEN), "ids": list(ids), "answer": list(answer)})
    return found


def _ways(job: Job, prompt: str) -> Iterator[dict[str, Any]]:
    tokenizer, form = job.base.needs_tokenizer(), job.form
    if form is None:
        yield {"text": bare_text(tokenizer, prompt), "special": True}
        return
    turns = form.conversation([{"role": "user", "content": prompt}])
    if form.kind == "chat":
        yield {"turns": list(turns), "special": False}
    text = form.text_of(tokenizer, turns)
    for special in (form.kind == "plain", form.kind != "plain"):
        yield {"text": text, "special": special}


def _ids(job: Job, way: dict[str, Any]) -> list[int] | None:
    """The ids that a plain call of the tokenizer makes."""
    tokenizer, text = job.base.needs_tokenizer(), way.get("text")
    try:
        if text is None:
            text = tokenizer.apply_chat_template(
                way["turns"], tokenize=False, add_generation_prompt=True
            )
        return token_ids(tokenizer, text, way["special"])
    except PromptError:
        return None
    except Exception:  # noqa: BLE001 - a template can fail with any error; then another way is taken
        return None
