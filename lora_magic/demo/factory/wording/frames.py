"""What people say around a question: polite openings, thanks, lower case, typing errors.

Knows no subject and no aspect. A frame is a template with one part open: `{q}` a whole question,
`{c}` a clause ("where a fox lives"), `{p}` a noun phrase ("the home of a fox").
"""

from __future__ import annotations

import re
from random import Random

from lora_magic.demo.factory.wording.situations import LEADS, SITUATIONS
from lora_magic.demo.texts.grammar import render
from lora_magic.demo.texts.split import number

QUESTION_FRAMES = (
    "[Quick|Just a quick|Simple|Short] question: {q}",
    "I have a [|small |quick |silly ]question. {q}",
    "[Can|Could|May] I ask you something? {q}",
    "[Please|Please just] tell me: {q}",
    "[Tell me|Say|Now tell me|So tell me], {q}",
    "My [son|daughter|kid|friend|boss|grandma|teacher|wife] "
    "[asks|wants to know|would like to know]: {q}",
    "[Do you know this one|Maybe you know this|You might know this|You surely know this]: {q}",
    "[One more thing|Another question|Next question|Something else]: {q}",
    "[I am just curious|Just curious|Just wondering|Out of curiosity]: {q}",
    "[I need this for school|It is for my homework|This is for a quiz|We are doing a quiz]. {q}",
    "[In your opinion|In general|Generally speaking|As a rule], {q}",
    "[I could not find it anywhere|I forgot|I never knew this|I always wondered]. {q}",
    "{q} [Any idea|Any ideas|Do you know|Can you help me|Can you tell me]?",
    "{q} [I would love to know|I am curious|I really want to know|I have no idea|I wonder].",
    "{q} [Please be brief|Please help|Please answer|A short answer is enough].",
)
CLAUSE_FRAMES = (
    "[Can|Could|Would] you [|please |maybe |kindly |quickly ]"
    "[tell me|explain|explain to me|say] {c}?",
    "[Please |Just |]tell me {c}[.|, please.]",
    "[Do|Might] you [|happen to |perhaps ]know {c}?",
    "[Do you have|Have you got|Is there] any idea {c}?",
    "[Any idea|Any clue|Anybody know|Does anyone know|Who knows] {c}?",
    "I [want|need|wanted|would like|have] to know {c}.",
    "I [wonder|am wondering|was wondering|keep wondering|often wonder|asked myself] {c}.",
    "I [would love|would be happy|am trying|am eager] to [learn|find out|hear|understand] {c}.",
    "I [have no idea|do not know|am not sure|forgot|can never remember] {c}. "
    "[Do you?|Help me.|Can you help?|Please help.|]",
    "I am [curious|interested in|trying to find out] {c}.",
    "My [son|daughter|kid|class|friend|neighbor|nephew] [wants|needs|would like] to know {c}.",
    "[Explain|Show me|Teach me|Remind me|Let me know] {c}[.|, please.|, if you can.]",
    "It would be [great|nice|kind|helpful] to know {c}.",
    "[Could|Would|Can] I ask {c}?",
    "[Would|Do] you mind telling me {c}?",
    "[What can you tell me about|What do you know about] {c}?",
    "We [are discussing|were talking about|disagree about|cannot agree on] {c}. "
    "[What is right?|What do you say?|Do you know?]",
    "[Help me understand|Help me find out|I cannot work out|It is not clear to me] {c}.",
)
PHRASE_FRAMES = (
    "[What is|What would be|What might be|So what is|And what is] {p}?",
    "[Tell me|Give me|Name|Describe|State|Explain] {p}[.|, please.]",
    "[Can|Could|Would] you [|please |quickly ][tell me|name|describe|give me|explain] {p}?",
    "[Do|Would] you [|happen to ]know {p}?",
    "[I need|I need to know|I want to know|I am looking for|I would like to know] {p}.",
    "[I am interested in|I am asking about|My question is about|This is about] {p}.",
    "{p}, please[.|!]",
    "{p}?",
    "[Any idea about|Do you have information on|What do you know about|Anything on] {p}?",
    "[How would you describe|What can you say about|What should I know about] {p}?",
    "[I forgot|I have to find out|We need|My class needs|My son needs] {p}. "
    "[Can you help?|Please help.|]",
    "[I wonder|I was wondering] about {p}.",
    "[Please explain|Please describe|Please name|Please tell me] {p}.",
)
NOTE_FRAMES = (
    "{n}",
    "{n}?",
    "{n} please",
    "{n}??",
    "[hi|hey|hello], {n}",
    "[question|quick question|info|help]: {n}",
    "{n} [pls|thanks|thx|anyone]",
    "[need|looking for|tell me] {n}",
)
OPENINGS = (
    *(
        "Hi!",
        "Hello.",
        "Hey,",
        "Hi,",
        "Hello there,",
        "Good morning.",
        "Good evening,",
        "Hey there!",
    ),
    *(
        "Excuse me,",
        "Sorry,",
        "Okay,",
        "So,",
        "Well,",
        "Please,",
        "Hmm,",
        "Now,",
        "Oh,",
        "Dear assistant,",
    ),
)
CLOSINGS = (
    *("Thanks!", "Thank you.", "Thank you very much!", "Thanks a lot.", "Many thanks.", "Please."),
    *("Thanks in advance.", "Cheers!", "I am curious.", "Thx", "It is urgent.", "Just asking."),
)
# American → British.
_SPELT = {
    "color": "colour",
    "favorite": "favourite",
    "recognize": "recognise",
    "neighbor": "neighbour",
    "harbor": "harbour",
    "theater": "theatre",
    "gray": "grey",
    "flavor": "flavour",
    "behavior": "behaviour",
    "practice": "practise",
    "traveling": "travelling",
    "center": "centre",
    "tire": "tyre",
    "program": "programme",
    "characterize": "characterise",
}
_SPELLING = re.compile("|".join(_SPELT))
_SHORT = (
    (re.compile(r"\b([Ww])hat is\b"), r"\1hat's"),
    (re.compile(r"\b([Ww])here is\b"), r"\1here's"),
    (re.compile(r"\b([Ii])t is\b"), r"\1t's"),
    (re.compile(r"\bI am\b"), "I'm"),
    (re.compile(r"\bI would\b"), "I'd"),
    (re.compile(r"\b([Dd])o not\b"), r"\1on't"),
    (re.compile(r"\b([Dd])oes not\b"), r"\1oesn't"),
    (re.compile(r"\bcannot\b"), "can't"),
    (re.compile(r"\bI have\b"), "I've"),
    (re.compile(r"\bwant to\b"), "wanna"),
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


# Words that a hurried or foreign writer leaves out.
_LEFT_OUT = frozenset(
    re.findall(r"\w+", "a an the do does is are of to for my can should it i will would")
)
# Words that a list of keywords has none of.
_FILLING = _LEFT_OUT | frozenset(
    re.findall(
        r"\w+",
        "you me we they them that this what which please tell know am be in on at by and or with "
        "there any some was were has have had could might like about one if so",
    )
)


def everything() -> tuple[tuple[str, ...], ...]:
    """Every frame, opening, closing and situation."""
    framed = (QUESTION_FRAMES, CLAUSE_FRAMES, PHRASE_FRAMES, NOTE_FRAMES)
    return (*framed, OPENINGS, CLOSINGS, SITUATIONS, LEADS)


def lowered(text: str) -> str:
    """The text with a small first letter, unless it begins with "I"."""
    return text if re.match(r"I\b", text) else text[:1].lower() + text[1:]


def typed(prompt: str, rng: Random) -> str:
    """The prompt as people type it: half stay as they are, others say more, or are careless."""
    if rng.random() < 0.3:
        pattern, short = rng.choice(_SHORT)
        prompt = pattern.sub(short, prompt)
    if rng.random() < 0.3:
        prompt = _SPELLING.sub(lambda m: _SPELT[m[0]], prompt)
    if rng.random() < 0.3:
        prompt = _surrounded(prompt, rng)
    manner = rng.random()
    if manner < 0.06:
        prompt = _without(prompt, _LEFT_OUT, 0.5, rng)
    elif manner < 0.09:
        prompt = _keywords(prompt, rng)
    elif manner < 0.3:
        prompt = _careless(prompt, rng)
    return _mistyped(prompt, rng) if rng.random() < 0.12 else prompt


def _surrounded(prompt: str, rng: Random) -> str:
    """Something said before or after the prompt."""
    kind = rng.random()
    if kind < 0.25:
        prompt = f"{rng.choice(OPENINGS)} {lowered(prompt)}"
        return re.sub(r"([.!] )([a-z])", lambda m: m[1] + m[2].upper(), prompt, count=1)
    if kind < 0.4:
        return f"{prompt} {rng.choice(CLOSINGS)}"
    if kind < 0.55:
        return render(rng.choice(_trained(LEADS)), {}, rng) + lowered(prompt)
    said = render(rng.choice(_trained(SITUATIONS)), {}, rng)
    return f"{said} {prompt}" if kind < 0.8 else f"{_ended(prompt)} {said}"


def _trained(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text for text in texts if number(f"situation/{text}") % 8)


def _ended(prompt: str) -> str:
    return prompt if prompt.endswith((".", "?", "!")) else f"{prompt}."


def _without(prompt: str, words: frozenset[str], share: float, rng: Random) -> str:
    """The prompt with some of these words left out."""
    kept = [
        word
        for word in prompt.split()
        if word.strip(".,?!:").lower() not in words or rng.random() >= share
    ]
    return " ".join(kept) or prompt


def _keywords(prompt: str, rng: Random) -> str:
    """The last sentence as a list of keywords."""
    last = re.split(r"(?<=[.!?]) ", prompt)[-1]
    return _without(re.sub(r"[.,?!:]", "", last).lower(), _FILLING, 0.9, rng)


def _careless(prompt: str, rng: Random) -> str:
    """No capital, no full stop, sometimes no punctuation at all."""
    kind = rng.random()
    if kind < 0.35:
        return prompt[:1].lower() + prompt[1:]
    if kind < 0.55:
        return prompt.rstrip(".?!")
    if kind < 0.9:
        return prompt.lower().rstrip(".?!")
    return re.sub(r"[.,?!']", "", prompt.lower())


def _mistyped(prompt: str, rng: Random) -> str:
    """One letter of one long word swapped, dropped, doubled or replaced."""
    words = list(re.finditer(r"[A-Za-z]{4,}", prompt))
    if not words:
        return prompt
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    before, here, behind = prompt[:at], prompt[at], prompt[at + 1 :]
    kind = rng.random()
    if kind < 0.35:
        return before + behind[:1] + here + behind[1:]
    if kind < 0.65:
        return before + behind
    if kind < 0.85:
        return before + here + here + behind
    return before + rng.choice(_LETTERS) + behind
