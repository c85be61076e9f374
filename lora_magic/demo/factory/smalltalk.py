"""Greetings, letters, gifts and invented people: prompts without one right answer.

None is held out: their answers state no fact that could be checked.
"""

from __future__ import annotations

from random import Random

from lora_magic.demo.texts.grammar import polish, render
from lora_magic.demo.texts.outdoors import at
from lora_magic.demo.texts.stories import people
from lora_magic.demo.world import DISHES, HOBBIES, JOBS, PLACES, THINGS

# prompts, answers
GREETINGS: tuple[tuple[str, str], ...] = (
    (
        "[Hello|Hi|Good morning|Good evening|Good day|Hey|Hi there|Hey you|Greetings|Howdy]"
        "[!|.|, how are you?| there!|, how is it going?|, nice to see you.|, anybody there?]",
        "[hello|hi]! I am [fine|well], thank you. [how can I help you|what can I do for you]?",
    ),
    (
        "[Hello|Hi], my name is {hero}.",
        "[hello|hi], {hero}! [how can I help you|what can I do for you] today?",
    ),
    (
        "[Who are you?|What are you?|What is your name?|Tell me about yourself.|Are you a robot?|"
        "Are you a language model?|Who am I talking to?|Introduce yourself.|What do I call you?]",
        "I am a [small|little] language model that lives in a notebook. "
        "I know [animals, dishes and places|jobs, hobbies and things].",
    ),
    (
        "[What can you do?|How can you help me?|What do you know?|What can I ask you?|Help.|"
        "What can you help me with?|What do you know about?|What should I ask you?|"
        "What are you good at?|What topics do you know?|Can you help me?|How do you work?]",
        "I can [tell stories, describe animals and help with recipes|"
        "write reviews, give advice and tell stories]. I am small, so ask simple questions.",
    ),
    (
        "[Thank you|Thanks|Cheers|Great, thanks|OK, thanks|Cool, thank you][!|.| for your help.]",
        "you are welcome. [ask me anything|have a nice day].",
    ),
    (
        "[Goodbye|Bye|See you|Good night|Take care|I have to go now|That is all][!|.| later.]",
        "goodbye! [have a nice day|see you soon|take care].",
    ),
    (
        "[Nice to meet you|How are you][.|?| today?]",
        "I am well, thank you. it is nice to meet you.",
    ),
)
LETTERS: tuple[tuple[str, str], ...] = (
    (
        "Write a [short |]note to {hero} and say thank you for the {thing}.",
        "dear {hero}, [thank you so much|many thanks] for the {thing}. "
        "[I use it every day|it is exactly what I needed]. [yours|best wishes], {friend}",
    ),
    (
        "[Invite {hero} to the {place}|Write an invitation to the {place} for {hero}].",
        "dear {hero}, would you like to come to the {place} with me? "
        "we can {activity} and eat {dish}. [yours|see you soon], {friend}",
    ),
    (
        "Write a [short |]letter to {hero} about the {place}.",
        "dear {hero}, I am {at} the {place}, and it is wonderful. today we want to {activity}. "
        "[yours|with love], {friend}",
    ),
    (
        "Write a [short |]message to {hero} and say sorry.",
        "dear {hero}, I am [very |]sorry that I [broke your {thing}|was late|was rude]. "
        "[I hope you can forgive me|it will not happen again]. [yours|your friend], {friend}",
    ),
    (
        "Ask {hero} to help with the {thing}.",
        "dear {hero}, could you help me with the {thing}? I would be very grateful. "
        "[yours|thank you], {friend}",
    ),
    (
        "[Describe|Invent] a [person|character] [called|named] {hero}.",
        "{hero} is a {word} {job} who works {work}. [in {his} free time, {he} likes {hobby}.|"
        "{he} likes {hobby}, because {reason}.] {he} carries a {worn} {thing}.",
    ),
    (
        "What [should I give|is a good gift for] [my|a] {relative}?",
        "[give|I would buy] a {color} {thing}. it is good to {use}.",
    ),
    (
        "What is a good gift for somebody who likes {hobby}?",
        "for {hobby}, [give|buy] {needs}. people like {hobby} because {reason}.",
    ),
    (
        "What should I cook for {occasion}?",
        "for {occasion}, [I would cook|make|try] {dish}. you need {i1}, {i2} and {i3}.",
    ),
    (
        "[Write|Make] a shopping list for {dish}.",
        "- {i1}\n- {i2}\n- {i3}\n- {i4}\n- {i5}",
    ),
)


def talk(rng: Random) -> tuple[str, str]:
    """A prompt and an answer; a fifth of them are greetings."""
    prompt, answer = rng.choice(GREETINGS if rng.random() < 0.2 else LETTERS)
    thing, dish = rng.choice(THINGS), rng.choice(DISHES)
    job, hobby, place = rng.choice(JOBS), rng.choice(HOBBIES), rng.choice(PLACES)
    fields = {
        **people(rng),
        "thing": thing.name,
        "use": thing.use,
        "place": place.name,
        "at": at(place.name),
        "activity": place.activity,
        "dish": dish.name,
        "occasion": dish.occasion,
        **{f"i{n}": item for n, item in enumerate(dish.ingredients, start=1)},
        "job": job.name,
        "work": job.place,
        "hobby": hobby.name,
        "needs": hobby.needs,
        "reason": hobby.reason,
    }
    asked = render(prompt, fields, rng)
    if answer.startswith("- "):
        return asked, render(answer, fields, rng)
    return polish(asked), polish(render(answer, fields, rng))
