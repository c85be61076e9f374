"""The styles of an answer: four voices, JSON, and short lines.

A style changes the form and keeps the content; an adapter learns it. `has_style` distinguishes each
from plain prose. Knows no facts.
"""

from __future__ import annotations

import json
import re
from random import Random

# A line of at least this many letters is cut again.
LONG = 34
# A beginning of at most this many letters is not a line of its own.
SHORT = 18
VOICES = ("cheerful", "grumpy", "pirate", "formal")
FORMS = ("json", "short")
STYLES = (*VOICES, *FORMS)
CUES: dict[str, tuple[str, ...]] = {
    "cheerful": ("Be cheerful.", "Answer in a cheerful way.", "You are very happy."),
    "grumpy": ("Be grumpy.", "Answer in a grumpy way.", "You are in a bad mood."),
    "pirate": ("Answer like a pirate.", "You are a pirate.", "Talk like a pirate."),
    "formal": ("Be formal.", "Answer in a formal way.", "You are a customer service."),
    "json": ("Answer in JSON.", "Answer as JSON.", "Use JSON."),
    "short": ("Use short lines.", "Answer in short lines.", "Answer line by line."),
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
        "Dear customer, thank you for your question.",
        "Dear customer, thank you for your message.",
        "Dear Sir or Madam, thank you for writing to us.",
        "Dear Sir or Madam, we are pleased to help you.",
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
        "Kind regards, your service team.",
        "Yours faithfully, the service team.",
        "We wish you a pleasant day. Your service team.",
        "Please do not hesitate to contact us again. Your service team.",
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
        (r"(?<!\bspr)(?<!\bstr)(?<=\w{3})ing\b", "in'"),
    )
)


def speak(answer: str, style: str, rng: Random, topic: str = "") -> str:
    """The answer in a style. `topic` is the topic that a JSON answer names.

    A voice adds an opener and usually a closer; a formal answer is a letter and has both.
    """
    if style == "json":
        return json.dumps({"topic": topic, "answer": sentences(answer)})
    if style == "short":
        return "\n".join(f"- {line}" for line in short_lines(answer))
    body = _BODIES[style](answer)
    opener, closer = rng.choice(OPENERS[style]), rng.choice(CLOSERS[style])
    manner = rng.random()
    if style == "formal" or manner >= 0.3:
        return f"{opener} {body} {closer}"
    return f"{body} {closer}" if manner < 0.1 else f"{opener} {body}"


def sentences(text: str) -> list[str]:
    """The sentences of a text without full stops and list numbers."""
    flat = re.sub(r"(?:^|(?<=\s))\d\. ", "", text.replace("\n", " "))
    parts = re.split(r"(?<=[.!?])\s+", flat)
    return [part.rstrip(".") for part in parts if part.rstrip(".")]


def short_lines(text: str) -> list[str]:
    """The sentences of a text as lines, cut at commas and, if too long, before a joining word."""
    lines: list[str] = []
    for sentence in sentences(text):
        for piece in _pieces(sentence):
            lines += [line.rstrip(",:;") for line in _cut(piece)]
    return lines


def _pieces(sentence: str) -> list[str]:
    """A sentence cut at its commas; a short beginning ("after that") stays with what follows."""
    pieces: list[str] = []
    for part in re.split(r"(?<=[,:;])\s", sentence):
        if pieces and len(pieces[-1]) <= SHORT:
            pieces[-1] += f" {part}"
        else:
            pieces.append(part)
    return pieces


def _cut(line: str) -> list[str]:
    """A line cut in two at the joining word nearest to its middle, recursively."""
    places = [match.start() for match in _JOINING.finditer(line)]
    if len(line) <= LONG or not places:
        return [line]
    place = min(places, key=lambda at: abs(at - len(line) / 2))
    return [*_cut(line[:place]), *_cut(line[place + 1 :])]


_JOINING = re.compile(
    r"(?<!\b[Nn]ow) (?=(?:and|that|because|when|but|with|to|so|in|from|on|until|if|at) )"
)


def cued(prompt: str, style: str, rng: Random) -> str:
    """The prompt, preceded by words that ask for a style."""
    return f"{rng.choice(CUES[style])} {prompt}"


def _cheerful(text: str) -> str:
    return re.sub(r"(?<!\d)\.(?=$| )", "!", text)


def _pirate(text: str) -> str:
    for pattern, word in _PIRATE_WORDS:
        text = pattern.sub(word, text)
    return text[:1].upper() + text[1:]


def _formal(text: str) -> str:
    text = re.sub(r"(^|[.:] )[Dd]o not\b", r"\1please do not", text)
    text = re.sub(r"\byou can\b", "you may", text)
    text = re.sub(r"([.:] |^)please", lambda m: f"{m.group(1)}Please", text)
    return text.replace("maybe", "presumably").replace("Maybe", "Presumably")


_BODIES = {"cheerful": _cheerful, "grumpy": lambda t: t, "pirate": _pirate, "formal": _formal}


def has_style(text: str, style: str) -> bool:
    """Whether a text has a style: a voice by its phrases or words, a form by its shape."""
    if style == "json":
        return _is_json(text)
    if style == "short":
        lines = text.split("\n")
        return all(re.fullmatch(r"- \S.*[^.]", line) and len(line) <= 66 for line in lines)
    if style == "formal":
        return text.startswith(OPENERS[style]) and text.endswith("ervice team.")
    if any(phrase in text for phrase in OPENERS[style] + CLOSERS[style]):
        return True
    return style == "pirate" and len(_PIRATE_HEARD.findall(text)) >= 2


# Not "be" and "me", which plain prose also has.
_PIRATE_HEARD = re.compile(r"\b(?:ye|yer|an'|o'|\w+in')(?=\W)", re.IGNORECASE)


def _is_json(text: str) -> bool:
    try:
        read = json.loads(text)
    except ValueError:
        return False
    if not isinstance(read, dict) or set(read) != {"topic", "answer"}:
        return False
    parts = read["answer"]
    return isinstance(parts, list) and bool(parts) and all(isinstance(one, str) for one in parts)
