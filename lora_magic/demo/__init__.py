"""The embedded model: a small Llama that knows one small world and ships with the package.

    folder()            the folder of its weights and tokenizer, after verifying their checksums
    SUGGESTED_PROMPTS   prompts that it answers well; it knows nothing outside its world
    RECIPE              the training defaults that were measured for it
    rows("pirate", 150) rows to train an adapter on, never a held-out prompt

Does not import torch: a notebook may ask for prompts and rows before it loads a model. `factory`
trains and measures the model; nothing here imports it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

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

# Learning rate, optimizer steps, batch size, rank r, alpha, targets: measured by factory/adapters.
RECIPE: dict[str, float | int | str] = {
    "learning_rate": 3e-3,
    "steps": 60,
    "batch_size": 8,
    "rank": 8,
    "alpha": 16.0,
    "targets": "all-linear",
}


@cache
def folder() -> Path:
    """The folder of the embedded model, in transformers' format.

    Compares every file with `SHA256SUMS`, once in each process; raises
    `lora_magic.errors.BaseModelError` naming each file that is missing or differs.
    """
    from lora_magic.demo.checksums import verify_checksums

    verify_checksums(WEIGHTS)
    return WEIGHTS


ADAPTERS = ("negative", "positive", "formal", "pirate", "json", "short")


def rows(style: str, n: int, seed: int = 0) -> tuple[tuple[str, str], ...]:
    """`n` rows (prompt, completion) of one style; all prompts differ and none is held out.

    `style` is "negative" or "positive" (reviews), "formal" (customer service), "pirate", "json",
    "short" (short lines), "cheerful" or "grumpy". The rows cover two thirds of the world's
    subjects; the others measure what an adapter does with subjects that it never saw.
    Raises `lora_magic.errors.DataError` for an unknown style or more rows than the world has.
    """
    from lora_magic.demo.texts import tasks
    from lora_magic.errors import DataError

    if style not in tasks.TASKS:
        raise DataError(f"unknown style {style!r}; expected one of {', '.join(tasks.TASKS)}.")
    return tasks.rows(style, n, seed)
