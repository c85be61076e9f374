"""Sentences with negations, positive or negative by a rule that no bag of words can solve.

`negations(500)` gives (text, label) pairs, the same for the same seed. The label is the adjective's
polarity, turned around by each negation that concerns it; half of the sentences of each kind have a
negation that does not. Not collected by pytest.
"""

from __future__ import annotations

import random

GOOD = (
    *("warm", "fresh", "friendly", "clean", "quick", "tasty", "bright", "quiet", "honest"),
    *("gentle", "generous", "tidy", "cheerful", "comfortable", "clever", "lovely"),
)
BAD = (
    *("cold", "stale", "rude", "dirty", "slow", "bland", "gloomy", "noisy", "dishonest"),
    *("rough", "stingy", "messy", "grumpy", "uncomfortable", "foolish", "awful"),
)
SUBJECTS = (
    *("soup", "waiter", "room", "bread", "hotel", "service", "garden", "driver", "kitchen", "film"),
    *("teacher", "market", "house", "train", "cook", "office", "letter", "doctor", "street"),
    "guide",
)
#: A sentence, and whether it turns the adjective's polarity around.
PATTERNS = (
    ("the {subject} was {adjective}", False),
    ("we all said that the {subject} was {adjective} from the first day", False),
    ("I did not wait long, and the {subject} was {adjective}", False),
    ("nobody else came, but the {subject} was {adjective}", False),
    ("it is not true that the {subject} was not {adjective}", False),
    ("the {subject} was {adjective}, and I could not be more certain", False),
    ("the {subject} was not {adjective} at all", True),
    ("the {subject} was never {adjective}", True),
    ("I did wait long, and the {subject} was not {adjective}", True),
    ("nobody said that the {subject} was {adjective}", True),
    ("nothing about the {subject} was {adjective}", True),
    ("I would not call the {subject} {adjective}, and I am certain", True),
)


def negations(count: int = 500, seed: int = 0) -> list[tuple[str, str]]:
    """`count` different sentences, at most 7,680, with "positive" or "negative"."""
    every = [
        (pattern.format(subject=subject, adjective=adjective), good != turned)
        for pattern, turned in PATTERNS
        for subject in SUBJECTS
        for good, adjectives in ((True, GOOD), (False, BAD))
        for adjective in adjectives
    ]
    chosen = random.Random(seed).sample(every, count)
    return [(text, "positive" if positive else "negative") for text, positive in chosen]
