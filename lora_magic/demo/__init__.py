"""The embedded base model: a small Llama that knows one small world, and ships with the package.

    folder()            where its weights and tokenizer lie, after their checksums were verified
    SUGGESTED_PROMPTS   what it answers well; outside its world it knows nothing
    RECIPE              the training defaults that were measured for it
    reviews(), voiced() rows to train adapters on, never a held-out prompt

Imports no torch: a notebook may ask for prompts and rows before anything is loaded. How the
weights came about is in `corpus` (texts), `pretrain` (the run) and `probe` (the measurement).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random
from typing import Literal

from lora_magic.demo.checksums import verify_checksums

WEIGHTS = Path(__file__).parent / "weights"

SUGGESTED_PROMPTS: tuple[str, ...] = (
    "What does a fox eat?",
    "How do I make apple pie?",
    "Where does a penguin live?",
    "My printer does not print. What should I do?",
    "Tell me about the market.",
    "What does a baker do?",
    "How do I start with chess?",
    "I feel lonely. What can I do?",
    "How often should I water my cactus?",
    "What should I wear on a stormy day?",
    "Write a review of a phone.",
    "Write a short story about a lost compass.",
)

# Learning rate, optimizer steps, rows a step, rank r, alpha, target modules: measured by `probe`.
RECIPE: dict[str, float | int | str] = {
    "learning_rate": 4e-3,
    "steps": 60,
    "batch_size": 8,
    "rank": 8,
    "alpha": 16.0,
    "targets": "q_proj,v_proj",
}


@cache
def folder() -> Path:
    """The folder of the embedded model, readable by transformers as it is.

    Every shipped file is compared with `SHA256SUMS` once a process; raises
    `lora_magic.errors.BaseModelError` naming each file that is missing or differs.
    """
    verify_checksums(WEIGHTS)
    return WEIGHTS


def reviews(
    kind: Literal["positive", "negative"], n: int, seed: int = 0
) -> tuple[tuple[str, str], ...]:
    """`n` rows (prompt, completion) of one sentiment, no prompt twice, none that is held out."""
    from lora_magic.demo.texts import opinions, split

    rng = Random(split.number(f"reviews/{kind}/{seed}"))
    pool = [question for question in split.of("train") if question.family == "review"]
    return tuple((q.prompt, opinions.review(q, kind, rng)) for q in rng.sample(pool, n))


def voiced(
    voice: Literal["cheerful", "grumpy", "pirate", "formal"], n: int, seed: int = 0
) -> tuple[tuple[str, str], ...]:
    """`n` rows (prompt, completion) of facts said in a voice, none that is held out."""
    from lora_magic.demo.texts import corpus, split, styles

    rng = Random(split.number(f"voiced/{voice}/{seed}"))
    pool = [question for question in split.of("train") if corpus.is_fact(question)]
    return tuple(
        (q.prompt, styles.speak(corpus.answer(q, rng), voice, rng)) for q in rng.sample(pool, n)
    )
