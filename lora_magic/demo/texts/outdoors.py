"""Questions about animals, plants, places and weather, with their answers.

Data in the form of `family`; knows nothing of how it is sampled or held out.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from lora_magic.demo.texts.family import Aspect, Family, Fields
from lora_magic.demo.texts.grammar import plural
from lora_magic.demo.world import (
    ANIMALS,
    PLACES,
    PLANTS,
    SIZES,
    WEATHER,
    Animal,
    Place,
    Plant,
    Weather,
)


def _animal(a: Animal) -> Callable[[Random], Fields]:
    return lambda rng: {**vars(a), "many": plural(a.name)}


def _plant(p: Plant) -> Callable[[Random], Fields]:
    return lambda rng: dict(vars(p))


def at(place: str) -> str:
    """The preposition of a place: "in the forest", "on the island", "at the beach"."""
    return _PREPOSITIONS.get(place, "in")


_PREPOSITIONS = {
    **dict.fromkeys(("mountain", "island", "farm"), "on"),
    **dict.fromkeys(
        ("beach", "market", "harbor", "lake", "river", "train station", "school", "zoo"), "at"
    ),
}


def _place(p: Place) -> Callable[[Random], Fields]:
    def fields(rng: Random) -> Fields:
        one, two, three, four = rng.sample(p.things, 4)
        return {
            "name": p.name,
            "at": at(p.name),
            "one": one,
            "two": two,
            "three": three,
            "four": four,
            "sound": p.sound,
            "smell": p.smell,
            "activity": p.activity,
        }

    return fields


def _weather(w: Weather) -> Callable[[Random], Fields]:
    def fields(rng: Random) -> Fields:
        one, two, three = rng.sample(w.signs, 3)
        return {
            "name": w.name,
            "one": one,
            "two": two,
            "three": three,
            "wear": w.wear,
            "activity": w.activity,
        }

    return fields


ANIMAL = Family(
    "animal",
    {a.name: _animal(a) for a in ANIMALS},
    (
        Aspect(
            "about",
            (
                "[Tell me about|Describe|Write a few lines about|Tell me something about] "
                "[the|a] {name}.",
                "[What is|What do you know about] a {name}?",
                "What kind of animal is [a|the] {name}?",
                "Tell me [something |]about {many}.",
            ),
            (
                "the {name} is a {trait} animal that lives {habitat}.",
                "a {name} is a {trait} animal. it lives {habitat}.",
            ),
            ("trait", "habitat"),
        ),
        Aspect(
            "habitat",
            (
                "Where does [a|the] {name} live?",
                "Where can I [find|see|meet] a {name}?",
                "What is the home of [a|the] {name}?",
                "Where do {many} live?",
            ),
            ("a {name} lives {habitat}.", "you can find the {name} {habitat}."),
            ("habitat",),
        ),
        Aspect(
            "food",
            (
                "What does [a|the] {name} [eat|like to eat]?",
                "What should I feed a {name}?",
                "What is the favorite food of a {name}?",
                "What do {many} [eat|like to eat]?",
            ),
            ("a {name} eats {food}.", "the {name} mostly eats {food}."),
            ("food",),
        ),
        Aspect(
            "action",
            (
                "What does [a|the] {name} do[| all day]?",
                "What is special about [a|the] {name}?",
                "How [does|can] a {name} surprise us?",
                "What do {many} do?",
            ),
            ("a {name} {action}.", "the {name} is special because it {action}."),
            ("action",),
        ),
        Aspect(
            "trait",
            (
                "What is [a|the] {name} like?",
                "Why do people like the {name}?",
                "How can I recognize a {name}?",
                "What are {many} like?",
            ),
            (
                "a {name} is {trait}.",
                "people know the {name} because it is {trait}.",
                "the {name} is known for being {trait}.",
            ),
            ("trait",),
        ),
        Aspect(
            "size",
            (
                "How [big|large] is [a|the] {name}?",
                "How big are {many}?",
                "What size is [a|the] {name}?",
                "Is [a|the] {name} big or small?",
                "What is the size of [a|the] {name}?",
            ),
            ("a {name} is {size}.", "the {name} is {size}."),
            ("size",),
            scale=SIZES,
        ),
        Aspect(
            "who",
            (
                "Which animal lives {habitat}?",
                "Who lives {habitat}?",
                "Which animal can I [find|meet] {habitat}?",
            ),
            ("the {name} lives {habitat}.", "you can find a {name} {habitat}."),
            ("name",),
        ),
    ),
    (
        "it {action}.",
        "it [eats|likes to eat|feeds on] {food}.",
        "it is known for being {trait}.",
        "you can often [see|find|meet] it {habitat}.",
        "[if you are quiet|with a little luck|early in the morning], you may see one.",
        "in {season}, it is [easy to find|hard to see|very busy].",
    ),
    weight=2.4,
)

PLANT = Family(
    "plant",
    {p.name: _plant(p) for p in PLANTS},
    (
        Aspect(
            "spot",
            (
                "Where should I [put|plant|keep] my {name}?",
                "Where does a {name} grow best?",
                "What is a good place for a {name}?",
            ),
            ("put your {name} {spot}.", "a {name} grows best {spot}."),
            ("spot",),
        ),
        Aspect(
            "water",
            (
                "How often should I water [a|my|the] {name}?",
                "How much water does a {name} need?",
                "When do I water my {name}?",
            ),
            ("water your {name} {water}.", "a {name} needs water {water}."),
            ("water",),
        ),
        Aspect(
            "care",
            (
                "How do I take care of [a|my] {name}?",
                "My {name} looks sad. What [can|should] I do?",
                "Give me [some|] advice for my {name}.",
            ),
            (
                "keep your {name} {spot}, water it {water} and {care}.",
                "a {name} grows best {spot}. water it {water}, and {care}.",
            ),
            ("spot", "water", "care"),
            2,
        ),
    ),
    (
        "it grows best {spot}.",
        "water it {water}.",
        "do not forget: {care}.",
        "[with a little care, it will grow well|be patient and it will bloom|it likes fresh air].",
    ),
    weight=0.8,
)

PLACE = Family(
    "place",
    {p.name: _place(p) for p in PLACES},
    (
        Aspect(
            "about",
            (
                "[Describe|Tell me about|Write a few lines about] [a|the] {name}.",
                "What is [a|the] {name} like?",
                "What does [a|the] {name} look like?",
            ),
            (
                "the {name} is a [quiet|beautiful|lively|special] place with {one} and {two}.",
                "{at} the {name} you will find {one}, {two} and {three}.",
            ),
            ("one", "two", "three", "four"),
            2,
        ),
        Aspect(
            "sights",
            (
                "What can I see {at} the {name}?",
                "What is there [to see|] {at} the {name}?",
                "What should I look at {at} the {name}?",
            ),
            (
                "{at} the {name} you can see {one} and {two}.",
                "look for {one}, {two} and {three} {at} the {name}.",
            ),
            ("one", "two", "three", "four"),
            2,
        ),
        Aspect(
            "activity",
            (
                "What can [I|we] do {at} the {name}?",
                "Why should I go to the {name}?",
                "Should I visit the {name}?",
            ),
            (
                "{at} the {name} you can {activity}.",
                "the {name} is a [good|perfect|wonderful] place to {activity}.",
            ),
            ("activity",),
        ),
        Aspect(
            "senses",
            (
                "What can I hear {at} the {name}?",
                "What does [a|the] {name} sound like?",
                "What does [a|the] {name} smell like?",
                "What does it smell of {at} the {name}?",
            ),
            (
                "{at} the {name} you can hear {sound}, and the air smells of {smell}.",
                "the {name} smells of {smell}, and you can hear {sound}.",
            ),
            ("sound", "smell"),
            2,
        ),
    ),
    (
        "you will also find {three} and {four}.",
        "you can [also |]see {one}.",
        "the air smells of {smell}.",
        "you can hear {sound}.",
        "it is a [good|perfect|wonderful] place to {activity}.",
        "in {season}, it is [quiet|busy|beautiful|crowded].",
        "look for {four}.",
    ),
    weight=1.6,
)

WEATHERS = Family(
    "weather",
    {w.name: _weather(w) for w in WEATHER},
    (
        Aspect(
            "about",
            (
                "[Describe|Tell me about] a {name} day.",
                "What is a {name} day like?",
                "What does a {name} day look like?",
            ),
            ("on a {name} day, {one} and {two}.", "a {name} day is easy to know: {one}."),
            ("one", "two", "three"),
        ),
        Aspect(
            "wear",
            (
                "What should I wear on a {name} day?",
                "It is {name} [today|outside]. What should I wear?",
                "What do I need when it is {name}?",
            ),
            ("on a {name} day, wear {wear}.", "wear {wear} when it is {name}."),
            ("wear",),
        ),
        Aspect(
            "activity",
            (
                "What can I do on a {name} day?",
                "It is {name} today. What [should|can] I do?",
                "What is a good plan for a {name} day?",
            ),
            ("on a {name} day, you can {activity}.", "when it is {name}, {activity}."),
            ("activity",),
        ),
    ),
    (
        "it is best to {activity}.",
        "do not forget {wear}.",
        "you will see that {three}.",
        "[days like this are not rare in {season}|tomorrow may be different].",
    ),
    weight=0.7,
)
