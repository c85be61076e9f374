"""How people ask about things, and all that is asked indoors in one table.

Puts `dishes`, `faults` and `products` together. `{many}` is the plural of `{name}`; knows no
answer.
"""

from __future__ import annotations

from random import Random

from lora_magic.demo.factory.wording import dishes, faults, products
from lora_magic.demo.factory.wording.parts import Wording
from lora_magic.demo.texts.grammar import plural, render
from lora_magic.demo.world import DISHES, FAULTS

_USE = Wording(
    questions=(
        "What is [a|the] {name} [for|good for|used for|there for]?",
        "What [do|would|can] [I|people|you|we] use a {name} for?",
        "What are {many} [for|good for|used for|there for]?",
        "What [can|could] [I|you|we|one] do with [a|the|this|my] {name}?",
        "What do people do with [a|their] {name}?",
        "What do people [use|need|have] {many} for?",
        "What is the [point|purpose|use|job|function] of [a|the] {name}?",
        "Why [do|would] [I|people|we] [need|want|keep] a {name}?",
        "Why do people [need|have|own|keep] {many}?",
        "How [do|can] [people|I|you] use a {name}?",
        "How [does|can] a {name} help [me|people|us]?",
        "When [do|would] [I|people|you] [need|use] a {name}?",
        "What [good|use] is a {name}[| to me]?",
        "What does a {name} do?",
        "What [exactly |]is a {name}?",
        "For what [purpose|reason] do people [use|have] a {name}?",
        "[Explain|Tell me|Describe] what a {name} is [for|good for|used for].",
        "[Explain|Describe] the [use|purpose|function] of a {name}.",
        "[Tell me|Explain] what [you|people|I] can do with a {name}.",
    ),
    clauses=(
        "what [a|the] {name} is [for|good for|used for]",
        "what [people|you|I|we] [use|need] a {name} for",
        "what {many} are [for|good for|used for]",
        "what [I can|you can|to|people] do with a {name}",
        "what the [point|purpose|use|function] of a {name} is",
        "why [people|I would|we|you] [need|use|have] a {name}",
        "why people [need|use|have] {many}",
        "how a {name} [helps|can help] [me|people|us]",
        "how [people|to|you] use a {name}",
        "when [people|I would|you] [need|use] a {name}",
    ),
    phrases=(
        "the [point|purpose|use|job|function] of [a|the] {name}",
        "the [use|purpose|point] of {many}",
        "the [main|usual|normal] [use|purpose] of a {name}",
        "a [reason|good reason] to [have|own|keep] a {name}",
        "the reason [people|we] [need|have|use] {many}",
        "a [good|sensible] use for a {name}",
    ),
    notes=(
        "{name} [use|purpose|function|what for|used for]",
        "[use|purpose|point|function] of {name}",
        "what is {name} for",
        "why [need|have|use] {name}",
        "what to do with {name}",
        "{name} [good for|used for] what",
        "what {name} does",
        "uses for {name}",
    ),
    contexts=(
        "I found a {name} in [my|an old|the] [attic|shed|house]. "
        "[What is it for?|What can I do with it?|What do I use it for?]",
        "My [grandfather|aunt|neighbor] [gave|left] me a {name}. "
        "[What can I do with it?|What is it good for?|What for?]",
        "My [son|daughter|class] has never seen a {name}. [What is it for?|What does it do?]",
        "I have no idea what a {name} is [for|good for|used for].",
        "I [bought|got] a {name} at the market. [What do people use it for?|What is it good for?]",
        "There is a {name} in the [museum|shop]. [What did people use it for?|What is it for?]",
        "I [could|might|want to] get a {name}. [What would I use it for?|Why would I need it?]",
        "Somebody [offered|showed] me a {name}. [What is the use of it?|What would I do with it?]",
        "We are talking about {many} [at school|today]. [What are they for?|What is their use?]",
        "I see {many} everywhere. [What are they good for?|What do people do with them?]",
    ),
)

_MATERIAL = Wording(
    questions=(
        "What is [a|the|this|your] {name} made [of|from|out of]?",
        "What are {many} [usually |normally |]made [of|from|out of]?",
        "What are {many} [built|produced] from?",
        "[Which|What] material is [a|the] {name} [usually |]made [of|from|out of]?",
        "[Which|What] material do [I|we|you] need [for|to make] a {name}?",
        "[Which|What] material [is used|do people use|is best] for [a|the] {name}?",
        "Out of [what|which material] do people make [a {name}|{many}]?",
        "What do [people|you|they|craftsmen] make {many} [of|from|out of]?",
        "What do [people|you|they] make a {name} [of|from|out of]?",
        "What does [a|the] {name} consist of?",
        "What do {many} consist of?",
        "What is the [material|usual material] of [a|the] {name}?",
        "What [kind|sort] of material is in [a|the] {name}?",
        "What [should|would|could|can] I make a {name} [of|from|out of]?",
        "[Name|Tell me] the material of [a|the] {name}.",
        "What material [do I buy|should I get] if I want to make a {name}?",
        "What was [the|this|an old] {name} made [of|from|out of]?",
    ),
    clauses=(
        "what [a|the|this] {name} is made [of|from|out of]",
        "what {many} are [usually |]made [of|from|out of]",
        "[which|what] material [a|the] {name} is made [of|from]",
        "[which|what] material [I need|people use|is used|to buy] for a {name}",
        "what [people|you|they] make {many} [of|from|out of]",
        "what [people|you|they] make a {name} [of|from|out of]",
        "what a {name} consists of",
        "[which|what] material is [best|right|usual] for a {name}",
    ),
    phrases=(
        "the material of [a|the] {name}",
        "the material [for|in] [a|the] {name}",
        "the material [that|which] a {name} is made [of|from]",
        "the [usual|right|best|typical] material for [a {name}|{many}]",
        "the material that [people|you|I] need for a {name}",
        "the substance that {many} are made of",
        "the material to make a {name} [of|from]",
    ),
    notes=(
        "{name} [material|made of|made from|made out of]",
        "material [of|for] {name}",
        "what is {name} made [of|from]",
        "{name} made of what",
        "{name} [what material|which material]",
        "what [material|stuff] for {name}",
    ),
    contexts=(
        "I want to make a {name}. [Which material do I need?|What material is best?]",
        "I am holding a {name}. [What is it made of?|What material is it?]",
        "My [son|daughter|class] wants to build a {name}. [Which material is right?|Out of what?]",
        "I [found|inherited] an old {name}. [What is it made of?|Which material is that?]",
        "We are talking about {many} [at school|today]. "
        "[What are they made of?|Which material are they made from?]",
        "I saw a {name} in the [museum|shop]. [What was it made of?|Which material was that?]",
        "I have no idea what a {name} is made [of|from|out of].",
        "I know what a {name} is for. But what is it made [of|from]?",
        "There is a beautiful {name} in the window. [What is it made of?|Which material is it?]",
        "I need to clean my {name}. [What is it made of?|Which material is it?]",
    ),
)

WORDINGS = {
    **dishes.WORDINGS,
    **faults.WORDINGS,
    **products.WORDINGS,
    ("thing", "use"): _USE,
    ("thing", "material"): _MATERIAL,
}

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

    For a fault it draws `{problem}` and `{state}`.
    """
    if family == "dish":
        return {"name": name, **dishes.fields(_DISHES[subject])}
    if family == "fault":
        problem = rng.choice((_FAULTS[subject].problem, *faults.PROBLEMS[subject]))
        state = render(rng.choice(faults.STATES[subject]), {"name": name}, rng)
        return {"name": name, "problem": problem, "state": state}
    return {"name": name, "many": plural(name)}
