"""People's own words for what is not a fact: reviews, stories, set forms and dialogues.

Data in the form of `parts`. Only {name} is open, with {was}, {they} and {them} for a dish and {at}
for a place. Knows no answers.
"""

from __future__ import annotations

from lora_magic.demo.factory.wording.parts import Wording


def _review(name: str) -> tuple[str, ...]:
    """Requests for an opinion that fit every kind; `name` is the subject as it stands in them."""
    return (
        f"[Please write|Please give me|I need|I want] a [|short |quick ]review of {name}.",
        f"Write [me a|an honest|a little|a brief] review [of|about] {name}.",
        f"Write a [few lines|few words|paragraph] on what you think of {name}.",
        f"What is your [|honest |personal ]opinion [of|on|about] {name}?",
        f"[Give me|Tell me|Share] your [|honest |personal ]opinion [of|on|about] {name}.",
        f"Give {name} a [rating|review|mark].",
        f"How would you [rate|review|judge] {name}?",
        f"How many stars [would you give|do you give|for] {name}?",
        f"Tell me [honestly |]what you think [of|about] {name}.",
        f"[Can|Could|Would] you [review|rate] {name}[| for me]?",
        f"[Can|Could] you write a [|short ]review of {name}?",
        f"What [did|do] you think of {name}?",
        f"What do you [make of|say about] {name}?",
        f"[Rate|Judge|Please rate|Please review] {name}.",
        f"What [was|is] your [experience with|impression of] {name}?",
        f"Would you say something good or bad about {name}?",
        f"[Are|Were] you [happy|satisfied|pleased] with {name}?",
        f"[Leave|Post] a [review|comment] [of|about] {name}.",
        f"I would like [to hear|to read|to know] your opinion [of|on] {name}.",
        f"I was asked to review {name}. [Write it for me.|What should I write?]",
    )


def _review_notes(name: str) -> tuple[str, ...]:
    return (
        f"{name} [review|rating|opinion|opinions]",
        f"[review|rating|opinion] of {name}",
        f"[short|honest|quick] review of {name}",
        f"your opinion on {name}",
        f"how many stars for {name}",
        f"thoughts on {name}",
        f"review {name} please",
    )


_OWNED = Wording(
    (
        *_review("[the|this|your] {name}"),
        "Is [the|this] {name} [worth it|worth the money|worth buying|worth its price]?",
        "Would you [recommend|buy] [the|this] {name}[| again]?",
        "I am thinking of buying [a|this] {name}. [Is it any good?|What do you think?]",
        "[Is|Was] the {name} a good buy?",
    ),
    notes=(*_review_notes("{name}"), "is the {name} worth it", "{name} any good"),
)
_NAMED = "[a|the] {name}"

WORDINGS: dict[tuple[str, str], Wording] = {
    ("review", "product"): _OWNED,
    ("review", "thing"): _OWNED,
    ("review", "dish"): Wording(
        (
            *_review("the {name}"),
            "How {was} the {name} [yesterday|last night|you ordered|you had for dinner]?",
            "[Did|Do] you like the {name} at the [restaurant|party|cafe]?",
            "Would you order the {name} again?",
            "Would you recommend the {name} here?",
            "You had the {name}. [How {was} {they}?|Did you like {them}?]",
            "I hear that you tried the {name}. How {was} {they}?",
        ),
        notes=(*_review_notes("the {name}"), "how {was} the {name}", "{name} review"),
    ),
    ("review", "place"): Wording(
        (
            *_review("the {name}"),
            "How was your [trip|day trip|excursion|outing] to the {name}?",
            "Did you [like|enjoy] [the {name}|your visit to the {name}]?",
            "You went to the {name}. [How was it?|Did you like it?]",
            "Would you [recommend|go back to] the {name}?",
            "Is the {name} [worth a visit|worth seeing|worth the trip], in your opinion?",
        ),
        notes=(*_review_notes("the {name}"), "how was the {name}", "{name} review"),
    ),
    ("review", "hobby"): Wording(
        (
            *_review("{name}"),
            "Would you recommend {name} to [me|a friend|others]?",
            "Do you [like|enjoy] {name}?",
            "How did you like {name}?",
            "Is {name} [worth the time|worth trying], in your opinion?",
            "You have tried {name}. [How was it?|Did you like it?]",
        ),
        notes=(*_review_notes("{name}"), "{name} worth trying"),
    ),
}


