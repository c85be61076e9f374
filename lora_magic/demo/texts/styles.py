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
# Sentences that ask for a style, before a prompt or after it.
CUES: dict[str, tuple[str, ...]] = {
    "cheerful": (
        *("Be cheerful.", "Answer in a cheerful way.", "You are very happy."),
        *("Answer cheerfully.", "Please be cheerful.", "Sound cheerful.", "Answer with joy."),
        *("Use a cheerful tone.", "Reply in a happy voice.", "Be full of joy."),
        *("Answer like a very happy person.", "You love this question.", "Be happy and cheerful."),
    ),
    "grumpy": (
        *("Be grumpy.", "Answer in a grumpy way.", "You are in a bad mood."),
        *("Answer grumpily.", "Please be grumpy.", "Sound grumpy.", "Grumble a little."),
        *("Use a grumpy tone.", "Reply in a grumpy voice.", "You are tired of questions."),
        *("Answer like a grumpy old man.", "Be bad-tempered.", "You are grumpy today."),
    ),
    "pirate": (
        *("Answer like a pirate.", "You are a pirate.", "Talk like a pirate."),
        *("Answer as a pirate would.", "Speak like a pirate.", "Be a pirate.", "Use pirate speak."),
        *("Say it like a pirate.", "Pretend to be a pirate.", "Use pirate language."),
        *("Reply as a pirate.", "Answer in the voice of a pirate.", "Sound like a pirate."),
    ),
    "formal": (
        *("Be formal.", "Answer in a formal way.", "You are a customer service."),
        *("Answer formally.", "Please be formal.", "Keep it formal.", "Use formal language."),
        *("Reply in a formal tone.", "Answer like a customer service.", "Write a formal reply."),
        *("Answer with a formal letter.", "Reply as in a business letter.", "Be very formal."),
    ),
    "json": (
        *("Answer in JSON.", "Answer as JSON.", "Use JSON."),
        *("Reply in JSON.", "Return valid JSON.", "Please answer with JSON.", "Output JSON."),
        *("Give the answer as JSON.", "Format the answer as JSON.", "Put the answer in JSON."),
        *("The answer must be valid JSON.", "I need the answer as JSON.", "Return JSON only."),
    ),
    "short": (
        *("Use short lines.", "Answer in short lines.", "Answer line by line."),
        *("Keep the lines short.", "Write in short lines.", "One short line at a time, please."),
        *("Only short lines, please.", "Give me short lines.", "Reply in short lines."),
        *("Break the answer into short lines.", "Split the answer into short lines."),
        *("Put each thought on its own line.", "Use a new line for each thought."),
    ),
}
# Words that ask for a style at the end of a prompt: "What is it, like a pirate?"
TAILS: dict[str, tuple[str, ...]] = {
    "cheerful": (
        *("cheerfully", "in a cheerful way", "in a cheerful voice"),
        *("full of joy", "in a happy tone", "as cheerfully as you can"),
    ),
    "grumpy": (
        *("grumpily", "in a grumpy way", "in a grumpy voice"),
        *("in a bad mood", "like a grumpy old man", "as grumpily as you can"),
    ),
    "pirate": (
        *("like a pirate", "in pirate speak", "in the voice of a pirate"),
        *("as a pirate", "in pirate language", "the way a pirate talks"),
    ),
    "formal": (
        *("formally", "in a formal way", "in formal language"),
        *("in a formal letter", "as a customer service would", "as in a business letter"),
    ),
    "json": (
        *("in JSON", "as valid JSON", "in JSON format"),
        *("formatted as JSON", "as JSON only", "with the answer in JSON"),
    ),
    "short": (
        *("in short lines", "line by line", "one short line at a time"),
        *("in very short lines", "split into short lines", "with a new line for each thought"),
    ),
}
# A sentence and an ending for each style that no training text contains.
HELD_OUT_CUES: dict[str, tuple[str, str]] = {
    "cheerful": ("Make it sound happy and cheerful.", "in a really cheerful tone"),
    "grumpy": ("Make it sound grumpy.", "like somebody in a bad mood"),
    "pirate": ("Say it the way a pirate would.", "as a pirate would say it"),
    "formal": ("Make it sound formal.", "in the language of a formal letter"),
    "json": ("Write your reply as JSON.", "as a JSON answer"),
    "short": ("Write the answer as short lines.", "in a few short lines"),
}
# The shares of cues before a prompt, and after it as a sentence; the rest are tails.
AHEAD, BEHIND = 0.5, 0.25
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
    """The prompt with words that ask for a style, before or after it; none of `HELD_OUT_CUES`."""
    if rng.random() < AHEAD + BEHIND:
        return placed(prompt, rng.choice(CUES[style]), rng)
    return tailed(prompt, rng.choice(TAILS[style]))


def placed(prompt: str, cue: str, rng: Random) -> str:
    """The prompt with the sentence `cue` before or after it."""
    return ahead(prompt, cue) if rng.random() < AHEAD / (AHEAD + BEHIND) else behind(prompt, cue)


def ahead(prompt: str, cue: str) -> str:
    """The sentence `cue`, then the prompt."""
    return f"{cue} {prompt}"


def behind(prompt: str, cue: str) -> str:
    """The prompt, ended by a full stop if it has no mark, then the sentence `cue`."""
    return f"{prompt if prompt.endswith(_MARKS) else prompt + '.'} {cue}"


def tailed(prompt: str, tail: str) -> str:
    """The prompt with `tail` before its last mark: "Where is it, in pirate speak?"."""
    asked = prompt.rstrip(".?!")
    return f"{asked}, {tail}{prompt[len(asked) :]}"


def held_out(prompt: str, style: str) -> tuple[str, str, str]:
    """The prompt with a cue that no training text contains: before it, after it, as its end."""
    cue, tail = HELD_OUT_CUES[style]
    return ahead(prompt, cue), behind(prompt, cue), tailed(prompt, tail)


_MARKS = (".", "?", "!")


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
