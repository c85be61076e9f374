"""Questions about what lies outside the demo world, and the answer that admits it.

A model that answers every question is wrong about most of them. The names here are real but no
part of the world; beside them stand names that nobody has ever heard of, drawn anew each time.
Knows no facts at all.
"""

from __future__ import annotations

from random import Random

from lora_magic.demo.texts.family import Family, Question
from lora_magic.demo.texts.grammar import expand, plural, polish, render
from lora_magic.demo.texts.indoors import DISH, PRODUCT, THING
from lora_magic.demo.texts.outdoors import ANIMAL, PLACE, PLANT
from lora_magic.demo.texts.society import HOBBY, JOB
from lora_magic.demo.world import ANIMALS, DISHES, HOBBIES, JOBS, PLACES, THINGS

# What the world might know and does not: the family whose questions are asked, and the names.
NAMES: dict[str, tuple[Family, tuple[str, ...]]] = {
    "animal": (
        ANIMAL,
        [
            "zebra",
            "shark",
            "octopus",
            "crab",
            "lobster",
            "salmon",
            "tuna",
            "hippo",
            "rhino",
            "gorilla",
            "cheetah",
            "leopard",
            "jaguar",
            "hyena",
            "badger",
            "weasel",
            "ferret",
            "mole",
            "rat",
            "hamster",
            "donkey",
            "mule",
            "llama",
            "alpaca",
            "bison",
            "moose",
            "reindeer",
            "falcon",
            "hawk",
            "pigeon",
            "sparrow",
            "robin",
            "pelican",
            "flamingo",
            "ostrich",
            "peacock",
            "turkey",
            "stork",
            "toad",
            "newt",
            "crocodile",
            "alligator",
            "cobra",
            "scorpion",
            "wasp",
            "moth",
            "worm",
            "jellyfish",
            "starfish",
            "walrus",
        ],
    ),
    "plant": (
        PLANT,
        [
            "oak",
            "pine",
            "bamboo",
            "daisy",
            "lily",
            "violet",
            "pumpkin",
            "cucumber",
            "pepper",
            "cherry",
        ],
    ),
    "dish": (
        DISH,
        [
            "sushi",
            "risotto",
            "lasagna",
            "goulash",
            "paella",
            "tacos",
            "burritos",
            "ramen",
            "kebab",
            "ice cream",
            "doughnuts",
            "waffles",
            "cheesecake",
            "brownies",
            "meatballs",
            "roast beef",
            "fish soup",
            "onion rings",
            "popcorn",
            "porridge",
            "spring rolls",
            "dumplings",
            "apple juice",
            "iced coffee",
        ],
    ),
    "place": (
        PLACE,
        [
            "volcano",
            "airport",
            "stadium",
            "hotel",
            "prison",
            "palace",
            "temple",
            "bank",
            "factory",
            "office",
            "supermarket",
            "gym",
            "casino",
            "circus",
            "waterfall",
            "glacier",
            "canyon",
            "jungle",
            "tunnel",
            "bridge",
        ],
    ),
    "product": (
        PRODUCT,
        ["drone", "projector", "scanner", "microwave", "blender", "drill", "freezer", "scooter"],
    ),
    "thing": (
        THING,
        [
            "sword",
            "shield",
            "crown",
            "anchor",
            "wheel",
            "brick",
            "nail",
            "glove",
            "belt",
            "button",
            "fork",
            "plate",
            "glass",
            "pan",
            "chair",
            "table",
            "carpet",
            "curtain",
            "magnet",
            "balloon",
        ],
    ),
    "job": (
        JOB,
        [
            "astronaut",
            "plumber",
            "lawyer",
            "butcher",
            "barber",
            "banker",
            "journalist",
            "soldier",
            "spy",
            "king",
            "magician",
            "architect",
            "electrician",
            "pharmacist",
            "professor",
            "detective",
            "jeweler",
            "florist",
        ],
    ),
    "hobby": (
        HOBBY,
        [
            "surfing",
            "skiing",
            "skating",
            "boxing",
            "karate",
            "tennis",
            "football",
            "golf",
            "sailing",
            "rowing",
            "archery",
            "origami",
            "poker",
            "yoga",
        ],
    ),
}
# Prompts with nothing of the world in them; {who} and {where} are drawn from below.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "person": (
        "Who [is|was] {who}?",
        "When was {who} born?",
        "Tell me about {who}.",
        "What did {who} do?",
    ),
    "country": (
        "What is the capital of {where}?",
        "How many people live in {where}?",
        "Where is {where}?",
        "What do people eat in {where}?",
    ),
}
PEOPLE = [
    "Napoleon",
    "Mozart",
    "Einstein",
    "Shakespeare",
    "Cleopatra",
    "Newton",
    "Darwin",
    "Picasso",
    "Beethoven",
    "Gandhi",
    "Caesar",
    "Columbus",
    "Galileo",
    "Goethe",
    "Bach",
    "Marie Curie",
    "Leonardo da Vinci",
    "Lincoln",
    "Aristotle",
    "Plato",
    "Sherlock Holmes",
    "Elvis",
    "Rembrandt",
    "Tolstoy",
    "the president",
    "the king of Spain",
]
COUNTRIES = [
    "France",
    "Spain",
    "Italy",
    "Germany",
    "Japan",
    "China",
    "India",
    "Brazil",
    "Canada",
    "Mexico",
    "Egypt",
    "Kenya",
    "Norway",
    "Sweden",
    "Poland",
    "Greece",
    "Turkey",
    "Russia",
    "Australia",
    "Chile",
    "Peru",
    "Cuba",
    "Iceland",
    "Ireland",
    "Austria",
    "Vietnam",
]
QUESTIONS = (
    "What is two plus two?",
    "What is seven times eight?",
    "How much is ten minus three?",
    "What is the square root of nine?",
    "Solve this equation for me.",
    "Who won the game last night?",
    "Who won the election?",
    "What is the news today?",
    "What time is it?",
    "What day is it today?",
    "What will the weather be like tomorrow?",
    "How old are you?",
    "How far away is the moon?",
    "How hot is the sun?",
    "How many planets are there?",
    "What is a black hole?",
    "What is gravity?",
    "How does a bank work?",
    "How do I file my taxes?",
    "How do I lose weight?",
    "How do I get rich?",
    "What is the meaning of life?",
    "What is the best phone number to call?",
    "What is the stock market doing?",
    "How do I write a Python function?",
    "Write a program that sorts numbers.",
    "What is machine learning?",
    "What is a neural network?",
    "What is low-rank adaptation?",
    "How does a computer work?",
    "How does the internet work?",
    "Translate this into French.",
    "How do you say hello in Spanish?",
    "What does this word mean?",
    "Who wrote this book?",
    "What happened in 1914?",
    "When did the war end?",
    "Who built the pyramids?",
    "Who discovered America?",
    "What is the longest river on earth?",
    "What is the highest mountain on earth?",
    "Which city is the largest?",
    "How do airplanes fly?",
    "Why is the sky blue?",
    "Why do we dream?",
    "What is love?",
    "Can you sing a song for me?",
    "Can you show me a picture?",
    "Book a flight for me.",
    "Order a taxi, please.",
    "What did I do yesterday?",
    "What is my name?",
    "Where do I live?",
    "Who is my boss?",
    "What is in this file?",
    "Summarize this text.",
    "Which medicine should I take?",
    "Is this legal?",
    "How much does a house cost?",
    "How much money do I need?",
)
_KINDS = {
    "animal": "animal",
    "plant": "plant",
    "dish": "dish",
    "place": "place",
    "product": "product",
    "thing": "thing",
    "job": "job",
    "hobby": "hobby",
    "person": "person",
    "country": "country",
}
_START = (
    "bl",
    "br",
    "ch",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gl",
    "gr",
    "j",
    "k",
    "kl",
    "kr",
    "l",
    "m",
    "n",
    "pl",
    "pr",
    "qu",
    "r",
    "s",
    "sh",
    "sk",
    "sn",
    "sp",
    "t",
    "tr",
    "v",
    "w",
    "z",
)
_MIDDLE = ("a", "e", "i", "o", "u", "ai", "oo")
_END = (
    "b",
    "ck",
    "ff",
    "g",
    "l",
    "lm",
    "m",
    "mp",
    "n",
    "nk",
    "p",
    "rd",
    "rk",
    "sh",
    "sk",
    "t",
    "v",
    "x",
    "zz",
)
# Phrasings of each real name that are asked for, so that no name outweighs the others.
_ASKED = 6
ADMITTED = "do not know"