def _stories(about: str) -> Wording:
    """Requests for a story; `about` follows "a story about"."""
    told = f"[|short |little |small ]story about {about}"
    return Wording(
        (
            f"[Please write|Please tell me|Please tell us] a {told}.",
            f"[Write|Tell|Read] [us|the children|my daughter|my son] a {told}.",
            f"Write me a {told}.",
            f"[Can|Could|Will] you [tell|write] me a {told}?",
            f"[I want|I need|I would like] a {told}[.|, please.]",
            f"[Invent|Make up|Think up|Create] a {told}.",
            f"[Do you know|Have you got] a {told}?",
            f"Let me hear a {told}.",
            f"I would [love|like] to hear a {told}.",
            f"My [son|daughter|kid|grandchild] wants a {told}.",
            f"A {told}, please.",
            f"How about a {told}?",
            f"Write a [tale|bedtime story|children's story|fairy tale] about {about}.",
            f"Tell [me|us|my kids] a [tale|bedtime story|children's story|fairy tale] about"
            f" {about}.",
            f"Make up a [tale|bedtime story] about {about}.",
            f"[It is bedtime|My son cannot sleep]. [Tell us|Please tell] a {told}.",
            f"For school I need a {told}.",
            f"Can I have a {told}?",
        ),
        notes=(
            f"story about {about}",
            f"[short|little|bedtime] story about {about}",
            f"tale about {about}",
            f"story for kids about {about}",
            f"story please, about {about}",
            f"tell story about {about}",
        ),
    )


WORDINGS |= {
    ("story", "animal"): _stories(
        "[a {name}|the {name}|a little {name}|an old {name}|a child and a {name}]"
    ),
    ("story", "lost"): _stories(
        "[a {name}|the {name}|a lost {name}|a missing {name}|a {name} that was lost|"
        "somebody who lost a {name}|a child who cannot find the {name}]"
    ),
    ("story", "gift"): _stories(
        "[a {name} as a gift|a {name} that is a gift|a {name} for a birthday|"
        "somebody who gets a {name} as a present|somebody who gives a friend a {name}]"
    ),
    ("story", "hobby"): _stories(
        "[somebody who learns {name}|a child who learns {name}|a girl who starts with {name}|"
        "a boy who begins with {name}|{name}]"
    ),
    ("story", "job"): _stories(
        "[a {name}|the {name}|a young {name}|an old {name}|a child who becomes a {name}]"
    ),
    ("story", "place"): _stories(
        "[a day {at} the {name}|the {name}|an adventure {at} the {name}|a visit to the {name}|"
        "a trip to the {name}|two friends {at} the {name}]"
    ),
}

_DIALOGUE = Wording(
    (
        f"[Please write|I need] a [|short |little ]dialogue about {_NAMED}.",
        f"Write me a [dialogue|dialog|conversation|chat] about {_NAMED}.",
        f"Write a [|short |little ][dialog|conversation|chat] about {_NAMED}.",
        f"Write [down |]a conversation between two [people|friends] about {_NAMED}.",
        f"Write a [dialogue|conversation] in which two [people|friends] talk about {_NAMED}.",
        f"[Invent|Make up|Create] a [dialogue|conversation|chat] about {_NAMED}.",
        f"[Imagine|Show me] [two people|two friends|two children] talking about {_NAMED}.",
        f"What would two [people|friends|children] say to each other about {_NAMED}?",
        f"Have two [people|friends|children] [talk|chat] about {_NAMED}.",
        f"Let [two children|a boy and a girl|Anna and Tom] [talk|chat] about {_NAMED}.",
        f"I [want|would like] a [dialogue|conversation] about {_NAMED}.",
        f"[Can|Could] you [write|make up] a [dialogue|conversation] about {_NAMED}?",
        f"Two friends are talking about {_NAMED}. [What do they say?|Write it down.]",
        f"One person asks about {_NAMED}, another answers. Write [it|that] down.",
        f"Write a [scene|little play] in which two people talk about {_NAMED}.",
        f"For [my class|my play|school] I need a [dialogue|conversation] about {_NAMED}.",
    ),
    notes=(
        f"[dialogue|dialog|conversation|chat] about {_NAMED}",
        f"[short|little] [dialogue|conversation] about {_NAMED}",
        f"two [people|friends] talking about {_NAMED}",
        f"dialogue, two friends, {_NAMED}",
        f"conversation of two people about {_NAMED}",
        f"write dialogue about {_NAMED}",
    ),
)

