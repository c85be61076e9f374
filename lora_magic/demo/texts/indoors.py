"""Questions about dishes, faulty products and things, with their answers.

Data in the form of `family`; knows nothing of how it is sampled or held out.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from lora_magic.demo.texts.family import Aspect, Family, Fields
from lora_magic.demo.texts.grammar import joined, render
from lora_magic.demo.world import (
    DISHES,
    FAULTS,
    MINUTES,
    PRODUCTS,
    THINGS,
    Dish,
    Fault,
    Product,
    Thing,
)

STEPS: dict[str, tuple[str, ...]] = {
    "soup": (
        "wash and cut {i1}",
        "fry {i2} in a large pot",
        "add {i3} and enough water, and let it cook for {minutes} minutes",
        "stir in {i4} and {i5} at the end",
    ),
    "bake": (
        "heat the oven and butter a pan",
        "mix {i1}, {i2} and {i3} in a large bowl",
        "add {i4} and {i5}",
        "bake it for {minutes} minutes until it is golden",
    ),
    "fry": (
        "heat a little oil in a pan",
        "cook {i1} and {i2}",
        "add {i3} and {i4}, and stir gently",
        "cook it for {minutes} minutes and serve it with {i5}",
    ),
    "mix": (
        "cut {i1} into small pieces",
        "mix it with {i2} and {i3}",
        "add {i4} and {i5}",
        "let it rest for {minutes} minutes",
    ),
    "drink": (
        "prepare {i1} and {i2}",
        "mix them with {i3} in a tall glass",
        "add {i4} and stir",
        "serve it with {i5}",
    ),
}


def _dish(d: Dish) -> Callable[[Random], Fields]:
    def fields(rng: Random) -> Fields:
        named = {f"i{n}": item for n, item in enumerate(d.ingredients, start=1)}
        named["minutes"] = rng.choice(MINUTES)
        steps = [render(step, named, rng) for step in STEPS[d.method]]
        first, second, third, fourth = steps
        return {
            **named,
            "name": d.name,
            "is": "are" if d.plural else "is",
            "it": "they" if d.plural else "it",
            "them": "them" if d.plural else "it",
            "does": "do" if d.plural else "does",
            "taste_verb": "taste" if d.plural else "tastes",
            "all": joined(rng.sample(d.ingredients, len(d.ingredients))),
            "recipe": f"first {first}. then {second}. after that, {third}. finally, {fourth}.",
            "numbered": "\n".join(f"{n}. {s}." for n, s in enumerate(steps, start=1)),
            "taste": d.taste,
            "occasion": d.occasion,
        }

    return fields


def _fault(f: Fault) -> Callable[[Random], Fields]:
    return lambda rng: {
        "name": f.product,
        "problem": f.problem,
        "cause": f.cause,
        "remedy": f.remedy,
    }


def product(p: Product) -> Callable[[Random], Fields]:
    """Fields of a sentence about a product; `mine`, `theirs`: its use in the 1st and 3rd person."""
    return lambda rng: {
        **vars(p),
        "mine": used_by("my", p.use),
        "theirs": used_by("their", p.use),
        "problem": rng.choice(p.problems),
    }


def used_by(owner: str, use: str) -> str:
    """A use in the first person: "see your own face" → "see my own face"."""
    return use.replace("your ", f"{owner} ")


def _thing(t: Thing) -> Callable[[Random], Fields]:
    return lambda rng: {"name": t.name, "material": t.material, "use": t.use}


INGREDIENTS = ("i1", "i2", "i3", "i4", "i5")

DISH = Family(
    "dish",
    {d.name: _dish(d) for d in DISHES},
    (
        Aspect(
            "recipe",
            (
                "How do [I|you] [make|cook|prepare] {name}?",
                "[Give me a recipe for|Explain how to make|Tell me how to make] {name}.",
                "What is a good recipe for {name}?",
            ),
            ("to make {name}, {recipe}", "for {name}, {recipe}", "for {name}:\n{numbered}"),
            INGREDIENTS,
            3,
            alone=True,
        ),
        Aspect(
            "needs",
            (
                "What do I need for {name}?",
                "What [is|goes] in {name}?",
                "What should I buy for {name}?",
                "Which ingredients do I need for {name}?",
            ),
            ("for {name} you need {all}.", "you need {all} for {name}."),
            INGREDIENTS,
            3,
        ),
        Aspect(
            "taste",
            (
                "What {does} {name} taste like?",
                "[Do you like|Is it good to eat] {name}?",
                "How {is} {name}?",
                "What is special about {name}?",
            ),
            (
                "{name} {taste_verb} {taste}.",
                "the best thing about {name} is that {it} {is} {taste}.",
            ),
            ("taste",),
        ),
        Aspect(
            "occasion",
            (
                "When should I [make|serve|eat] {name}?",
                "When {is} {name} a good idea?",
                "What is a good time for {name}?",
            ),
            ("{name} {is} perfect for {occasion}.", "for {occasion}, {name} {is} just right."),
            ("occasion",),
        ),
    ),
    (
        "everybody likes {them}.",
        "{it} {taste_verb} {taste}.",
        "{it} {is} perfect for {occasion}.",
        "you make {them} with {all}.",
        "the secret is {i5}.",
        "buy everything fresh at the market.",
    ),
    weight=1.8,
)

FAULT = Family(
    "fault",
    {f.name: _fault(f) for f in FAULTS},
    (
        Aspect(
            "remedy",
            (
                "My {name} {problem}. What [should|can] I do?",
                "My {name} {problem}. [Can you help me?|Please help.|Help!]",
                "What [should|can] I do if my {name} {problem}?",
                "How do I fix a {name} that {problem}?",
                "[Hello|Help], my {name} {problem}.",
            ),
            (
                "[maybe|perhaps|probably] {cause}. to fix the {name}, {remedy}.",
                "this happens to a {name} when {cause}. {remedy}.",
                "{remedy}. [usually|most of the time] the problem with a {name} is that {cause}.",
                "[do not worry|no problem]. often {cause}, so {remedy}.",
            ),
            ("cause", "remedy"),
        ),
        Aspect(
            "cause",
            (
                "Why is it that my {name} {problem}?",
                "My {name} {problem}. [Why?|What is wrong?|What is the reason?]",
                "What is wrong if a {name} {problem}?",
            ),
            (
                "a {name} {problem} when {cause}.",
                "if your {name} {problem}, [maybe|probably] {cause}.",
            ),
            ("cause",),
        ),
    ),
    (
        "{remedy}.",
        "[usually|often] {cause}.",
        "if that does not help, [ask a friend|take it to a shop|read the manual].",
        "this happens to many people.",
        "it only takes {minutes} minutes.",
        "[be careful|take your time].",
    ),
    weight=2.2,
)

PRODUCT = Family(
    "product",
    {p.name: product(p) for p in PRODUCTS},
    (
        Aspect(
            "use",
            (
                "What is a {name} good for?",
                "Why do people buy a {name}?",
                "What can I do with [a|my] {name}?",
                "Do I need a {name}?",
            ),
            (
                "with a {name}, you can {use}.",
                "people buy a {name} to {theirs}.",
                "a {name} helps people to {theirs}.",
            ),
            ("use",),
        ),
        Aspect(
            "part",
            (
                "What should I look at when I buy a {name}?",
                "Which part of a {name} is important?",
                "What is the best part of [a|the] {name}?",
            ),
            (
                "look closely at {part} of the {name}.",
                "the most important part of a {name} is {part}.",
            ),
            ("part",),
        ),
        Aspect(
            "about",
            ("[Tell me about|Describe] [a|the] {name}.", "What do you know about [a|the] {name}?"),
            (
                "a {name} helps you to {use}. its best part is {part}.",
                "people use a {name} to {theirs}, and they look at {part} first.",
            ),
            ("use", "part"),
        ),
    ),
    (
        "it helps you to {use}.",
        "the best part is {part}.",
        "now and then, a {name} {problem}.",
        "a good one is not cheap.",
        "[read the manual first|keep the box|ask for a good price].",
    ),
    weight=1.2,
)

THING = Family(
    "thing",
    {t.name: _thing(t) for t in THINGS},
    (
        Aspect(
            "use",
            (
                "What is a {name}[| good for| for]?",
                "What can I do with a {name}?",
                "Why do [I|people] need a {name}?",
                "What do people use a {name} for?",
            ),
            (
                "a {name} is a thing that you use to {use}.",
                "you can use a {name} to {use}.",
                "with a {name}, you can {use}.",
            ),
            ("use",),
        ),
        Aspect(
            "material",
            (
                "What is [a|the] {name} made of?",
                "Which material do I need for a {name}?",
                "How is a {name} made?",
            ),
            (
                "a {name} is [often|usually] made of {material}.",
                "people make a {name} out of {material}.",
            ),
            ("material",),
        ),
    ),
    (
        "you use it to {use}.",
        "it is [often|usually] made of {material}.",
        "it can be [old or new|small or large|plain or beautiful|light or heavy].",
        "a good one lasts for many years.",
        "[keep it in a dry place|take good care of it].",
    ),
    weight=1.2,
)