def invented(rng: Random) -> str:
    """A name that means nothing, of two or three syllables: "drollimp"."""
    syllables = [rng.choice(_START) + rng.choice(_MIDDLE) for _ in range(rng.choice((1, 1, 2)))]
    return "".join(syllables) + rng.choice(_START) + rng.choice(_MIDDLE) + rng.choice(_END)


def _fields(kind: str, name: str) -> dict[str, str]:
    # No name here is a plural but that of a dish, of which a question has to know.
    several = kind == "dish" and name.endswith("s")
    return {
        "name": name,
        "many": plural(name),
        "at": "at",
        "does": "do" if several else "does",
        "is": "are" if several else "is",
    }


def phrasings(kind: str) -> tuple[str, ...]:
    """Everything that can be asked about a name of this kind, with the name left open."""
    return tuple(text for aspect in NAMES[kind][0].aspects for text in aspect.phrasings)


def _question(kind: str, name: str, phrasing: str) -> Question:
    prompt = polish(render(phrasing, _fields(kind, name), Random(0)))
    return Question("unknown", kind, name, phrasing, prompt)


def questions() -> tuple[Question, ...]:
    """Every pinned question about what the world does not hold, in a fixed order."""
    found = []
    for kind, (_, names) in NAMES.items():
        for name in names:
            asked = Random(f"{kind}/{name}").sample(phrasings(kind), _ASKED)
            found += [_question(kind, name, phrasing) for phrasing in asked]
    for kind, names in (("person", PEOPLE), ("country", COUNTRIES)):
        for name in names:
            for template in ELSEWHERE[kind]:
                for phrasing in expand(template):
                    prompt = phrasing.replace("{who}", name).replace("{where}", name)
                    found.append(Question("unknown", kind, name, phrasing, prompt))
    found += [Question("unknown", "other", prompt, prompt, prompt) for prompt in QUESTIONS]
    return tuple(found)


