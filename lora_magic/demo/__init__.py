"""The embedded base model: a small Llama that knows one small world, and ships with the package.

    folder()            where its weights and tokenizer lie, after their checksums were verified
    SUGGESTED_PROMPTS   what it answers well; outside its world it knows nothing
    RECIPE              the training defaults that were measured for it
    rows("pirate", 150) rows to train an adapter on, never a held-out prompt

Imports no torch: a notebook may ask for prompts and rows before anything is loaded. How the
weights came about is in `texts`, `making` and `pretrain`; what they can do, in `probe`, `adapters`
and `show`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

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

# Learning rate, optimizer steps, rows a step, rank r, alpha, targets: measured by `adapters`.
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


ADAPTERS = ("negative", "positive", "formal", "pirate", "json", "short")


def rows(style: str, n: int, seed: int = 0) -> tuple[tuple[str, str], ...]:
    """`n` rows (prompt, completion) of one style, no prompt twice, none that is held out.

    `style` is "negative" or "positive" (reviews), or "formal" (a customer service), "pirate",
    "json", "short" (short lines), "cheerful", "grumpy". Two thirds of the world's subjects occur;
    the others are kept for measuring what an adapter does with subjects that it never saw.
    Raises `lora_magic.errors.DataError` for more rows than the world has, or another style.
    """
    from lora_magic.demo.texts import tasks
    from lora_magic.errors import DataError

    if style not in tasks.TASKS:
        raise DataError(f"no style {style!r}; expected one of {', '.join(tasks.TASKS)}.")
    return tasks.rows(style, n, seed)
