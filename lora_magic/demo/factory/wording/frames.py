"""What people say around a question: polite openings, thanks, lower case, typing errors.

Knows no subject and no aspect. A frame is a template with one part open: `{q}` a whole question,
`{c}` a clause ("where a fox lives"), `{p}` a noun phrase ("the home of a fox"), `{n}` a note.
Other fields are filled from the tables of `scenery`.
"""

from __future__ import annotations

import re
from random import Random

from lora_magic.demo.factory.wording import fronting, registers, scenery
from lora_magic.demo.factory.wording.situations import LEADS, SITUATIONS
from lora_magic.demo.texts.grammar import render

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
    "[The question in my head is|What I ask myself is|The thing I wonder is|My question]: {q}",
    "[Refresh my memory|Enlighten me|Help me out|Educate me|Settle this for me]: {q}",
    "[Be honest|Be kind|Be so good] and tell me: {q}",
    "[Here is one|Here's a question|Here comes one|One] for you[:| from my {rel}:] {q}",
    "[My {rel}|{name}|Somebody from {group}] asked me {when}: {q}",
    "[Ask me not why, but|No idea why I ask, but|I feel silly, but|I should know, but] {q}",
    "[Imagine|Suppose|Say] {name} asks you: {q}",
    "[A thing|Something|What] I never [understood|got|learned|found out]: {q}",
    "[Still|Always|Again] the same [question|puzzle] {spot}: {q}",
    "[The internet|My {thing}|My {rel}|Nobody {spot}] could not tell me: {q}",
    "I am [asking|writing] on behalf of [my {rel}|{group}]: {q}",
    "{q} [That is my question|That's all|That is what I ask myself|That's what {name} asks].",
    "{q} [My {rel}|{name}|{group}] [would love|needs|is waiting] to [know|hear it].",
    "{q} [Nobody {spot} knows|I asked my {rel} in vain|My {rel} says you know].",
    "{q} [No idea|Not a clue|Clueless] [here|myself].",
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
    "Explain to [me|us|my {rel}] {c}.",
    "[Fill|Clue] me in on {c}.",
    "[Walk|Talk] me through {c}.",
    "[Got|Have] any [idea|clue|inkling] {c}?",
    "[Mind|Would you mind] [telling|explaining to] [me|us] {c}?",
    "[Refresh my memory on|Remind me again|Enlighten me on|Please clarify] {c}.",
    "The question [in my head|of the day|here|from {group}] is {c}.",
    "[What I want|All I want|All I need|What we need] to know is {c}.",
    "Having [just |]{done}, I [was wondering|wonder|wondered|would like to know] {c}.",
    "Having {done}, which my {rel} [still laughs about|thought odd], I [was wondering|wonder] {c}.",
    "Being {trait}, I [have no idea|never learned|cannot tell] {c}.",
    "[While|As] I was {doing}, I [asked myself|wondered|began to wonder] {c}.",
    "My {rel}, who is {trait}, [wonders|wants to know|keeps asking me|asked {when}] {c}.",
    "{name} and I [argued about|talked about|wonder|disagree on] {c}.",
    "[If you know|If you happen to know] {c}, [say so|tell me|let me know|I am all ears].",
    "[For|In] [my|our] {piece} I [need|have] to [say|write|explain] {c}.",
    "[Curious|Interested to hear|Keen to know|Wondering|Trying to remember] {c}.",
    "[I've been meaning to ask|I meant to ask you|Let me ask you|I have to ask] {c}.",
    "[I'd|I would] be [grateful|obliged|glad] if you [told me|could tell me|explained] {c}.",
    "[Someone|Somebody|A {trade}|My {rel}] asked me {c}, and I [had no answer|was lost|went red].",
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
    "Walk me through {p}.",
    "[Got|Have] any [thoughts on|clue about|idea about] {p}?",
    "[Mind telling me|Do you mind telling me|Would you mind giving me] {p}?",
    "[Fill me in on|Refresh my memory on|Enlighten me about|Brief me on] {p}.",
    "The question [in my head|here|of my {rel}] is about {p}.",
    "[Explain to me|Explain to us|Spell out|Sum up|Go over] {p}.",
    "For [my|our|a] {piece} I need {p}.",
    "[My {rel}|{name}] [wants to know about|is after|asked for|needs] {p}.",
    "[Having {done}, I|Since {why}, I] [am after|need|am looking for] {p}.",
    "[Looking for|Searching for|In need of|After] {p}[.|, {rush}.| before the {event}.]",
    "[All I need is|What I need is|What I am after is|Just] {p}.",
    "Do you have {p} [for me|for my {piece}|for {group}]?",
    "[Let me have|Let me hear|Hit me with|Send me|Share] {p}, [please|thanks|if you can|{hurry}].",
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
    "{n} ???",
    "{n} for [my|a] {piece}",
    "{n}, {rush}",
    "{n} - [for {group}|asking for my {rel}|need it {soon}]",
    "[so|ok|um|and], {n}",
    "[my {rel} asks|topic|next|search|wondering]: {n}",
    "{n} [asap|lol|plz|cheers|help|??]",
    "{n} ([quick|for my {rel}|{soon}])",
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
_CAPITAL = re.compile(rf"(?:I|{'|'.join(scenery.TABLES['name'])})\b")
# A prompt of one sentence that asks.
_QUESTION = re.compile(
    r"(?:What|Where|How|Why|When|Who|Which|In w|For w|Can|Could|Do|Does|Is|Are|Should)[^.?!]*\?$"
)
#: The share of prompts with something beside the question.
SURROUNDED = 0.45
#: The shares of prompts with another language's word order, with marks left out, as in a chat, and
#: with typing errors.
FOREIGN, CARELESS, CHATTED, MISTYPED = 0.05, 0.14, 0.06, 0.1


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