def unheard(rng: Random) -> Question:
    """A question about an invented name; never one of `questions`, never twice the same."""
    kind = rng.choice(tuple(NAMES))
    return _question(kind, invented(rng), rng.choice(phrasings(kind)))


def answer(question: Question, rng: Random) -> str:
    """The world's limits admitted, and most often what could be asked instead."""
    kind = _KINDS.get(question.aspect)
    what = f"this {kind}" if kind and rng.random() < 0.6 else "that"
    told = [f"I do not know {what}.", f"[sorry|I am sorry], but I do not know {what}."]
    said = [rng.choice(told)]
    if rng.random() < 0.5:
        said.append("my world is [small|very small].")
    if rng.random() < 0.6:
        said.append(f"ask me about {_known(rng)}.")
    return polish(render(" ".join(said), {}, rng))


def _known(rng: Random) -> str:
    a, d, j = rng.choice(ANIMALS).name, rng.choice(DISHES).name, rng.choice(JOBS).name
    h, p, t = rng.choice(HOBBIES).name, rng.choice(PLACES).name, rng.choice(THINGS).name
    return rng.choice((f"the {a}", f"{d}", f"the {j}", f"{h}", f"the {p}", f"the {t}"))


def is_admitted(text: str) -> bool:
    """Whether an answer says that it does not know."""
    return ADMITTED in text.lower()
