"""The judge hears denial: what is denied is not stated, and an own property must not be."""

from __future__ import annotations

import pytest

from lora_magic.demo.heard import denials, words
from lora_magic.demo.judge import Verdict, judge
from lora_magic.demo.texts import split

FOX, BEAR, KEY = "What does a fox eat?", "What does a bear eat?", "What is a key made of?"
HOME, LIKE, PIZZA = "Where does a fox live?", "What is a fox like?", "What is in pizza?"
PHONE = "My phone does not charge. What should I do?"
HERO = "What does a goat do?"
CAMEL, CACTUS = "What does a camel do?", "How do I take care of my cactus?"
SIGNAL, STARS = "My phone has no signal. What should I do?", "Why do people like astronomy?"
HIKING, NURSE = "Why do people like hiking?", "Where does a nurse work?"
LAPTOP = "My laptop is very slow. What should I do?"


@pytest.mark.parametrize(
    ("prompt", "text", "true"),
    [
        # An own property is denied.
        (FOX, "A fox does not eat berries.", False),
        (FOX, "A fox doesn't eat berries and mice.", False),
        (FOX, "A fox doesn\u2019t eat berries.", False),
        (FOX, "A fox never eats berries.", False),
        (FOX, "A fox eats no berries.", False),
        (FOX, "A fox lives without berries and mice.", False),
        (FOX, "A fox eats neither berries nor mice.", False),
        (FOX, "A fox cannot eat berries and mice.", False),
        (FOX, "A fox won't eat mice.", False),
        (FOX, "No fox eats berries and mice.", False),
        (FOX, "A fox eats mice. It does not eat berries.", False),
        (FOX, "A fox is clever but does not eat berries.", False),
        (FOX, "It is not true that a fox eats berries and mice.", False),
        (FOX, "Berries and mice are not eaten by a fox.", False),
        (FOX, "A fox eats mice, but it never eats berries.", False),
        (FOX, '{"topic": "fox", "answer": ["A fox does not eat berries and mice"]}', False),
        (FOX, "Arr! A fox do not eat berries an' mice, matey!", False),
        (HOME, "A fox does not live in the forest.", False),
        (HOME, "In the forest you will not find a fox.", False),
        (HOME, "The forest is not the home of a fox, so do not look in the forest.", False),
        (LIKE, "A fox is not clever.", False),
        (LIKE, "A fox isn't very clever.", False),
        (KEY, "A key is not made of brass.", False),
        (PIZZA, "For pizza you need dough, but no cheese.", False),
        (PIZZA, "You make pizza without olives, cheese and dough.", False),
        (NURSE, "A nurse does not work in a hospital.", False),
        (FOX, "A fox mustn't eat berries and mice.", False),
        (FOX, "? No.", False),
        (PHONE, "Do not try another cable.", False),
        # What is denied is not stated; what belongs to others may be denied.
        (FOX, "A fox does not eat bamboo.", False),
        (FOX, "A fox does not eat bamboo. It eats berries and mice.", True),
        (FOX, "A fox eats berries and mice, not bamboo.", True),
        (FOX, "No, a fox eats berries and mice.", True),
        (FOX, "A fox eats berries and mice, so no.", True),
        (FOX, "A fox never eats honey, it eats berries and mice.", True),
        (FOX, "A fox eats not only mice: it eats berries and mice.", True),
        (FOX, "A fox does not eat bamboo because it eats berries.", True),
        (FOX, "A fox is not lazy and it eats berries and mice.", True),
        (BEAR, "A bear does not eat bamboo, berries or mice, but it eats honey and fish.", True),
        (HOME, "A fox does not live in the desert, it lives in the forest.", True),
        (KEY, "A key isn't made of wax but it is made of brass.", True),
        (NURSE, "A nurse does not work in a bakery. A nurse works in a hospital.", True),
        (LIKE, "A fox is clever, no doubt.", True),
        (LIKE, "A fox is clever. Do not forget that.", True),
        # Properties and phrases of the texts that contain such words deny nothing.
        (HERO, "A goat climbs up steep cliffs without fear.", True),
        (CAMEL, "A camel walks for days without water.", True),
        (CAMEL, "A camel walks for days without water. It eats dry grass.", True),
        (CAMEL, "A camel does not walk for days.", False),
        (CACTUS, "Never let it stand in water, and water your cactus twice a month.", True),
        (PHONE, "Your phone does not charge when the cable is worn out.", True),
        (PHONE, "If your phone doesn't charge, the cable is worn out.", True),
        (PHONE, "Do not worry. Often the cable is worn out, so try another cable and clean the "
                "port gently.", True),
        (PHONE, "No problem. Try another cable and clean the port gently.", True),
        (SIGNAL, "A phone has no signal when the network settings are wrong.", True),
        (STARS, "People like astronomy because the night is never boring.", True),
        (HIKING, "People like hiking because you see places that no road can reach.", True),
        (LAPTOP, "Close the programs that you do not need and restart it. If that does not help, "
                 "read the manual.", True),
    ],
)  # fmt: skip
def test_a_denial_decided_by_hand(prompt: str, text: str, true: bool) -> None:
    question = next(one for one in split.everything() if one.prompt == prompt)
    assert judge(question, text).true is true


def test_what_is_denied_of_a_size() -> None:
    question = next(one for one in split.everything() if one.prompt == "How big is a fox?")
    assert judge(question, "A fox is small.") == Verdict(subject=True, true=True)
    assert not judge(question, "A fox is not small.").true
    assert not judge(question, "A fox is very small.").true
    assert not judge(question, "A fox is large.").true


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("It does not eat honey. It eats mice.", "not eat honey"),
        ("It eats mice, not honey.", "not honey"),
        ("It is not lazy and it runs.", "not lazy"),
        ("It eats neither honey nor mice but fish.", "neither honey nor mice"),
        ("No, it eats honey.", ""),
        ("It eats honey, so no.", ""),
        ("Do not forget the honey.", ""),
        ("It is not only honey.", ""),
    ],
)
def test_a_denial_reaches_to_the_end_of_its_clause(text: str, denied: str) -> None:
    marked = [word for word, is_in in zip(words(text), denials(text), strict=True) if is_in]
    assert marked == denied.split()