def everything() -> tuple[object, ...]:
    """Every frame, opening, closing and situation."""
    framed = (QUESTION_FRAMES, CLAUSE_FRAMES, PHRASE_FRAMES, NOTE_FRAMES)
    composed = (*scenery.EVERYTHING, scenery.TABLES, fronting.BETWEEN, *registers.TABLES)
    return (*framed, OPENINGS, CLOSINGS, SITUATIONS, LEADS, *composed)


def lowered(text: str) -> str:
    """The text with a small first letter, unless it begins with "I" or a person's name."""
    return text if _CAPITAL.match(text) else text[:1].lower() + text[1:]


def typed(prompt: str, rng: Random) -> str:
    """The prompt as people type it: a third stay as they are, others say more, or are careless."""
    if rng.random() < 0.3:
        pattern, short = rng.choice(_SHORT)
        prompt = pattern.sub(short, prompt)
    if rng.random() < 0.3:
        prompt = _SPELLING.sub(lambda m: _SPELT[m[0]], prompt)
    manner = rng.random()
    prompt = _reworded(prompt, manner, rng)
    if rng.random() < SURROUNDED:
        prompt = _surrounded(prompt, rng)
    if manner >= 1 - CHATTED:
        prompt = registers.chat(prompt, rng)
    elif manner >= 1 - CHATTED - CARELESS:
        prompt = _careless(prompt, rng)
    if rng.random() < MISTYPED:
        prompt = registers.mistyped(prompt, rng)
        return registers.mistyped(prompt, rng) if rng.random() < 0.25 else prompt
    return prompt


def _reworded(prompt: str, manner: float, rng: Random) -> str:
    """The question as a learner of English says it, or with words left out; mostly as it is."""
    if manner < FOREIGN:
        return registers.foreign(prompt, rng)
    if manner < FOREIGN + 0.04:
        return _without(prompt, _LEFT_OUT, 0.5, rng)
    return _keywords(prompt, rng) if manner < FOREIGN + 0.06 else prompt


def _surrounded(prompt: str, rng: Random) -> str:
    """Something said before or after the prompt, sometimes both."""
    kind = rng.random()
    if kind < 0.12:
        return _opened(prompt, rng)
    if kind < 0.19:
        said = prompt if rng.random() < 0.3 else _ended(prompt)
        return f"{said} {rng.choice(CLOSINGS)}"
    if kind < 0.26:
        return render(rng.choice(scenery.trained(LEADS)), {}, rng) + lowered(prompt)
    if kind < 0.46:
        return _led(prompt, rng)
    if kind < 0.64:
        return _tailed(prompt, rng)
    prompt = _said_beside(prompt, rng)
    return _said_beside(prompt, rng) if rng.random() < 0.12 else prompt


def _opened(prompt: str, rng: Random) -> str:
    """A greeting, then the prompt."""
    prompt = f"{rng.choice(OPENINGS)} {lowered(prompt)}"
    return re.sub(r"([.!] )([a-z])", lambda m: m[1] + m[2].upper(), prompt, count=1)


def _led(prompt: str, rng: Random) -> str:
    """A clause that leads into the prompt: a comma goes before a question, else a colon."""
    opener = scenery.capital(scenery.drawn(scenery.OPENERS, rng))
    if opener.endswith(", ") and not _QUESTION.match(prompt):
        opener = f"{opener[:-2]}: "
    return opener + lowered(prompt)


def _tailed(prompt: str, rng: Random) -> str:
    """A short phrase after the last word, before or behind its mark."""
    body, mark = re.fullmatch(r"(.*?)([.?!]*)", prompt, re.S).groups()  # type: ignore[union-attr]
    if rng.random() < 0.3:
        return f"{body}, {scenery.drawn(scenery.ASIDES, rng)}{mark}"
    tail = scenery.drawn(scenery.PURPOSES, rng)
    kind = rng.random()
    if kind < 0.4 and not tail.startswith(("because", "since", "so ", "in ")):
        return f"{_ended(prompt)} {scenery.capital(tail)}."
    if kind < 0.55:
        return f"{body} ({tail}){mark}"
    if kind < 0.75:
        return f"{prompt} - {tail}"
    return f"{body}{mark if mark not in ('', '.') else ','} {tail}"


def _said_beside(prompt: str, rng: Random) -> str:
    """A sentence before or after the prompt."""
    if rng.random() < 0.3:
        said = render(rng.choice(scenery.trained(SITUATIONS)), {}, rng)
    else:
        said = scenery.capital(scenery.drawn(scenery.SENTENCES, rng))
    return f"{said} {prompt}" if rng.random() < 0.6 else f"{_ended(prompt)} {said}"


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
    """The prompt as a list of keywords."""
    return _without(re.sub(r"[.,?!:]", "", prompt).lower(), _FILLING, 0.9, rng)


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
