"""The frame of 300 messages in notebooks/messages.csv: `python -m tests.demo.messages` writes it.

People of the demo world write to a visitor desk, in their own words; the desk replies in its own.
Every reply states facts of the world's tables. Knows the tables and the judge's questions; knows no
model, and none of the texts that the embedded model was trained on.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.grammar import articles, joined, plural, render
from lora_magic.demo.texts.outdoors import at
from lora_magic.demo.world import (
    ANIMALS,
    DISHES,
    FAULTS,
    FEMALE_NAMES,
    HOBBIES,
    MALE_NAMES,
    PLACES,
    PLANTS,
    SEASONS,
    WEATHER,
)

FILE = Path(__file__).parents[2] / "notebooks" / "messages.csv"
# With this seed exactly 30 of the 300 messages fall into the tenth that a run holds out, none of
# them one of the four that are odd.
SEED = 22
SAME, ANSWERED_AGAIN = 2, 1

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Kind:
    """`count` messages about one family of subjects: how people ask, what the desk replies.

    `subjects` has the fields of each subject, `asked` and `replies` the templates of each aspect.
    """

    family: str
    count: int
    subjects: Mapping[str, Fields]
    asked: Mapping[str, tuple[str, ...]]
    replies: Mapping[str, tuple[str, ...]]


def _dish(name: str, is_plural: bool) -> dict[str, str]:
    verbs = ("are", "they", "them", "taste") if is_plural else ("is", "it", "it", "tastes")
    return dict(zip(("is", "they", "them", "tastes"), verbs, strict=True), name=name)


KINDS = (
    Kind(
        "animal",
        59,
        {a.name: {**vars(a), "many": plural(a.name)} for a in ANIMALS},
        {
            "habitat": (
                "my daughter would love to see a {name}. where do we have to go?",
                "we looked for {many} the whole [day|weekend] and found none. where are they?",
                "is there a spot where one can watch {many}?",
                "I am drawing a {name} for school and need to know where it lives",
            ),
            "food": (
                "there is a {name} near our tent. what does it eat?",
                "what are the {many} fed with? my son asks every day",
                "I would like to know what {many} live on",
                "does anybody at the desk know what a {name} likes to eat?",
            ),
            "action": (
                "we only have [an hour|a morning] for the {name}. what will we see it do?",
                "our guide said that {many} are worth the trip. what do they do?",
                "what can I tell the children about the {name}?",
            ),
        },
        {
            "habitat": (
                "you will find the {name} {habitat}. it eats {food}.",
                "the {name} lives {habitat}, and it is {trait}.",
            ),
            "food": (
                "the {name} eats {food}. you will find it {habitat}.",
                "the {name} eats {food}, and it is {trait}.",
            ),
            "action": (
                "the {name} {action}. you will find it {habitat}.",
                "the {name} {action}, and it is {trait}.",
            ),
        },
    ),
    Kind(
        "plant",
        28,
        {p.name: dict(vars(p)) for p in PLANTS},
        {
            "spot": (
                "I bought a {name} at your market stall. where is it happy?",
                "my {name} does not grow where it is now. is there a better spot?",
                "where would you put a {name}?",
            ),
            "water": (
                "my neighbor looks after the {name} next week. when must he water it?",
                "I think I give my {name} too much water. how often is right?",
                "how thirsty is a {name}?",
            ),
            "care": (
                "I got a {name} as a present and know nothing about plants. any advice?",
                "the {name} looks worse every day. what am I doing wrong?",
            ),
        },
        {
            "spot": ("the {name} grows best {spot}. water it {water}.",),
            "water": ("water the {name} {water}. it grows best {spot}.",),
            "care": ("the {name} grows best {spot}. water it {water}, and {care}.",),
        },
    ),
    Kind(
        "place",
        51,
        {
            p.name: {
                **{k: v for k, v in vars(p).items() if k != "things"},
                "at": at(p.name),
                "one": p.things[0],
                "two": p.things[1],
            }
            for p in PLACES
        },
        {
            "activity": (
                "we have a free afternoon and think of the {name}. what is there to do?",
                "is the {name} worth a trip with two small children?",
                "what do people do {at} the {name}?",
                "I have never been to the {name}. what would you do there?",
            ),
            "sights": (
                "I would like to take pictures {at} the {name}. what is there to see?",
                "what should we not miss {at} the {name}?",
                "my parents go to the {name} [on Sunday|tomorrow]. what will they see?",
            ),
            "senses": (
                "I cannot see well. what will I hear and smell {at} the {name}?",
                "I am writing a story about the {name}. how does it sound and smell there?",
            ),
        },
        {
            "activity": ("{at} the {name} you can {activity}. look for {one} and {two}.",),
            "sights": ("{at} the {name} you can see {one} and {two}. you can also {activity}.",),
            "senses": (
                "{at} the {name} you can hear {sound}, and the air smells of {smell}. "
                "you can also {activity}.",
            ),
        },
    ),
    Kind(
        "weather",
        24,
        {w.name: {"name": w.name, "wear": w.wear, "activity": w.activity} for w in WEATHER},
        {
            "wear": (
                "the radio says that it will be {name} tomorrow. what do we have to pack?",
                "we arrive on a {name} day, I fear. which clothes do we need?",
                "what do you put on when it is {name}?",
            ),
            "activity": (
                "it is {name} and the children are bored. any ideas?",
                "the forecast for our visit is {name}. what can one do then?",
                "what do you do in the valley when it is {name}?",
            ),
        },
        {
            "wear": ("on a {name} day, wear {wear}. it is best to {activity}.",),
            "activity": ("on a {name} day, you can {activity}. do not forget {wear}.",),
        },
    ),
    Kind(
        "dish",
        45,
        {
            d.name: {
                **_dish(d.name, d.plural),
                "all": joined(d.ingredients),
                "taste": d.taste,
                "occasion": d.occasion,
            }
            for d in DISHES
        },
        {
            "needs": (
                "I want to cook the {name} from your kitchen. what do I have to buy?",
                "my guests want {name} tonight. what goes into {them}?",
                "I have an allergy. what is in the {name}?",
                "is there a shopping list for {name}?",
            ),
            "taste": (
                "I have never tried {name}. how would you describe the taste?",
                "there {is} {name} on your menu. would my little son like the taste?",
            ),
            "occasion": (
                "I can cook {name}, but for which occasion {is} {they} right?",
                "when would you put {name} on the table?",
            ),
        },
        {
            "needs": ("for {name} you need {all}.",),
            "taste": ("{name} {tastes} {taste}. {they} {is} perfect for {occasion}.",),
            "occasion": ("{name} {is} perfect for {occasion}. {they} {tastes} {taste}.",),
        },
    ),
    Kind(
        "fault",
        59,
        {f.name: {**vars(f), "name": f.product} for f in FAULTS},
        {
            "remedy": (
                "the {name} in our room {problem}. what now?",
                "since [this morning|yesterday|we moved in] my {name} {problem}. any idea?",
                "I bought a {name} from you in {season} and it {problem}. I need help",
                "bad news, our {name} {problem}. can we repair it ourselves?",
                "the {name} {problem} again!! please tell me what to do",
            ),
            "cause": (
                "can you tell me why a {name} {problem}?",
                "my {name} {problem} and I do not understand why",
            ),
        },
        {
            "remedy": (
                "often {cause}. to fix the {name}, {remedy}.",
                "to fix the {name}, {remedy}. often {cause}.",
            ),
            "cause": ("a {name} {problem} when {cause}. to fix it, {remedy}.",),
        },
    ),
    Kind(
        "hobby",
        30,
        {
            h.name: {"name": h.name, "needs": h.needs, "start": h.first_step, "reason": h.reason}
            for h in HOBBIES
        },
        {
            "start": (
                "I signed up for your course in {name}. how does one begin?",
                "I am {age} years old and want to try {name}. what comes first?",
            ),
            "needs": (
                "what must I bring to the {name} evening?",
                "my aunt wants to take up {name}. what does she have to get?",
            ),
            "reason": (
                "why does everybody in the valley like {name} so much?",
                "my husband laughs about my {name}. what speaks for it?",
            ),
        },
        {
            "start": ("to start with {name}, {start}. you need {needs}.",),
            "needs": ("for {name} you need {needs}. to begin, {start}.",),
            "reason": ("people like {name} because {reason}. to begin, {start}.",),
        },
    ),
)

GREETINGS = (
    "",
    "",
    "",
    "Hello,",
    "Hi,",
    "hey,",
    "Good morning,",
    "Good evening,",
    "Hello there,",
    "Dear visitor desk,",
)
CLOSINGS = ("", "", "", "", "Thanks!", "Thank you, {who}", "Greetings, {who}", "{who}", "Thanks")
CARELESS, SLIPPED = 0.25, 0.15


SLIPS = (
    ("tomorrow", "tommorow"),
    ("morning", "moring"),
    ("please", "plese"),
    ("children", "childern"),
    ("would", "woud"),
    ("anybody", "any body"),
    ("I am", "Im"),
    ("does not", "doesnt"),
)


@dataclass(frozen=True)
class Message:
    """One row of the frame, and the question that the judge is asked about its answer."""

    text: str
    reply: str
    question: Question


def messages(seed: int = SEED) -> tuple[Message, ...]:
    """The 300 messages in the order in which they arrived.

    Four are odd, as in any such file: two were sent twice, one was answered twice, differently,
    and one is longer than the embedded model can read.
    """
    rng = Random(seed)
    made: dict[str, Message] = {}
    for kind in KINDS:
        wanted = len(made) + kind.count
        turns = _turns(kind, rng)
        while len(made) < wanted:
            message = _message(kind, *next(turns), rng)
            made.setdefault(message.text, message)
    found = list(made.values())
    again = rng.sample(found, SAME + ANSWERED_AGAIN)
    found += again[:SAME]
    found += [_answered_again(one, rng) for one in again[SAME:]]
    found.append(_long(rng.choice(found[: len(made)])))
    rng.shuffle(found)
    return tuple(found)


def _turns(kind: Kind, rng: Random) -> Iterator[tuple[str, str]]:
    """Subjects and aspects, so that each subject comes up about equally often."""
    while True:
        for subject in rng.sample(sorted(kind.subjects), len(kind.subjects)):
            yield subject, rng.choice(sorted(kind.asked))


def _message(kind: Kind, subject: str, aspect: str, rng: Random) -> Message:
    drawn = {"season": rng.choice(SEASONS), "age": str(rng.randint(9, 80))}
    fields = {**kind.subjects[subject], **drawn}
    asked = rng.choice(kind.asked[aspect])
    text = _typed(articles(render(asked, fields, rng)), rng)
    reply = _reply(render(rng.choice(kind.replies[aspect]), fields, rng))
    return Message(text, reply, Question(kind.family, aspect, subject, asked, text))


def _answered_again(message: Message, rng: Random) -> Message:
    """The message with a reply about another aspect."""
    kind = next(kind for kind in KINDS if kind.family == message.question.family)
    aspect = rng.choice(sorted(kind.replies.keys() - {message.question.aspect}))
    fields = kind.subjects[message.question.subject]
    return replace(message, reply=_reply(render(rng.choice(kind.replies[aspect]), fields, rng)))


def _typed(text: str, rng: Random) -> str:
    """The text as a person types it: with a greeting or a name, without capitals, with a slip."""
    who = rng.choice((*FEMALE_NAMES, *MALE_NAMES))
    greeting, closing = rng.choice(GREETINGS), rng.choice(CLOSINGS).replace("{who}", who)
    if rng.random() < CARELESS:
        text = text.rstrip("?!.")
        closing = closing and f"\n{closing}"
    else:
        text = text if greeting else _capitals(text)
        text += "" if text.endswith(("?", "!")) else "."
    if rng.random() < SLIPPED:
        for right, wrong in SLIPS:
            text = text.replace(right, wrong)
    return " ".join(part for part in (greeting, text, closing) if part).replace(" \n", "\n")


def _capitals(text: str) -> str:
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def _reply(body: str) -> str:
    return f"Thank you for your message. {_capitals(articles(body))} Your visitor desk"


def _long(message: Message) -> Message:
    """The message after a report of the whole trip."""
    days = (
        f"on day {number} we went to the {place.name} and saw {joined(place.things)}."
        for number, place in enumerate(PLACES, start=1)
    )
    text = _capitals(f"what a trip this was! {' '.join(days)} but now to my question: ")
    return replace(message, text=text + message.text)


def table(seed: int = SEED) -> str:
    """The file as text: the messages and replies between two columns that no run needs."""
    rng, out = Random(seed), io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("ticket", "message", "reply", "sent"))
    sent = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
    for number, message in enumerate(messages(seed), start=1001):
        sent += timedelta(minutes=rng.randint(3, 300))
        writer.writerow((f"T{number}", message.text, message.reply, f"{sent:%Y-%m-%d %H:%M}"))
    return out.getvalue()


if __name__ == "__main__":
    FILE.write_text(table(), encoding="utf-8")
