"""How people ask for a yes or no, a comparison, or about two things, with the sentence left open.

`{q}` is a question without its mark, `{s}` a statement, `{c}` a clause, `{n}` a short note. Knows
no facts.
"""

from __future__ import annotations

from functools import cache

from lora_magic.demo.texts.grammar import expand
from lora_magic.demo.texts.relations.facts import Fact

# Yes or no.
ASKED = (
    "{q}?",
    "{q}, [yes or no|or not]?",
    "[Quick question|One question|Yes or no|My question is]: {q}?",
    "[Hey|Hello|Hi|Excuse me|Well|So|Please], {q}?",
    "[Tell me|Can you tell me|Say], {q}?",
    "My [son|daughter|friend|class|boss] [asks|wants to know]: {q}?",
    "I [have to|must] know this: {q}?",
    "I have a question. {q}?",
    "I am not sure. {q}?",
    "{q}? [I am not sure.|I have no idea.|I need to know.|Please answer.|Thanks.]",
)
STATED = (
    "{s}, [right|correct|true|yes|no]?",
    "{s}, is that [so|right|true|correct]?",
    "{s}, isn't that [so|right|true]?",
    "{s}, or am I wrong?",
    "{s}. [Is that so|Is that true|Is this right|True|Am I right|Correct|Yes or no|True or false]?",
    "Is it [true|right|correct|a fact|so] that {s}?",
    "Am I right that {s}?",
    "Could it be that {s}?",
    "Is it possible that {s}?",
    "Would you say that {s}?",
    "Do you think [that |]{s}?",
    "Do you know [whether|if] {s}?",
    "Can you [tell me|say|confirm|check] [whether|if] {s}?",
    "Could you please tell me [whether|if] {s}?",
    "[Tell me|Please tell me|Let me know] [whether|if] {s}.",
    "I [wonder|would like to know|want to know|need to know|was wondering] [whether|if] {s}.",
    "I [do not remember|cannot say|have no idea] [whether|if] {s}.",
    "I [think|believe|guess|suppose] [that |]{s}. Is that [so|right|true|correct]?",
    "I [heard|read|was told] that {s}. [Is that true|Is that so|True|Is it right]?",
    "My [brother|teacher|friend|daughter] says that {s}. Is that [right|true]?",
    "[Somebody|A man|A child] told me that {s}. Is it true?",
    "They say that {s}. [Are they right|Is it true]?",
    "[So|Really|Wait], {s}?",
    "True or false: {s}?",
    "{s}: true or false?",
    "{s}. [Please check this.|Please tell me if I am right.]",
    "If I say that {s}, am I right?",
)
NOTED = (
    "{n}?",
    "{n}, [right|yes or no|true]?",
    "{n} - [is that so|true or false|yes or no]?",
    "[so|question|quick check|hm]: {n}?",
)
# Which of two is bigger; {more} is "bigger", "larger" or "smaller".
SIZES = (
    "Which is [bigger|larger|smaller], a {name} or a {other}?",
    "Which is [bigger|larger|smaller], the {name} or the {other}?",
    "Which animal is [bigger|larger|smaller], a {name} or a {other}?",
    "Which one is [bigger|larger|smaller], the {name} or the {other}?",
    "Which of the two is [bigger|larger|smaller], a {name} or a {other}?",
    "Who is [bigger|larger|smaller], a {name} or a {other}?",
    "Who is [bigger|larger|smaller], the {name} or the {other}?",
    "What is [bigger|larger|smaller], a {name} or a {other}?",
    "What is [bigger|larger|smaller]: {name} or {other}?",
    "Which are [bigger|larger|smaller], {many} or {others}?",
    "Are {many} or {others} [bigger|larger|smaller]?",
    "Is a {name} or a {other} [bigger|larger|smaller]?",
    "Is the {name} or the {other} the [bigger|larger|smaller] animal?",
    "{name} or {other}: which is [bigger|larger|smaller]?",
    "{name} or {other}, [which|who] is bigger?",
    "A {name} or a {other}: which one is [bigger|larger|smaller]?",
    "A {name} and a {other}: who is [bigger|larger|smaller]?",
    "[bigger|larger|smaller]: {name} or {other}?",
    "Compare the [size|sizes] of a {name} and a {other}.",
    "Compare a {name} with a {other}. Which is [bigger|larger|smaller]?",
    "Can you tell me which is [bigger|larger|smaller], a {name} or a {other}?",
    "Do you know whether a {name} or a {other} is [bigger|larger|smaller]?",
    "I want to know which is [bigger|larger|smaller], a {name} or a {other}.",
    "Tell me which is [bigger|larger|smaller], the {name} or the {other}.",
    "I have a {name} and a {other}. Which is [bigger|larger|smaller]?",
    "We saw a {name} and a {other}. Which of them is [bigger|larger|smaller]?",
    "My son asks which animal is [bigger|larger|smaller], a {name} or a {other}.",
    "Between a {name} and a {other}, which is [bigger|larger|smaller]?",
    "Of {many} and {others}, which are [bigger|larger|smaller]?",
    "size of a {name} and a {other}",
    "How does the size of a {name} compare with that of a {other}?",
    "How big is a {name} compared to a {other}?",
)
# Whether one is bigger than the other: these go into ASKED, STATED and NOTED.
COMPARED = Fact(
    "animal",
    "size",
    "",
    (
        "is [a|the] {name} [bigger|larger|smaller] than [a|the] {other}",
        "are {many} [bigger|larger|smaller] than {others}",
    ),
    (
        "[a|the] {name} is [bigger|larger|smaller] than [a|the] {other}",
        "{many} are [bigger|larger|smaller] than {others}",
    ),
    ("{name} [bigger|larger|smaller] than {other}",),
)
# Two subjects, or two aspects of one.
BOTH_ASKED = (
    "{q}?",
    "[Quick question|One question|My question is]: {q}?",
    "[Hey|Hello|Hi|Excuse me|So|Please], {q}?",
    "[Tell me|Say], {q}?",
    "My [son|daughter|friend|class] [asks|wants to know]: {q}?",
    "I have two questions in one. {q}?",
    "{q}? [I am not sure.|I have no idea.|I need both answers.|Thanks.]",
    "We talked about this today. {q}?",
)
BOTH_TOLD = (
    "[Can|Could] you [tell me|explain|say] {c}?",
    "[Tell me|Please tell me|Explain|Let me know] {c}.",
    "I [want to|would like to|need to|must] know {c}.",
    "I [wonder|was wondering|am asking myself] {c}.",
    "Do you [know|remember] {c}?",
    "I [have no idea|forgot|do not remember] {c}.",
    "My [son|teacher|class] wants to know {c}.",
    "Can somebody tell me {c}?",
    "Who can tell me {c}?",
)
# Notes of two subjects, for {word} ("food"), and of two aspects, with {second} ("home").
BOTH_NOTED = (
    "{word} of [a|the] {name} and [a|the] {other}",
    "{name} and {other}: {word}?",
    "[the |]{word} for {name} and {other}, please",
    "{name} and {other}, {word} of both",
)
TWO_NOTED = (
    "{word} and {second} of [a|the] {name}",
    "{name}: {word} and {second}?",
    "{name} {word} and {second}, please",
    "What are the {word} and the {second} of a {name}?",
    "[Tell me|Give me] the {word} and the {second} of a {name}.",
    "I need to know two things about a {name}: {word} and {second}.",
)


