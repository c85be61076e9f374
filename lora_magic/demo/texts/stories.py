"""Short stories about something of the demo world, one sentence for each stage.

Knows plots and people. Does not know which prompts are held out.
"""

from __future__ import annotations

from random import Random

from lora_magic.demo.texts.family import Fields, Question
from lora_magic.demo.texts.grammar import expand, polish, render
from lora_magic.demo.texts.indoors import used_by
from lora_magic.demo.texts.outdoors import at
from lora_magic.demo.world import (
    ANIMALS,
    COLORS,
    FEMALE_NAMES,
    HOBBIES,
    JOBS,
    MALE_NAMES,
    PERSON_WORDS,
    PLACES,
    RELATIVES,
    SEASONS,
    THING_WORDS,
    THINGS,
    TIMES,
    Animal,
)

# The prompts of each plot; {name} is its subject.
PROMPTS: dict[str, tuple[str, ...]] = {
    "animal": ("[Write|Tell me] a [short |little |]story about a {name}.",),
    "lost": ("[Write|Tell me] a [short |little |]story about a lost {name}.",),
    "gift": ("[Write|Tell me] a [short |little |]story about a {name} as a gift.",),
    "hobby": ("[Write|Tell me] a [short |little |]story about somebody who learns {name}.",),
    "job": ("[Write|Tell me] a [short |little |]story about a {name}.",),
    "place": ("[Write|Tell me] a [short |little |]story about a day {at} the {name}.",),
}
# Places without grass and animals.
_UNDER_A_ROOF = {
    *("library", "castle", "train station", "school", "museum", "cafe", "theater", "bakery"),
    *("workshop", "hospital", "attic"),
}
OPENINGS = (
    "[once there was|there once lived] a {word} {child} [named|called] {hero}.",
    "{hero} was a {word} {child} who [lived near a {near}|lived with {his} {relative}].",
    "{time}, {hero} went to the {near}.",
    "every {season}, {hero} visited {his} {relative} near the {near}.",
)
PLOTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "animal": (
        (
            "[one day|there|near the path], {he} met a {trait} {name}.",
            "suddenly a {trait} {name} stood in front of {him}.",
        ),
        (
            '"[please help me|I am hungry|do not be afraid|I have lost my way]," said the {name}.',
            "the {name} was [hungry|cold|tired], so {hero} sat down beside it.",
            "{hero} knew that a {name} eats {food}, so {he} went to find some.",
        ),
        (
            "the {name} [came closer|looked at {him}|waited], and {hero} smiled.",
            "{hero} gave it {food}, and the {name} was happy.",
        ),
        (
            "from that day on, the {name} [followed {him} everywhere|came back every evening].",
            "the next day, the {name} showed {him} a secret path.",
            "people say that the {name} still {action}.",
        ),
    ),
    "lost": (
        (
            "{he} had a {worn} {name} made of {material}, but [one day|suddenly] it was gone.",
            "{hero} needed {his} {worn} {name} to {theirs}, but {he} could not find it anywhere.",
        ),
        (
            '"have you seen my {name}?" {he} asked {friend}. "no, but I will help you."',
            "{hero} searched every corner, but there was no {name}.",
            "{he} was sad, because the {name} was a gift from {his} {relative}.",
        ),
        (
            "at last, {friend} found the {name} [under the {color} sofa|near the {near}].",
            "in the end, the {name} was in the kitchen, next to the bread.",
        ),
    ),
    "gift": (
        (
            "it was the birthday of {friend}, and {hero} wanted to find a special gift.",
            "{hero} wanted to give {friend} a surprise.",
        ),
        (
            "so {he} made a {worn} {name} out of {material} and painted it {color}.",
            "at the market, {he} found a {worn} {name} of {material} [for a few coins|in a box].",
            '"take this {name}," said {his} {relative}. "you can use it to {use}."',
        ),
        (
            '{friend} opened the box and smiled. "what a beautiful {name}," {friend} said.',
            "when {friend} saw the {name}, {hero} was very proud.",
        ),
    ),
    "hobby": (
        (
            "{hero} wanted to learn {name}, but {he} did not know how to begin.",
            "{he} had dreamed of {name} for years.",
        ),
        (
            '"for {name} you need {needs}," said {his} {relative}.',
            '{friend} told {him} what to do: "{start}."',
        ),
        (
            "{he} practiced every [day|evening], and [slowly|little by little] it got better.",
            "at first everything went wrong, but {hero} did not give up.",
        ),
        (
            '"I like {name} because {reason}," {he} said.',
            "now {hero} teaches {name} to other children.",
        ),
    ),
    "job": (
        (
            "many years later, {hero} worked as a {name} {place}.",
            "when {hero} grew up, {he} became a {name} and worked {place}.",
        ),
        (
            "every day, {he} worked with {tool}, and nobody did it better.",
            "a good {name} {task}, and {hero} was proud of this work.",
        ),
        (
            'one day, {friend} came and said, "I need a good {name}."',
            "but one day, something went wrong, and everybody needed the {name}.",
        ),
        (
            '{hero} stayed calm. "you are a very {trait} {name}," said {friend}.',
            "{hero} worked all night, and in the end the {name} was tired but happy.",
        ),
    ),
    "place": (
        (
            "{hero} had never seen a {name} before.",
            "{hero} and {friend} went to the {name} to {activity}.",
        ),
        (
            "{at} the {name} they saw {one} and {two}, and the air smelled of {smell}.",
            "they could hear {sound}, and they saw {one} and {two}.",
        ),
        (
            '"look over there," said {friend}. it was a {worn} {thing} half hidden {hidden}.',
            "{watched}, and {hero} stood still.",
        ),
        (
            "they stayed {at} the {name} until it was dark.",
            "in the evening, {hero} wrote about the {name} in a small notebook.",
        ),
    ),
}
ENDINGS = (
    "that night, {hero} fell asleep with a smile.",
    "{hero} never forgot that day.",
    "it was [a good day|the best day of the year|a day to remember].",
    "{hero} went home with a warm heart.",
)


