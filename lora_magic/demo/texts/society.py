"""Questions about jobs, hobbies and feelings, with their answers.

Data in the form of `family`; knows nothing of how it is sampled or held out.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from lora_magic.demo.texts.family import Aspect, Family, Fields
from lora_magic.demo.texts.grammar import plural
from lora_magic.demo.world import FEELINGS, HOBBIES, JOBS, Feeling, Hobby, Job


def _job(j: Job) -> Callable[[Random], Fields]:
    def fields(rng: Random) -> Fields:
        one, two, three = rng.sample(j.tasks, 3)
        return {
            "name": j.name,
            "many": plural(j.name),
            "place": j.place,
            "tool": j.tool,
            "one": one,
            "two": two,
            "three": three,
            "trait": j.trait,
        }

    return fields


def hobby(h: Hobby) -> Callable[[Random], Fields]:
    """The fields of a sentence about a hobby."""
    return lambda rng: {
        "name": h.name,
        "needs": h.needs,
        "start": h.first_step,
        "reason": h.reason,
    }


def _feeling(f: Feeling) -> Callable[[Random], Fields]:
    return lambda rng: {
        "name": f.name,
        "moment": f.moment,
        "advice": f.advice,
        "comfort": f.comfort,
    }


JOB = Family(
    "job",
    {j.name: _job(j) for j in JOBS},
    (
        Aspect(
            "tasks",
            (
                "What does a {name} do[| all day]?",
                "[Tell me about|Describe] the work of a {name}.",
                "Describe the day of a {name}.",
                "What is the work of a {name}?",
                "What do {many} do[| all day]?",
            ),
            (
                "a {name} {one}, {two} and {three}.",
                "[every day|usually], a {name} {one} and {two}.",
                "a {name} works {place}. first a {name} {one}, then {two}.",
            ),
            ("one", "two", "three"),
            2,
        ),
        Aspect(
            "place",
            (
                "Where does [a|the] {name} work?",
                "Where can I [find|meet] a {name}?",
                "What is the place of work of a {name}?",
                "Where do {many} work?",
            ),
            ("a {name} works {place}.", "you can find a {name} {place}."),
            ("place",),
        ),
        Aspect(
            "tool",
            (
                "What does a {name} [need|use] for the work?",
                "What is the most important tool of a {name}?",
                "What does a {name} work with?",
            ),
            (
                "a {name} works with {tool}.",
                "the most important tool of a {name} is {tool}.",
            ),
            ("tool",),
        ),
        Aspect(
            "trait",
            (
                "What is it like to be a {name}?",
                "What makes a good {name}?",
                "How do I become a {name}?",
                "Would you like to be a {name}?",
            ),
            (
                "a good {name} is {trait}.",
                "you need to be {trait} to be a {name}.",
            ),
            ("trait",),
        ),
        Aspect(
            "who",
            (
                "Who works with {tool}?",
                "Who needs {tool} for the work?",
                "Whose most important tool is {tool}?",
            ),
            ("a {name} works with {tool}.", "a {name} needs {tool} for the work."),
            ("name",),
        ),
    ),
    (
        "it is work that is done {place}.",
        "a good {name} is {trait}.",
        "the most important tool is {tool}.",
        "on most days, a {name} {three}.",
        "it is [hard|interesting|important] work, and "
        "[people are grateful|it is never boring|the days are long].",
    ),
    weight=1.7,
)

HOBBY = Family(
    "hobby",
    {h.name: hobby(h) for h in HOBBIES},
    (
        Aspect(
            "start",
            (
                "How do I [start with|learn|begin with] {name}?",
                "Give me [some|] advice about {name}.",
                "What is the first step in {name}?",
            ),
            ("to start with {name}, {start}.", "{name} is fun. first, {start}."),
            ("start",),
        ),
        Aspect(
            "needs",
            (
                "What do I need for {name}?",
                "What should I buy for {name}?",
                "What does somebody need to start with {name}?",
            ),
            ("for {name} you need {needs}.", "all you need for {name} is {needs}."),
            ("needs",),
        ),
        Aspect(
            "reason",
            (
                "Why do people like {name}?",
                "Is {name} a good hobby?",
                "What is [so|] good about {name}?",
            ),
            (
                "people like {name} because {reason}.",
                "{name} is a [good|great|wonderful] hobby, because {reason}.",
            ),
            ("reason",),
        ),
    ),
    (
        "you need {needs}.",
        "to begin, {start}.",
        "people like it because {reason}.",
        "[do not give up|be patient|take your time].",
        "ask a friend to join you.",
        "[half an hour|ten minutes] a day is enough.",
    ),
    weight=1.4,
)

FEELING = Family(
    "feeling",
    {f.name: _feeling(f) for f in FEELINGS},
    (
        Aspect(
            "advice",
            (
                "I feel {name}. What [should|can] I do?",
                "[I am|I feel] {name} today.",
                "What can I do when I [feel|am] {name}?",
                "My friend is {name}. What should I say?",
            ),
            (
                "[I understand|that is normal|thank you for telling me]. "
                "when you feel {name}, {advice}.",
                "if you feel {name}, {advice}.",
            ),
            ("advice",),
        ),
        Aspect(
            "moment",
            (
                "Why do people feel {name}?",
                "When are people {name}?",
                "What makes people {name}?",
                "When does somebody feel {name}?",
            ),
            ("people feel {name} when {moment}.", "many people are {name} when {moment}."),
            ("moment",),
        ),
    ),
    (
        "remember: {comfort}.",
        "it helps to know that {comfort}.",
        "{advice}.",
        "[it will pass|you are not alone|everybody knows this feeling].",
    ),
    weight=0.9,
)
