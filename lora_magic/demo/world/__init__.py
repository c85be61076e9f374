"""The demo world: all facts that the embedded model can know, as typed values.

Reads the tables of `nature`, `household` and `people` once. Knows facts, not sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

from lora_magic.demo.world import household, nature, people


@dataclass(frozen=True)
class Animal:
    """An animal, where it lives, what it eats, how it is, what it does and how big it is."""

    name: str
    habitat: str
    food: str
    trait: str
    action: str
    size: str


@dataclass(frozen=True)
class Plant:
    """A plant and how to care for it."""

    name: str
    spot: str
    water: str
    care: str


@dataclass(frozen=True)
class Place:
    """A place, four things to see there, its sound, its smell, what one does there."""

    name: str
    things: tuple[str, ...]
    sound: str
    smell: str
    activity: str


@dataclass(frozen=True)
class Weather:
    """A kind of weather, three signs of it, what to wear and what to do."""

    name: str
    signs: tuple[str, ...]
    wear: str
    activity: str


@dataclass(frozen=True)
class Dish:
    """A dish, the way it is made, its five ingredients, its taste and its occasion."""

    name: str
    method: str
    ingredients: tuple[str, ...]
    taste: str
    occasion: str

    @property
    def plural(self) -> bool:
        """Whether the name takes a plural verb: "pancakes are", "pizza is"."""
        return self.name.endswith("s") and not self.name.endswith(("ss", "hummus"))


@dataclass(frozen=True)
class Product:
    """A product, its use as an infinitive, and the part that a review speaks of."""

    name: str
    use: str
    part: str

    @property
    def problems(self) -> tuple[str, ...]:
        """What can go wrong with it."""
        return tuple(fault.problem for fault in FAULTS if fault.product == self.name)


@dataclass(frozen=True)
class Fault:
    """What can go wrong with a product, why, and the remedy as a command."""

    product: str
    problem: str
    cause: str
    remedy: str

    @property
    def name(self) -> str:
        """Product and problem together: the subject of a question."""
        return f"{self.product} {self.problem}"


@dataclass(frozen=True)
class Thing:
    """A thing, what it is made of, and its use as an infinitive."""

    name: str
    material: str
    use: str


@dataclass(frozen=True)
class Job:
    """A job, where it is done, with what, three tasks and the trait it asks for."""

    name: str
    place: str
    tool: str
    tasks: tuple[str, ...]
    trait: str


@dataclass(frozen=True)
class Hobby:
    """A hobby, what it needs, the first step, why people like it."""

    name: str
    needs: str
    first_step: str
    reason: str


@dataclass(frozen=True)
class Feeling:
    """A feeling, when people have it, advice as a command, a word of comfort."""

    name: str
    moment: str
    advice: str
    comfort: str


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def _parts(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(";"))


# From small to large.
SIZES = ("very small", "small", "medium-sized", "large", "very large")
ANIMALS = tuple(Animal(*row) for row in _rows(nature.ANIMALS))
PLANTS = tuple(Plant(*row) for row in _rows(nature.PLANTS))
PLACES = tuple(Place(r[0], _parts(r[1]), r[2], r[3], r[4]) for r in _rows(nature.PLACES))
WEATHER = tuple(Weather(r[0], _parts(r[1]), r[2], r[3]) for r in _rows(nature.WEATHER))
DISHES = tuple(Dish(r[0], r[1], _parts(r[2]), r[3], r[4]) for r in _rows(household.DISHES))
FAULTS = tuple(Fault(*row) for row in _rows(household.FAULTS))
THINGS = tuple(Thing(*row) for row in _rows(household.THINGS))
JOBS = tuple(Job(r[0], r[1], r[2], _parts(r[3]), r[4]) for r in _rows(people.JOBS))
HOBBIES = tuple(Hobby(*row) for row in _rows(people.HOBBIES))
FEELINGS = tuple(Feeling(*row) for row in _rows(people.FEELINGS))
PRODUCTS = tuple(Product(*row) for row in _rows(household.PRODUCTS))
MALE_NAMES = tuple(people.MALE_NAMES.split())
FEMALE_NAMES = tuple(people.FEMALE_NAMES.split())
RELATIVES = tuple(
    (entry.strip().rsplit(" ", 1)[0], entry.strip().rsplit(" ", 1)[1])
    for entry in people.RELATIVES.split(",")
)
PERSON_WORDS = tuple(people.PERSON_WORDS.split())
THING_WORDS = tuple(people.THING_WORDS.split())
COLORS = tuple(people.COLORS.split())
TIMES = tuple(time.strip() for time in people.TIMES.strip().split(","))
SEASONS = ("spring", "summer", "autumn", "winter")
MINUTES = ("five", "ten", "fifteen", "twenty", "thirty", "forty")