WORDINGS |= {("dialogue", kind): _DIALOGUE for kind in ("animal", "place", "thing", "job")}

WORDINGS |= {
    ("form", "bullets"): Wording(
        (
            f"[List|Note|Put in a list] [two|several|a few] facts about {_NAMED}.",
            f"[Give me|Write|Make] [a bulleted list|a bullet list|bullet points] about {_NAMED}.",
            f"[Explain|Present|Sum up] {_NAMED} in bullet points.",
            f"[List|Note|Jot down] the [key|main|most important] facts about {_NAMED}.",
            f"[List|Write a list of] what you know about {_NAMED}.",
            f"[I need|I want|I would like] bullet points about {_NAMED}.",
            f"[I need|I want|I would like] a list of facts about {_NAMED}.",
            f"[Can|Could] you list [some|a few] facts about {_NAMED}?",
            f"[Can|Could] you give me bullet points about {_NAMED}?",
            f"What are [some|the main|the key] facts about {_NAMED}? [List them.|As a list.]",
            f"Make [a list|a fact list] about {_NAMED}.",
            f"Bullet points about {_NAMED}, please.",
            f"A [list|short list] of facts about {_NAMED}, please.",
            f"Write a fact sheet about {_NAMED}.",
            f"Show the facts about {_NAMED} as [bullets|bullet points|a bullet list].",
            f"My slide needs bullet points about {_NAMED}.",
        ),
        notes=(
            f"[fact list|list of key facts] about {_NAMED}",
            "{name} [list of facts|fact sheet|bullet points]",
            f"bullet points about {_NAMED}",
            f"list of facts about {_NAMED}",
            f"bullet list {_NAMED}",
            f"{_NAMED} in bullet points",
        ),
    ),
    ("form", "numbers"): Wording(
        (
            f"[Write|Make|Show me|Create] a numbered list [about|of facts about] {_NAMED}.",
            f"Give me a numbered list of facts about {_NAMED}.",
            f"[List|Give me|Tell me] the facts about {_NAMED}[ with numbers|, numbered].",
            f"[I need|I want|I would like] a numbered list about {_NAMED}.",
            f"[I need|I want] numbered facts about {_NAMED}.",
            f"[Can|Could] you [make|write] a numbered list about {_NAMED}?",
            f"[Can|Could] you number the facts about {_NAMED}?",
            f"[Explain|Describe] {_NAMED} in [numbered points|numbered lines].",
            f"Put numbers before the facts about {_NAMED}.",
            f"[Tell me about|Present] {_NAMED} as a numbered list.",
            f"A numbered list about {_NAMED}, please.",
            f"Number [what you know|everything you know] about {_NAMED}.",
            f"What do you know about {_NAMED}? Number [it|the points].",
            f"Write numbered points about {_NAMED}.",
            f"[Show|Write] the facts about {_NAMED} one, two, three, with numbers.",
            f"List facts about {_NAMED} by number.",
        ),
        notes=(
            f"numbered list [about|of facts about] {_NAMED}",
            f"numbered facts about {_NAMED}",
            "{name} [numbered list|numbered facts]",
            f"{_NAMED} as a numbered list",
            f"facts about {_NAMED} with numbers",
            f"numbered points about {_NAMED}",
        ),
    ),
    ("form", "json"): Wording(
        (
            f"[Create|Generate|Return|Output] JSON about {_NAMED}.",
            f"[Create|Generate|Return|Write|Give me] a JSON [object|record|entry] about {_NAMED}.",
            f"[Create|Generate|Return|Write] a JSON [object|record|entry] for {_NAMED}.",
            f"[Put|Write] the facts about {_NAMED} into JSON.",
            f"[Put|Write] what you know about {_NAMED} into a JSON object.",
            f"[Show|Give] me the facts about {_NAMED} [as JSON|as a JSON object].",
            f"[Represent|Encode|Model] {_NAMED} as [JSON|a JSON object].",
            f"[I need|I want|My program needs] JSON [about|for] {_NAMED}.",
            f"[I need|I want|My program needs] a JSON object for {_NAMED}.",
            f"[Can|Could] you [write|give me] JSON about {_NAMED}?",
            f"[Can|Could] you describe {_NAMED} as JSON?",
            f"What does {_NAMED} look like as JSON?",
            f"What would a JSON record of {_NAMED} look like?",
            f"JSON about {_NAMED}, please.",
            f"Turn [the facts|your facts] about {_NAMED} into JSON.",
            f"[Facts|The facts] about {_NAMED}, as a JSON object.",
        ),
        notes=(
            f"JSON [about|for|of] {_NAMED}",
            "{name} [JSON|JSON object|JSON record]",
            f"JSON object [about|for] {_NAMED}",
            f"facts about {_NAMED} as JSON",
            f"JSON record of {_NAMED}",
            f"{_NAMED} as JSON",
        ),
    ),
    ("form", "short"): Wording(
        (
            f"[Sum up|Summarize|Explain|Present] {_NAMED} in [one line|three words|a few words].",
            f"[Describe|Sum up|Summarize] {_NAMED} [briefly|very briefly|in very few words].",
            f"[Give me|Write] one line about {_NAMED}.",
            f"[Give me|Write] a one-line description of {_NAMED}.",
            f"One line about {_NAMED}, please.",
            f"What is the shortest description of {_NAMED}?",
            f"[I need|I want|I would like] one line about {_NAMED}.",
            f"[I need|I want] {_NAMED} [summed up|described] in [one line|a few words].",
            f"[Can|Could] you [describe|sum up] {_NAMED} in [one line|a few words]?",
            f"In [one line|a few words|a single line], what is {_NAMED}?",
            f"In [one line|a few words|a single line], describe {_NAMED}.",
            f"[Say|Tell me] something about {_NAMED} in [one line|a few words].",
            f"[Keep it to one line|Just one line]: {_NAMED}.",
            f"Use [a few|only a few|three] words to describe {_NAMED}.",
            f"How would you describe {_NAMED} in [a few words|one line]?",
            f"Just a few words about {_NAMED}[.|, please.]",
        ),
        notes=(
            f"{_NAMED} in [one line|a few words|three words|brief]",
            f"one line about {_NAMED}",
            "{name} [in one line|in a few words|in brief]",
            f"[short|brief|one-line] description of {_NAMED}",
            f"few words about {_NAMED}",
            f"{_NAMED} briefly",
        ),
    ),
    ("form", "poem"): Wording(
        (
            f"[Please write|Compose|Make up] a [|short |little ]poem about {_NAMED}.",
            f"Write [me |us |]a [poem|small poem|verse] about {_NAMED}.",
            f"[Can|Could|Will] you write [me |]a [|short |little ]poem about {_NAMED}?",
            f"[I want|I need|I would like] a [|short |little ]poem about {_NAMED}.",
            f"[Tell|Read|Give] me a [|short |little ]poem about {_NAMED}.",
            f"[Do you know|Have you got] a [poem|nice poem|little poem] about {_NAMED}?",
            f"A [|short |little ]poem about {_NAMED}, please.",
            f"Write [some|a few|four] lines of [poetry|verse] about {_NAMED}.",
            f"[Describe|Tell me about] {_NAMED} in [a poem|verse|a little poem].",
            f"[Turn|Make] {_NAMED} into a [|short |little ]poem.",
            f"Be a poet and write about {_NAMED}.",
            f"My [daughter|teacher|mother] wants a [|short |little ]poem about {_NAMED}.",
            f"For [a card|school|my wall] I need a [|short |little ]poem about {_NAMED}.",
            f"What would a poem about {_NAMED} [be|sound|look] like?",
            f"Write poetry about {_NAMED}.",
            f"Let me hear a [|short |little ]poem about {_NAMED}.",
        ),
        notes=(
            f"poem about {_NAMED}",
            f"[short|little|small] poem about {_NAMED}",
            "{name} poem",
            f"poetry about {_NAMED}",
            f"a few lines of poetry, {_NAMED}",
            f"verse about {_NAMED}",
        ),
    ),
}