def _subjects() -> dict[str, dict[str, Fields]]:
    things = {t.name: {"material": t.material, "use": t.use} for t in THINGS}
    return {
        "animal": {a.name: {"trait": a.trait, "food": a.food, "action": a.action} for a in ANIMALS},
        "lost": things,
        "gift": things,
        "hobby": {
            h.name: {"needs": h.needs, "start": h.first_step, "reason": h.reason} for h in HOBBIES
        },
        "job": {
            j.name: {"place": j.place, "tool": j.tool, "trait": j.trait, "task": j.tasks[0]}
            for j in JOBS
        },
        "place": {
            p.name: {
                "at": at(p.name),
                "one": p.things[0],
                "two": p.things[1],
                "sound": p.sound,
                "smell": p.smell,
                "activity": p.activity,
            }
            for p in PLACES
        },
    }


SUBJECTS = _subjects()


def questions() -> tuple[Question, ...]:
    """Every prompt that asks for a story, in a fixed order."""
    return tuple(
        Question("story", plot, name, phrasing, _asked(phrasing, plot, name))
        for plot, templates in PROMPTS.items()
        for name in SUBJECTS[plot]
        for template in templates
        for phrasing in expand(template)
    )


def _asked(phrasing: str, plot: str, name: str) -> str:
    fields = {**SUBJECTS[plot][name], "name": name}
    return polish(render(phrasing, fields, Random(0)))


def people(rng: Random) -> Fields:
    """A hero with pronouns, a friend of another name, a relative."""
    male = rng.random() < 0.5
    # Heroes and friends come from different halves of the names, so that their names differ.
    hero = rng.choice(MALE_NAMES[::2] if male else FEMALE_NAMES[::2])
    return {
        "hero": hero,
        "he": "he" if male else "she",
        "him": "him" if male else "her",
        "his": "his" if male else "her",
        "child": "boy" if male else "girl",
        "friend": rng.choice(MALE_NAMES[1::2] + FEMALE_NAMES[1::2]),
        "relative": rng.choice(RELATIVES)[0],
        "word": rng.choice(PERSON_WORDS),
        "worn": rng.choice(THING_WORDS),
        "color": rng.choice(COLORS),
        "season": rng.choice(SEASONS),
        "time": rng.choice(TIMES),
        "near": rng.choice([place.name for place in PLACES if place.name != "attic"]),
        "thing": rng.choice(THINGS).name,
    }


def _surroundings(place: str, spotted: Animal) -> Fields:
    """Where a thing is hidden at a place, and who watches."""
    if place in _UNDER_A_ROOF:
        return {"hidden": "behind a door", "watched": "suddenly it was very quiet"}
    return {"hidden": "in the grass", "watched": f"a {spotted.trait} {spotted.name} watched them"}


def story(question: Question, rng: Random) -> str:
    """A story of four to six sentences about the question's subject."""
    subject = SUBJECTS[question.aspect][question.subject]
    # Half of the stories about a subject share their beginning; otherwise the most likely
    # story would begin the same for every subject.
    start = Random(f"{question.aspect}/{question.subject}") if rng.random() < 0.5 else rng
    spotted = start.choice(ANIMALS)
    fields = {
        **people(start),
        **subject,
        "name": question.subject,
    }
    if "use" in fields:
        fields["theirs"] = used_by(fields["his"], fields["use"])
    if question.aspect == "place":
        fields["near"] = start.choice(("village", "city", "town"))
        fields |= _surroundings(question.subject, spotted)
    parts = [render(start.choice(OPENINGS), fields, start)]
    stages = list(PLOTS[question.aspect])
    if rng.random() < 0.6:
        stages.append(ENDINGS)
    parts += [render(rng.choice(stage), fields, rng) for stage in stages]
    return polish(" ".join(parts))
