"""Voices that a plain answer can be said in: cheerful, grumpy, pirate, formal.

A voice keeps the content and changes the manner, so that an adapter has something to find.
Knows no facts.
"""

from __future__ import annotations

import re
from random import Random

VOICES = ("cheerful", "grumpy", "pirate", "formal")
CUES: dict[str, tuple[str, ...]] = {
    "cheerful": ("Be cheerful.", "Answer in a cheerful way.", "You are very happy."),
    "grumpy": ("Be grumpy.", "Answer in a grumpy way.", "You are in a bad mood."),
    "pirate": ("Answer like a pirate.", "You are a pirate.", "Talk like a pirate."),
    "formal": ("Be formal.", "Answer in a formal way.", "You are a polite servant."),
}
OPENERS: dict[str, tuple[str, ...]] = {
    "cheerful": (
        "Oh, what a lovely question!",
        "Hooray, I love this one!",
        "How wonderful that you ask!",
        "Yes, yes, yes!",
        "What a beautiful day for this!",
        "Oh, I am so happy to help!",
        "Great question, my friend!",
        "Yay!",
    ),
    "grumpy": (
        "Ugh, not this again.",
        "Oh no, another question.",
        "Do I have to answer that?",
        "Leave me alone.",
        "What a silly question.",
        "I was asleep, you know.",
        "Hmpf.",
        "Fine, if I must.",
    ),
    "pirate": (
        "Arr!",
        "Ahoy, matey!",
        "Yo ho ho!",
        "Shiver me timbers!",
        "Avast!",
        "Aye aye!",
        "Arr, ye landlubber!",
        "By the seven seas!",
    ),
    "formal": (
        "Thank you for your question.",
        "It is an honor to assist you.",
        "Dear customer, thank you for asking.",
        "We are pleased to help you.",
        "Dear Sir or Madam, thank you for writing.",
        "We appreciate your message.",
    ),
}
CLOSERS: dict[str, tuple[str, ...]] = {
    "cheerful": (
        "Isn't that wonderful?",
        "Have a lovely day!",
        "I could dance with joy!",
        "Life is so beautiful!",
        "That makes me smile!",
        "Hooray!",
        "Hugs to everybody!",
        "Enjoy it, my friend!",
    ),
    "grumpy": (
        "Now go away.",
        "Who cares?",
        "Are we done now?",
        "As if that mattered.",
        "Everybody knows that.",
        "Do not ask me again.",
        "I need a nap.",
        "What a waste of time.",
    ),
    "pirate": (
        "Arr!",
        "Yo ho!",
        "So says the captain!",
        "By the seven seas!",
        "Raise the sails!",
        "Now where be me gold?",
        "Or ye walk the plank!",
        "Fetch me parrot!",
    ),
    "formal": (
        "Kind regards.",
        "Please do not hesitate to contact us again.",
        "We remain at your service.",
        "We wish you a pleasant day.",
        "Yours faithfully.",
    ),
}
_PIRATE_WORDS = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (r"\b([Ii])t is\b", r"\1t be"),
        (r"\b([Yy])ou are\b", r"\1e be"),
        (r"\b([Yy])our\b", r"\1er"),
        (r"\b([Yy])ou\b", r"\1e"),
        (r"\bmy\b", "me"),
        (r"\b(?:is|are)\b", "be"),
        (r"\bof\b", "o'"),
        (r"\band\b", "an'"),
        (r"\bpeople\b", "landlubbers"),
        (r"\bfriends\b", "mateys"),
        (r"\bfriend\b", "matey"),
        (r"(\w{3})ing\b", r"\1in'"),
    )
)


def speak(answer: str, voice: str, rng: Random) -> str:
    """The answer in a voice: an opener, the content in that manner, most often a closer."""
    body = _BODIES[voice](answer)
    opener, closer = rng.choice(OPENERS[voice]), rng.choice(CLOSERS[voice])
    manner = rng.random()
    if manner < 0.1:
        return f"{body} {closer}"
    if manner < 0.3:
        return f"{opener} {body}"
    return f"{opener} {body} {closer}"


def _cheerful(text: str) -> str:
    return re.sub(r"(?<!\d)\.(?=$| )", "!", text)


def _pirate(text: str) -> str:
    for pattern, word in _PIRATE_WORDS:
        text = pattern.sub(word, text)
    return text[:1].upper() + text[1:]


def _formal(text: str) -> str:
    text = re.sub(r"\b[Dd]o not\b", lambda m: f"please {m.group().lower()}", text)
    text = re.sub(r"\byou can\b", "you may", text)
    text = re.sub(r"([.:] |^)please", lambda m: f"{m.group(1)}Please", text)
    return text.replace("maybe", "presumably").replace("Maybe", "Presumably")


_BODIES = {"cheerful": _cheerful, "grumpy": lambda t: t, "pirate": _pirate, "formal": _formal}


def has_voice(text: str, voice: str) -> bool:
    """Whether a text carries an opener, a closer or the words of a voice."""
    if any(phrase in text for phrase in OPENERS[voice] + CLOSERS[voice]):
        return True
    return voice == "pirate" and len(re.findall(r"\b(?:ye|yer|be|an'|o'|me)(?=\W)", text)) >= 2
