"""A rendered prompt in another register: word order of other languages, chat, typing errors.

Knows no subject. Each change leaves the names in the prompt as they are, but for typing errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random

from lora_magic.demo.factory.wording import scenery

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
_DOING = {"live": "living", "use": "using", "make": "making", "come": "coming"}
_VERB = "live|eat|work|use|need|grow|look|sound|smell|feel|cost|like|want|do|make|come|say|wear"


def _going_on(found: re.Match[str]) -> str:
    """Turns "does a fox live" into "is a fox living"."""
    verb = found[3]
    being = "is" if found[1] == "does" else "are"
    return f"{being} {found[2]} {_DOING.get(verb, verb + 'ing')}"


def _rule(pattern: str, new: str | Callable[[re.Match[str]], str]) -> Rule:
    return re.compile(pattern), new


# A question alone, from its first word to its question mark.
_WHOLE: Sequence[Rule] = (
    _rule(
        r"^(Where|What|How|When|Why) (?:does|do) ([^?.,]+?) (live|eat|work|grow|sleep|do|look)\?$",
        lambda m: f"{m[2]} {m[3]} {m[1].lower()}?",
    ),
    _rule(r"^(Where|How) (?:does|do) ([^?.,]+?) (live|work|grow|look)\?$", r"\1 \3 \2?"),
    _rule(r"^What (?:is|are) ([^?.,]+?)(?: used)? for\?$", r"For what is \1?"),
    _rule(r"^What (?:is|are) ([^?.,]+?)(?: used)? for\?$", r"\1 it serves to do what?"),
    _rule(r"^What (?:is|are) ([^?.,]+?) made (of|from)\?$", r"\1 is made \2 what?"),
    _rule(r"^What is the ([a-z ]+ of [^?.,]+)\?$", r"The \1, what is it?"),
    _rule(r"^What is the ([a-z ]+ of [^?.,]+)\?$", r"Which is the \1?"),
    _rule(r"^What (?:is|are) ((?:a|an|the) [^?.,]+)\?$", r"\1, it is what?"),
    _rule(r"^How (?:do|can|should|would) (?:I|you|we|one) ([^?.]+)\?$", r"How to \1?"),
    _rule(r"^How (?:do|can|should|would) (?:I|you|we|one) (make|cook|bake) ", r"How one makes "),
    _rule(r"^What (?:should|can|must) (?:I|we|one) ([^?.]+)\?$", r"What to \1?"),
    _rule(r"^(?:Tell me|Explain|Describe) ", "Please, you can explain me "),
    _rule(r"^(?:Can|Could|Would) you (?:please )?(\w+)", r"Please, you can \1"),
)
# Anywhere in the prompt.
_PARTS: Sequence[Rule] = (
    _rule(
        r"\b([Ww])hat (?:should|can|must|do|would) (?:I|we|you|one) wear\b",
        r"\1ith what to dress me",
    ),
    _rule(r"\b([Ww])hat (?:should|can|must) (I|we) wear\b", r"how must \2 dress"),
    _rule(rf"\b(do|does) ([^?.,]{{2,30}}?) ({_VERB})\b", _going_on),
    _rule(r"\b(?:do|does|did) (?=(?:a|an|the|my|you|they|it|we|I|one|people)\b)", ""),
    _rule(r"\b(?:do|does) (?=\w+s\b)", ""),
    _rule(r"\b(?:a|an|the) ", ""),
    _rule(r"\blives\b", "is living"),
    _rule(r"\bworks (?=in|at|with)", "is working "),
    _rule(r"\b(would like|want|need|have|love) to know\b", r"\1 know"),
    _rule(r"\b([Ss])hould (I|we|you|one)\b", lambda m: f"{'M' if m[1] == 'S' else 'm'}ust {m[2]}"),
    _rule(r"\b(can|should|must) (I|we|you|one)\b", r"\2 \1"),
    _rule(r"\b([Ww])hat (kind|sort|type) of\b", r"\1hich \2 of"),
    _rule(r"\b([Tt])ell (me|us)\b(?! about)", r"\1ell to \2"),
    _rule(r"\bexplain to (me|us)\b", r"explain \1"),
    _rule(r"\binformation\b", "informations"),
    _rule(r"\b([Pp])eople\b", r"\1eoples"),
    _rule(r"\b(he|she|it) (eat|live|work|need|use|like|make|do|look|feel)e?s\b", r"\1 \2"),
    _rule(r"\bis used\b", "is using"),
    _rule(r"\bit is\b", "is"),
    _rule(r"\bthere (?:is|are)\b", "it has"),
    _rule(r"\b([Hh])ow often\b", r"\1ow many times"),
)
_THANKS = (
    *("Please, ", "Hello, please: ", "Excuse my English. ", "Sorry for my english, ", "Friend, "),
    *("I ask you: ", "Dear, ", "Please help, "),
)
# What chats write for a word or two.
_CHAT: Mapping[str, tuple[str, ...]] = {
    "you": ("u",),
    "your": ("ur", "yr"),
    "are": ("r", "are"),
    "please": ("pls", "plz", "plss"),
    "thanks": ("thx", "tnx", "ty"),
    "thank you": ("thx", "ty", "tysm"),
    "because": ("cuz", "cos", "bc"),
    "what is": ("whats", "wats", "wuts", "what's"),
    "what are": ("what r", "whatre"),
    "where is": ("wheres",),
    "how is": ("hows",),
    "who is": ("whos",),
    "what": ("what", "wat", "wht"),
    "do not": ("dont",),
    "does not": ("doesnt", "dont"),
    "cannot": ("cant",),
    "i am": ("im",),
    "i have": ("ive",),
    "i would": ("id",),
    "it is": ("its",),
    "i do not know": ("idk",),
    "i have no idea": ("idk", "no idea"),
    "going to": ("gonna",),
    "want to": ("wanna",),
    "have to": ("gotta", "have to"),
    "got to": ("gotta",),
    "kind of": ("kinda", "kind of"),
    "sort of": ("sorta", "sort of"),
    "give me": ("gimme",),
    "let me": ("lemme",),
    "people": ("ppl",),
    "before": ("b4", "before"),
    "about": ("abt", "bout", "about"),
    "something": ("smth", "sth", "something"),
    "someone": ("sb", "someone"),
    "really": ("rly",),
    "with": ("w", "with"),
    "tomorrow": ("tmrw", "2moro"),
    "tonight": ("tonite",),
    "minutes": ("min", "mins"),
    "though": ("tho",),
    "and": ("n", "&", "and"),
    "should": ("shud", "should"),
    "could": ("cud", "could"),
    "know": ("kno", "know"),
    "question": ("q", "question"),
}
_CHATTED = re.compile(r"\b(" + "|".join(sorted(_CHAT, key=len, reverse=True)) + r")\b")
_CHAT_STARTS = (
    *("ok so ", "yo ", "omg ", "bro ", "hey so ", "um ", "wait ", "hiya, ", "hii ", "so like "),
    *("ok ", "heyy ", "dude ", "uhm so ", "quick q: ", "lol ", "btw ", "hmm ", "alr so "),
)
_CHAT_ENDS = (
    *("???", "??", "!!!", "...", "?!", " lol", " haha", " tho", " btw", "", " pls", " thx", ""),
    *(" plz", " ty", " :)", " xx", " idk", " lmk", "..?", " im curious", " help", "?", "", "????"),
)
#: The words that this module adds.
TABLES = (_THANKS, _CHAT, _CHAT_STARTS, _CHAT_ENDS)


def foreign(prompt: str, rng: Random) -> str:
    """The prompt in the word order of a person who learns English."""
    if rng.random() < 0.6:
        whole = [rule for rule in _WHOLE if rule[0].search(prompt)]
        if whole:
            pattern, new = rng.choice(whole)
            prompt = pattern.sub(new, prompt, count=1)
    fitting = [rule for rule in _PARTS if rule[0].search(prompt)]
    for pattern, new in rng.sample(fitting, min(len(fitting), rng.choice((1, 1, 2, 3)))):
        prompt = pattern.sub(new, prompt)
    if rng.random() < 0.15:
        first = rng.choice(scenery.trained(_THANKS))
        prompt = first + (prompt if first.endswith(". ") else prompt[:1].lower() + prompt[1:])
    prompt = re.sub(r"\bi\b", "I", prompt)
    return prompt[:1].upper() + prompt[1:] if rng.random() < 0.7 else prompt


def chat(prompt: str, rng: Random) -> str:
    """The prompt as a message among friends."""
    share = rng.choice((0.4, 0.7, 1.0))

    def short(found: re.Match[str]) -> str:
        return rng.choice(_CHAT[found[1]]) if rng.random() < share else found[1]

    said = _CHATTED.sub(short, prompt.lower())
    if rng.random() < 0.5:
        said = re.sub(r"[.,!](?= |$)|'", "", said)
    if rng.random() < 0.25:
        said = rng.choice(scenery.trained(_CHAT_STARTS)) + said
    end = rng.choice(_CHAT_ENDS)
    # A statement is no question.
    if "?" in end and not prompt.endswith("?"):
        end = ""
    return said.rstrip(".?!") + end


def mistyped(prompt: str, rng: Random) -> str:
    """One typing error: in a letter of a long word, or between two words."""
    kind = rng.random()
    if kind < 0.12:
        return _joined(prompt, rng)
    if kind < 0.17:
        return _doubled(prompt, rng)
    words = list(re.finditer(r"[A-Za-z]{4,}", prompt))
    if not words:
        return prompt
    word = rng.choice(words)
    return _slipped(prompt, rng.randrange(word.start() + 1, word.end() - 1), rng)


def _slipped(prompt: str, at: int, rng: Random) -> str:
    """The letter swapped with the next one, dropped, doubled or replaced."""
    before, here, behind = prompt[:at], prompt[at], prompt[at + 1 :]
    kind = rng.random()
    if kind < 0.35:
        return before + behind[:1] + here + behind[1:]
    if kind < 0.65:
        return before + behind
    if kind < 0.85:
        return before + here + here + behind
    return before + rng.choice(LETTERS) + behind


def _joined(prompt: str, rng: Random) -> str:
    """A space left out, mostly after a comma, or between two words."""
    spaces = [at.start() for at in re.finditer(r"(?<=\w|[,.?:]) (?=\w)", prompt)]
    if not spaces:
        return prompt
    at = rng.choice(spaces)
    return prompt[:at] + prompt[at + 1 :]


def _doubled(prompt: str, rng: Random) -> str:
    """A short word said twice."""
    words = list(re.finditer(r"\b[a-z]{1,5}\b(?= )", prompt))
    if not words:
        return prompt
    word = rng.choice(words)
    return f"{prompt[: word.end()]} {prompt[word.start() :]}"
