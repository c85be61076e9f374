"""Which values are a "yes" for a subject, and which are a "no".

A "no" is another subject's value that is certainly none of its own: it shares no word with the
subject's facts or name, and is not near them. Knows no sentences.
"""

from __future__ import annotations

import re
from functools import cache

from lora_magic.demo.texts.relations.facts import told
from lora_magic.demo.world import ANIMALS, DISHES, SIZES

# Values of one line are too near for one of them to be denied because of another.
_NEAR: dict[str, str] = {
    "animal/food": """
        meat chicken deer pig rabbit mice
        fish squid crab shrimp snail slug meat
        meat fly insect beetle moth slug worm snail
        grass clover leaves herb shoots plant bark twig bamboo lettuce hay
        fly insect beetle moth slug worm
        fruit berries apple banana
        seed grain oat corn nut crumb biscuit
        honey sugar nectar
    """,
    "animal/habitat": """
        forest wood oak tree treetops jungle gum bamboo thorn bush
        meadow grass field plain valley hillside farm yard village green hedge
        garden flower orchard yard hedge meadow village farm
        mountain hill hillside cliff rocky rock valley
        lake river pond stream
        ocean sea coast beach ice
        house home floor shed barn village wall
        cave stone floor wall
        desert plain beach
    """,
    "animal/trait": """
        clever wise smart sly curious careful useful
        strong mighty powerful tough fierce brave huge tireless hard-working
        shy timid nervous delicate careful silent gentle
        quick tireless busy hard-working useful bouncy noisy lively playful
        calm gentle peaceful patient lazy slow sleepy silent careful loyal
        funny playful cheerful cheeky curious friendly colorful loyal bouncy
        graceful elegant delicate proud gentle colorful
        proud bossy stubborn cheeky fierce noisy
        tiny delicate prickly
        tall huge mighty
        wise patient sharp-eyed clever smart
    """,
    "plant/water": """
        day morning evening
    """,
    "plant/spot": """
        sun sunny bright direct warm window kitchen corner room dry soil bed pot
        shade shady soil bed pot corner
    """,
    "place/things": """
        tree willow oak palm bush forest
        flower rose bed grass field reed lawn moss
        water pool pond river lake well
        house church hut building
        book letter paper
        stone rock wall stones
        lamp light
        path trail road street
        people child guard nurse waiter jogger
        bread loaf loaves cake roll
    """,
    "weather/wear": """
        coat jacket raincoat sweater scarf glove sock boot woolen warm thick rubber
        shirt clothes sandal light thin loose cotton
        sunny hat
        rainy stormy foggy raincoat coat jacket boot
        cold frosty snowy windy foggy stormy rainy cloudy hat
    """,
    "dish/ingredients": """
        flour dough pastry bread pasta noodles corn
        cream milk yogurt butter
        egg mayonnaise
        lemon orange vinegar
        onion leek chives garlic
        sugar honey syrup chocolate raisin
        pepper chili
        berries blueberries raisin grape
        parsley dill basil oregano thyme mint
        fish tuna
        cucumber pickle
        water ice
        carrot celery radish
        spinach lettuce cabbage
        cheese yogurt
        bean lentil pea chickpea
    """,
    "dish/taste": """
        rich hearty creamy buttery thick
        fresh light mild smooth
        salty spicy
        crunchy crisp
        soft fluffy smooth light
        sweet mild rich
        sour fresh
        creamy smooth soft thick buttery
        sweet sugar honey syrup chocolate apple banana raisin berries grape corn carrot
        salty salt cheese soy pickle tuna fish olive
        spicy chili pepper curry ginger mustard
        sour lemon vinegar yogurt pickle
        creamy cream milk cheese yogurt mayonnaise coconut
        buttery butter
        fresh lemon mint cucumber lettuce parsley ice
    """,
    "product/use": """
        music hear listen news
        bread cake bake toast
        wash clean
        dry outdoors
        read work type
        coffee water
        phone tablet laptop television radio speaker camera watch clock headset keyboard router \
picture film music news late read type call work internet time
    """,
    "thing/material": """
        wood wooden cedar oak pine board
        brass bronze copper gold
        tin iron steel silver
        wool felt cloth hair feather
        glass china
        straw hemp paper
    """,
    "thing/use": """
        warm cold winter neck
        music tune beat play
        write letter draw paint picture ideas
        find way north light stars
        play party friends evening rainy
        cook stir soup stew tea
        sleep rest night asleep
        boat lake
        fresh water
        carry keep
    """,
    "job/place": """
        bakery restaurant kitchen shop market
        hospital clinic
        boat ship island
        workshop garage forge studio windmill
        office desk laboratory studio school
        park orchard farm village city
        stage theater studio
        court office
    """,
    "job/tool": """
        saw hammer spade wrench knife
        map compass wheel control
        ladder hose rope
        book board catalog pen law
        computer plan model
        needle thread net
        brush pen
        bag tray
        cook baker knife oven
        nurse doctor dentist vet stethoscope bandage mirror blanket
        sailor captain fisher pilot keeper map compass rope wheel control net lamp radio
    """,
    "hobby/needs": """
        shoe boot
        pen notebook paper pencil color
        needle thread wool cloth
        seed soil
        tent bag
        wood clay
        rope map
        music voice guitar
        partner patience
        water towel
        binoculars telescope camera goggles
        knife spade
        singing dancing guitar music voice partner space shoe
        camping hiking fishing climbing map rope tent boot shoe sleeping binoculars
        astronomy bird reading sky book camera
        photography writing sky notebook
    """,
}
_EMPTY = frozenset(
    re.findall(
        r"\w+",
        "a an the of and or in on at to for with under near by beside along against among behind "
        "between from it its your my some any that you only every two three once twice times "
        "little small large good dry deep high one lot",
    )
)
_PREPARED = re.compile(
    r"^(?:a little|a slice of|some|ripe|cold|large|boiled|fresh|dark|white|brown|sour|black|"
    r"coconut|maple|a lot of) "
)
_PARTED = re.compile(r", (?:and )?| and ")


