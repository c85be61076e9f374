"""Sentences with negations, positive or negative by a rule that no bag of words can solve.

`negations(500)` gives (text, label) pairs, the same for the same seed. The label is the adjective's
polarity, turned around by a negation: no sum of the words' weights is positive for "good" and for
"not bad", and negative for "bad" and for "not good". Not collected by pytest.
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
    ("the {subject} was very {adjective} all day", False),
    ("we did find the {subject} {adjective}", False),
    ("the {subject} was not {adjective} at all", True),
    ("the {subject} was never {adjective}", True),
    ("we did not find the {subject} {adjective}", True),
)


def negations(count: int = 500, seed: int = 0) -> list[tuple[str, str]]:
    """`count` different sentences, at most 3,840, with "positive" or "negative"."""
    every = [
        (pattern.format(subject=subject, adjective=adjective), good != turned)
        for pattern, turned in PATTERNS
        for subject in SUBJECTS
        for good, adjectives in ((True, GOOD), (False, BAD))
        for adjective in adjectives
    ]
    chosen = random.Random(seed).sample(every, count)
    return [(text, "positive" if positive else "negative") for text, positive in chosen]
