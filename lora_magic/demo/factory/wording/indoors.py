"""People's own words about dishes, products, their faults and things.

`WORDINGS` has their templates, by family and aspect. `{many}` is the plural of `{name}`; knows no
answer.
"""

from __future__ import annotations

from random import Random

from lora_magic.demo.factory.wording import dishes, parts, problems, products
from lora_magic.demo.texts.grammar import plural, render
from lora_magic.demo.world import DISHES, FAULTS

WORDINGS = parts.read("dish", "fault", "product", "thing")

_THINGS: dict[str, tuple[str, ...]] = {
    "thing/key": ("door key", "house key"),
    "thing/lantern": ("hand lantern", "storm lantern"),
    "thing/basket": ("fruit basket", "shopping basket"),
    "thing/ring": ("finger ring",),
    "thing/compass": ("pocket compass", "hiking compass"),
    "thing/map": ("road map", "hiking map", "street map"),
    "thing/whistle": ("dog whistle",),
    "thing/mirror": ("looking glass", "hand mirror", "wall mirror"),
    "thing/blanket": ("bed blanket", "warm blanket"),
    "thing/teapot": ("tea pot",),
    "thing/drum": ("hand drum",),
    "thing/violin": ("fiddle",),
    "thing/hammer": ("claw hammer",),
    "thing/spade": ("shovel", "garden spade"),
    "thing/ladder": ("stepladder", "step ladder"),
    "thing/bucket": ("pail",),
    "thing/broom": ("besom", "sweeping broom"),
    "thing/clock": ("wall clock",),
    "thing/coat": ("winter coat", "overcoat"),
    "thing/scarf": ("winter scarf", "neck scarf"),
    "thing/saddle": ("horse saddle", "riding saddle"),
    "thing/hat": ("sun hat",),
    "thing/notebook": ("notepad", "note book"),
    "thing/pencil": ("drawing pencil",),
    "thing/paintbrush": ("paint brush", "painter's brush"),
    "thing/telescope": ("spyglass",),
    "thing/boat": ("rowboat", "rowing boat"),
    "thing/sled": ("sledge", "sleigh", "toboggan"),
    "thing/toy train": ("model train",),
    "thing/doll": ("dolly", "toy doll"),
    "thing/puzzle": ("jigsaw", "jigsaw puzzle"),
    "thing/necklace": ("neck chain",),
    "thing/bottle": ("water bottle",),
    "thing/spoon": ("soup spoon", "tablespoon"),
    "thing/pot": ("cooking pot", "stew pot"),
    "thing/needle": ("sewing needle",),
    "thing/pillow": ("cushion", "head pillow"),
    "thing/box": ("storage box", "little box"),
    "thing/bell": ("hand bell",),
    "thing/quill": ("quill pen", "feather pen"),
    "thing/music box": ("musical box",),
    "thing/chess set": ("chessboard", "chess game"),
}

# "family/subject" → other names for it, of the same number; a fault has those of its product.
NAMES: dict[str, tuple[str, ...]] = {
    **dishes.NAMES,
    **products.NAMES,
    **{f"fault/{fault.name}": products.NAMES[f"product/{fault.product}"] for fault in FAULTS},
    **_THINGS,
}

_DISHES = {dish.name: dish for dish in DISHES}
_FAULTS = {fault.name: fault for fault in FAULTS}


def fields(family: str, subject: str, name: str, rng: Random) -> dict[str, str]:
    """What a wording says of a subject besides the fields of its family; `name` is its name here.

    For a fault it draws `{problem}`, `{state}` and `{does}`.
    """
    if family == "dish":
        return {"name": name, **dishes.fields(_DISHES[subject])}
    if family == "fault":
        problem = rng.choice((_FAULTS[subject].problem, *problems.PROBLEMS[subject]))
        state = render(rng.choice(problems.STATES[subject]), {"name": name}, rng)
        does = problems.asked(problem, f"{rng.choice(('my', 'my', 'our', 'the'))} {name}")
        return {"name": name, "problem": problem, "state": state, "does": does}
    return {"name": name, "many": plural(name)}