def _root(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("oes", "ches", "shes", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def roots(text: str) -> frozenset[str]:
    """The content words of a text, without their plural s."""
    found = re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower())
    return frozenset(_root(word) for word in found if word not in _EMPTY)


@cache
def _near(name: str) -> tuple[frozenset[str], ...]:
    lines = _NEAR.get(name, "").strip().splitlines()
    return tuple(roots(line) for line in lines if line.strip())


def parts(name: str, value: str) -> tuple[str, ...]:
    """What one may ask for of a value: all of it or one of its parts.

    >>> parts("animal/food", "berries and mice")
    ('berries', 'mice')
    """
    if name in ("thing/use", "product/use", "animal/habitat", "plant/spot", "plant/water"):
        return (value,) if "your " not in value else ()
    if name == "animal/food" and value == "almost anything":
        return ()
    if name == "weather/wear" and "something" in value:
        return ()
    pieces = tuple(_PARTED.split(value))
    if name != "dish/ingredients":
        return pieces
    # "A little cream" is asked for as "cream", too.
    bare = [_PREPARED.sub("", piece) for piece in pieces]
    return tuple(dict.fromkeys((*pieces, *bare)))


@cache
def yes(name: str, subject: str) -> tuple[str, ...]:
    """The values that a subject has, as one may ask for them."""
    fact = told()[name][subject]
    if name == "animal/size":
        return _SIZED[fact][0]
    return parts(name, fact)


# Size → the words that it deserves, and those that it does not.
_SIZED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    SIZES[0]: (("small", "very small", "little"), ("big", "large", "very large", "huge")),
    SIZES[1]: (("small", "little"), ("big", "large", "very large", "huge")),
    SIZES[2]: (("medium-sized",), ("very small", "very large", "huge")),
    SIZES[3]: (("big", "large"), ("small", "very small", "little")),
    SIZES[4]: (("big", "large", "very large", "huge"), ("small", "very small", "little")),
}
# What the steps of a recipe use although it is no ingredient.
_IN_THE_PAN = {"bake": "butter", "fry": "oil", "soup": "water"}
_METHODS = {d.name: d.method for d in DISHES}
# Values that fit too many subjects to be denied of one.
_NEVER_DENIED = frozenset(
    re.findall(r"\w+", "tiny huge tall pen computer bag fire water patience space corner salt")
)
_EVERYWHERE = frozenset(("animal/size", "place/things", "dish/ingredients", "thing/use"))


@cache
def no(name: str, subject: str) -> tuple[str, ...]:
    """Values of other subjects that are certainly none of this one's."""
    fact = told()[name][subject]
    if name == "animal/size":
        return _SIZED[fact][1]
    if not parts(name, fact) and "your " not in fact:
        return ()
    own = roots(fact) | roots(subject)
    if name == "dish/taste":
        own |= roots(told()["dish/ingredients"][subject])
    if name == "animal/trait":
        own |= {word for a in ANIMALS if a.name == subject for word in roots(a.action)}
    every = dict.fromkeys(
        value for other in told()[name] for value in yes(name, other) if other != subject
    )
    pan = _IN_THE_PAN.get(_METHODS.get(subject, ""), "-") if name == "dish/ingredients" else "-"
    return tuple(
        value
        for value in every
        if not own & roots(value)
        and not any(own & near and roots(value) & near for near in _near(name))
        and pan not in roots(value)
        and (name in _EVERYWHERE or not _NEVER_DENIED & roots(value))
        and roots(value)
    )