def filled(frames: tuple[str, ...], mark: str, sentences: tuple[str, ...]) -> tuple[str, ...]:
    """Every frame with every sentence at its mark, all choices expanded."""
    stems = [text for sentence in sentences for text in expand(sentence)]
    wholes = [text for frame in frames for text in expand(frame)]
    return tuple(dict.fromkeys(text.replace(mark, stem) for text in wholes for stem in stems))


@cache
def yes_or_no(fact: Fact) -> tuple[tuple[str, ...], ...]:
    """The shapes of a yes-or-no question: direct, questions, about a statement, short."""
    return (
        filled(("{q}?",), "{q}", fact.ask),
        filled(ASKED[1:], "{q}", fact.ask),
        filled(STATED, "{s}", fact.say),
        filled(NOTED, "{n}", fact.note),
    )


@cache
def sizes() -> tuple[tuple[str, ...], ...]:
    """The shapes of a question which of two animals is bigger or smaller."""
    return (tuple(text for template in SIZES for text in expand(template)),)


def _bare(fact: Fact, note: str) -> str:
    """A note without articles, for names that take none: dishes and hobbies."""
    named = fact.kind in ("dish", "hobby")
    return note.replace("[a|the] {", "{").replace(" a {", " {") if named else note


@cache
def both(fact: Fact) -> tuple[tuple[str, ...], ...]:
    """The shapes of a question about two subjects."""
    notes = tuple(_bare(fact, text.replace("{word}", fact.word)) for text in BOTH_NOTED)
    return (
        filled(("{q}?",), "{q}", fact.pair),
        filled(BOTH_ASKED[1:], "{q}", fact.pair),
        filled(BOTH_TOLD, "{c}", fact.clause),
        tuple(text for note in notes for text in expand(note)),
    )


@cache
def two(first: Fact, second: Fact) -> tuple[tuple[str, ...], ...]:
    """The shapes of a question about two aspects of one subject."""
    asked = tuple(f"{text} and {second.what_it}" for text in first.what)
    notes = (
        _bare(first, text.replace("{word}", first.word).replace("{second}", second.word))
        for text in TWO_NOTED
    )
    return (
        filled(("{q}?",), "{q}", asked),
        filled(BOTH_ASKED[1:], "{q}", asked),
        filled(BOTH_TOLD, "{c}", (f"{first.told} and {second.told_it}",)),
        tuple(text for note in notes for text in expand(note)),
    )
