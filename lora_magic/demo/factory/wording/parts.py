"""The parts that a person's wording is composed of.

Knows the form of the parts; `frames` composes them, and the tables beside it hold them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """The ways to ask for one aspect, as templates.

    `questions` stand alone. `clauses` follow "Can you tell me", `phrases` follow "Tell me" or stand
    alone. `notes` are short forms without punctuation. `contexts` say something first.
    """

    questions: tuple[str, ...]
    clauses: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
