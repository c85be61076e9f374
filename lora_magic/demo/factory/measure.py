"""What a model answers to questions of the demo world, and the share of good answers.

Knows generation and scoring; knows neither training nor adapters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from lora_magic import demo
from lora_magic.demo.factory import corpus
from lora_magic.demo.judge import judge
from lora_magic.demo.texts.answers import is_fact, is_right
from lora_magic.demo.texts.family import Question
from lora_magic.errors import BaseModelError

PAD_ID, END_ID = 0, 1


@dataclass(frozen=True)
class Answered:
    """A question, the model's answer, and whether it ended with the end token."""

    question: Question
    text: str
    ended: bool


@dataclass(frozen=True)
class Score:
    """Shares between 0 and 1 over a set of answers.

    `ended`: stopped before the limit. `repeating`: says something twice (`says_twice`). `subject`:
    is about the right subject. `true`: also says something true of it. `right`: states the fact
    asked for, or admits not knowing it, over questions that have one right answer.
    """

    prompts: int
    ended: float
    repeating: float
    subject: float
    true: float
    right: float


@torch.no_grad()
def complete(
    model: Any,  # transformers' generation mixin carries no types
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    max_new_tokens: int = 128,
    batch: int = 32,
) -> list[tuple[str, bool]]:
    """Greedy answers to prompts in the chat form: each text, and whether it ended."""
    results: list[tuple[str, bool]] = []
    for start in range(0, len(prompts), batch):
        encoded = [tokenizer.encode(corpus.chat(p)).ids for p in prompts[start : start + batch]]
        width = max(map(len, encoded))
        rows = [[PAD_ID] * (width - len(ids)) + ids for ids in encoded]
        mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in encoded]
        produced = model.generate(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=PAD_ID,
            eos_token_id=END_ID,
        )[:, width:].tolist()
        for ids in produced:
            ended = END_ID in ids
            kept = ids[: ids.index(END_ID)] if ended else ids
            results.append((tokenizer.decode(kept), ended))
    return results


def answers(
    model: Any,  # as above
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    max_new_tokens: int = 128,
) -> tuple[Answered, ...]:
    """Greedy answers to questions of the demo world."""
    produced = complete(model, tokenizer, [q.prompt for q in questions], max_new_tokens)
    return tuple(
        Answered(question, text, ended)
        for question, (text, ended) in zip(questions, produced, strict=True)
    )


def repeats(text: str, n: int = 4) -> bool:
    """Whether any `n` consecutive words occur twice, ignoring capitals and punctuation."""
    words = [word.strip(".,!?:;\"'").lower() for word in text.split()]
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(runs)) < len(runs)


def says_twice(question: Question, text: str) -> bool:
    """Whether an answer repeats four words, or, in a dialogue, a line or a later sentence.

    In a dialogue an answer reuses the words of its question, and its first sentence may occur
    before with another continuation.
    """
    if question.family != "dialogue":
        return repeats(text)
    lines = [line.split(": ", 1)[-1] for line in text.split("\n")]
    further = [s for line in lines for s in re.split(r"(?<=[.!?]) ", line)[1:]]
    return len(set(lines)) < len(lines) or len(set(further)) < len(further)


def has_right_answer(question: Question) -> bool:
    """Whether a question has one right answer: a fact, or that it is not known."""
    return is_fact(question) or question.family == "unknown"


def _is_right(question: Question, text: str) -> bool:
    """Whether a text states the fact asked for, or admits not knowing it."""
    if question.family == "unknown":
        return judge(question, text).right
    return is_right(question, text)


def score(answered: Sequence[Answered]) -> Score:
    """The shares over a set of answers; raises `ValueError` if it is empty."""
    if not answered:
        raise ValueError("no answers to score")
    facts = [a for a in answered if has_right_answer(a.question)]
    count = len(answered)
    verdicts = [judge(a.question, a.text) for a in answered]
    return Score(
        prompts=count,
        ended=sum(a.ended for a in answered) / count,
        repeating=sum(says_twice(a.question, a.text) for a in answered) / count,
        subject=sum(verdict.subject for verdict in verdicts) / count,
        true=sum(verdict.right for verdict in verdicts) / count,
        right=sum(_is_right(a.question, a.text) for a in facts) / max(1, len(facts)),
    )


def load(folder: Path | None = None) -> tuple[Any, Tokenizer]:
    """A model in float32 and its tokenizer: the embedded one, or one that `pretrain` wrote."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    path = folder or demo.folder()
    if not (path / "model.safetensors").is_file():
        raise BaseModelError(
            f"no weights in {path}; expected a folder written by: "
            "python -m lora_magic.demo.factory.pretrain --out FOLDER"
        )
    bar = logging.is_progress_bar_enabled()
    # Four megabytes load faster than a progress bar can be read.
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(str(path), dtype=torch.float32).eval()
    finally:
        if bar:
            logging.enable_progress_bar()
    return model, Tokenizer.from_file(str(path / "tokenizer.json"))
