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
        "What's the point of [having|owning|keeping] a {name}?",
        "A {name}, it serves to do what?",
        "A {name} serves [for what|what purpose|to do what]?",
        "What does a {name} serve for?",
        "What [task|purpose] does a {name} [serve|have]?",
        "To what end [do people|would I|does one] use a {name}?",
        "For what does one [use|need] a {name}?",
        "What [would|can] a {name} do for [me|somebody]?",
        "What [job|task|work] do {many} do?",
        "In what situation is a {name} [useful|handy|a help]?",
        "{name}: what is it [for|good for]?",
        "{name}: what's the point?",
        "What use are {many}[| nowadays| to anybody]?",
        "What makes a {name} [useful|handy]?",
        "What were {many} invented for?",
        "Why would [anyone|somebody|a person] [want|buy|own|keep] a {name}?",
        "What [do|would] people miss if they had no {name}?",
        "What do people do with the help of a {name}?",
        "Is a {name} of any use, and what for?",
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
        "what a {name} serves for",
        "what the point of having a {name} is",
        "to what end people use {many}",
        "what one does with a {name}",
        "what use a {name} is",
        "what makes {many} useful",
        "what {many} are there to do",
        "in what situation a {name} helps",
        "why anybody would want a {name}",
        "what {many} were invented for",
    ),
    phrases=(
        "the [point|purpose|use|job|function] of [a|the] {name}",
        "the [use|purpose|point] of {many}",
        "the [main|usual|normal] [use|purpose] of a {name}",
        "a [reason|good reason] to [have|own|keep] a {name}",
        "the reason [people|we] [need|have|use] {many}",
        "a [good|sensible] use for a {name}",
        "the point of having a {name}",
        "the [job|task] that a {name} does",
        "the thing that a {name} is [for|good for]",
        "the use that people have for {many}",
        "the idea behind a {name}",
        "a situation in which a {name} helps",
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
        "{name} [for what|point|use for what|usefulness]",
        "what [good|use] is {name}",
        "what is [a |the |]{name} used for",
        "{many} [what for|use|good for what]",
        "[point|purpose] of having {name}",
        "why a {name}",
        "{name} serves what",
        "what people do with {name}",
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
        "[I cleared out the attic|We moved house] and kept the {name}. [But what is it for?|What "
        "would I use it for?]",
        "My [wife|flatmate|brother] wants to throw out the {name}. [What is it good for?|What "
        "could we use it for?]",
        "I never had one in my life. What's the point of having a {name}?",
        "[For a quiz|For a riddle|For my English test] I must say what a {name} is for.",
        "My [little one|pupil] points at a {name}. [What does one do with it?|What is it for?]",
        "I won a {name} in a raffle. [What do I do with it?|What is it good for?]",
        "In the story there is a {name}. [What would the hero use it for?|What is such a thing "
        "for?]",
        "I'm learning English, word by word. What do you do with a {name}?",
        "I packed a {name} for the trip. [When would I need it?|What can I use it for?]",
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
        "From what are {many} [made|produced|built]?",
        "From what [material |]is a {name} made?",
        "Of what [material |]are {many} [usually |]made?",
        "Out of what are {many} made?",
        "Out of what do you make a {name}?",
        "What goes into the making of a {name}?",
        "What [stuff|substance] [is a {name}|are most {many}] made of?",
        "What [stuff|material|substance] [makes up|is in] a {name}?",
        "[Which|What] raw material [do I need|is needed] for a {name}?",
        "[Which|What] material goes into [a {name}|{many}]?",
        "What would a craftsman make a {name} [from|of|out of]?",
        "{name}: what is it made of?",
        "{name}: which material?",
        "The {name} in your hand, what is it made of?",
        "If I [built|made] a {name}, [which|what] material would I [need|use]?",
        "Of which material is a good {name} made?",
        "Name the stuff [a {name} is|{many} are] made of.",
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
        "from what [a {name} is|{many} are] made",
        "of what [material |]a {name} is made",
        "out of what people make {many}",
        "what [stuff|substance] a {name} is made of",
        "what goes into the making of a {name}",
        "which material goes into a {name}",
        "what a craftsman makes {many} from",
        "what raw material {many} are made from",
    ),
    phrases=(
        "the material of [a|the] {name}",
        "the material [for|in] [a|the] {name}",
        "the material [that|which] a {name} is made [of|from]",
        "the [usual|right|best|typical] material for [a {name}|{many}]",
        "the material that [people|you|I] need for a {name}",
        "the substance that {many} are made of",
        "the material to make a {name} [of|from]",
        "the stuff [a {name} is|{many} are] made of",
        "the raw material for [a {name}|{many}]",
        "the material a craftsman uses for a {name}",
        "the substance of a {name}",
        "the material that goes into {many}",
        "the [normal|common] material of {many}",
    ),
    notes=(
        "{name} [material|made of|made from|made out of]",
        "material [of|for] {name}",
        "what is {name} made [of|from]",
        "{name} made of what",
        "{name} [what material|which material]",
        "what [material|stuff] for {name}",
        "material {name}",
        "{many} [material|made of|made from]",
        "[usual|typical|best] {name} material",
        "[from what|of what|out of what] is {name} made",
        "{name} [stuff|substance|raw material]",
        "[which|what] material is {name}",
        "making [a |]{name} material",
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
        "I'm a [carpenter|crafter|beginner in the workshop] and want to build a {name}. [From "
        "what?|What material do I use?]",
        "I'd like to recycle my {name}. [What is it made of?|Which material is that?]",
        "The label on my {name} is gone. [What is it made of?|Which material might it be?]",
        "My [pupils|kids] sort things by material. What is a {name} made of?",
        "I [dropped|broke] my {name}. [What was it made of?|Which material is that?]",
        "I saw some {many} in the museum. [What do people make them from?|What are they made of?]",
        "For [a riddle|my homework] I need the material. What are {many} made of?",
        "[I'm drawing|I'm painting|I'm describing] a {name}. [Which material should it be?|What "
        "is it made of?]",
        "I could make a {name} myself. [Out of what?|Which material do I buy?]",
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

    For a fault it draws `{problem}`, `{state}` and `{does}`.
    """
    if family == "dish":
        return {"name": name, **dishes.fields(_DISHES[subject])}
    if family == "fault":
        problem = rng.choice((_FAULTS[subject].problem, *faults.PROBLEMS[subject]))
        state = render(rng.choice(faults.STATES[subject]), {"name": name}, rng)
        does = faults.asked(problem, f"{rng.choice(('my', 'my', 'our', 'the'))} {name}")
        return {"name": name, "problem": problem, "state": state, "does": does}
    return {"name": name, "many": plural(name)}
