"""How people ask for recipes, ingredients, the taste of dishes and when to serve them.

`{is}`, `{does}`, `{it}`, `{them}` and `{taste_verb}` agree with the dish, and so do `{a}`, `{cook}`
and `{eat}` of `fields`. Knows no answer.
"""

from __future__ import annotations

from lora_magic.demo.factory.wording.parts import Wording
from lora_magic.demo.world import Dish

_RECIPE = Wording(
    questions=(
        "How [do|can|should|would] [I|you|we] [make|prepare|{cook}] {name}?",
        "How [do|can|should] [I|you|we] [make|{cook}] {a} {name}?",
        "How [do|can] I make [good|really good|great|simple|my own] {name}?",
        "How [do|would] you [make|prepare] {name} [at home|from scratch|yourself]?",
        "How does [one|a good cook|somebody] [make|prepare|{cook}] {name}?",
        "How {is} {name} [made|prepared]?",
        "How [do|would] [cooks|people|chefs] [make|prepare] {name}?",
        "What is the [best|easiest|right|usual|simplest] way to [make|prepare] {name}?",
        "What is [a|the|an easy|the best|your] recipe for {name}?",
        "What do I [do|have to do] to make {name}?",
        "What are the steps for [making|preparing] {name}?",
        "[Where|How] do I [start|begin] when I [make|prepare|cook] {name}?",
        "[Can|Could|Would] you [teach me|show me|tell me] how to make {name}?",
        "[Can|Could] you [give|send] me [a|the|your] recipe for {name}?",
        "[Do you have|Have you got|Is there] [a|an easy|a good] recipe for {name}?",
        "[Show|Teach] me [how to|how I can] [make|{cook}|prepare] {name}.",
        "[Please give|Give|Send] me [a simple|a good|an easy|your best] recipe for {name}.",
        "[I want|I'd like|I would love|We want] to {cook} {a} {name}. [How?|How does it work?]",
        "[I'd like|I want|I need|I'm looking for] [a|the|an easy] recipe for {name}[.|, please.]",
        "Explain [how to|how I] [make|prepare] {name}[.| to me.]",
        "[Walk|Talk] me through making {name}.",
        "Help me [make|{cook}|prepare] {a} {name}.",
    ),
    clauses=(
        "how [to|I can|I could|you] [make|prepare|{cook}] {name}",
        "how [to|I can|people] [make|{cook}] {a} {name}",
        "how [people|cooks|one can] [make|prepare] {name}",
        "how {name} {is} [made|prepared]",
        "how to make {name} [at home|from scratch|for friends|for four people]",
        "how to make [good|really good|my own] {name}",
        "what the [best|easiest|right] way to make {name} is",
        "what I [have to do|should do|do] to make {name}",
        "how I go about making {name}",
        "how I [start|begin] to make {name}",
        "what to do with the ingredients for {name}",
    ),
    phrases=(
        "[a|the|your] recipe for {name}",
        "[a good|a simple|an easy|a quick|your best] recipe for {name}",
        "[the|the best|the easiest|a good] way to [make|prepare|{cook}] {name}",
        "[the|a simple] method for [making|preparing] {name}",
        "[a|the|an easy] recipe for {a} {name}",
        "the right way of making {name}",
        "a [beginner's|family|homemade|basic] recipe for {name}",
        "the preparation of {name}",
    ),
    notes=(
        "[|easy |simple |quick ]{name} recipe",
        "recipe [for |]{name}",
        "how to [make|{cook}|prepare] {name}",
        "[making|preparing] {name}",
        "how {name} {is} made",
        "{name} how to make",
        "{name} [from scratch|at home|homemade] recipe",
        "{name} [preparation|instructions|method]",
    ),
    contexts=(
        "[I want|I'd like|We want] to make {name} [tonight|tomorrow|today]. "
        "[How do I do it?|Can you help me?|How does it work?]",
        "My [kids|friends|parents|children] [want|love|like] {name}. How [do|can] I make {them}?",
        "I have never made {name} before. [How do I make {them}?|How does it work?]",
        "I have everything for {name} [here|at home|in the kitchen]. "
        "[What do I do now?|How do I start?|How do I make {them}?]",
        "I had {name} at a friend's house. How [do|can] I make {them} [myself|at home]?",
        "I'm [no cook|a beginner|new in the kitchen], but I want {name}. How do I make {them}?",
        "[Friends are|My family is|My mother is] coming and I want to make {name}. "
        "[Can you give me a recipe?|Do you have a recipe?]",
        "We are [hungry for|in the mood for|dreaming of] {name}. [How do we make {them}?|"
        "Do you have a recipe?]",
        "I [lost|can't find|forgot] my recipe for {name}. [Can you help?|Do you have one?]",
        "It's my turn to cook. I promised {name}. How {is} {it} made?",
    ),
)

_NEEDS = Wording(
    questions=(
        "What [do|will|would] [I|you|we] need [for|to make] {name}?",
        "What do I need [to buy|to get|at home|in the kitchen] for {name}?",
        "Which ingredients [do|will] [I|you|we] need [for|to make] {name}?",
        "[What|Which] ingredients [are in|go into|belong in] {name}?",
        "What are the ingredients [of|for|in] {name}?",
        "What [goes in|goes into|belongs in] {name}?",
        "What [is|all is] in {name}?",
        "What {is} {name} made [of|from|with]?",
        "What [should|must|do] I [buy|get|put on my shopping list] [for|to make] {name}?",
        "What [should|must|do] [I|we|you] put [in|into] {name}?",
        "What does it take to make {name}?",
        "What must be in the house [for|to make] {name}?",
        "What do [people|cooks|restaurants] put in {name}?",
        "What do [people|cooks|you] use [for|to make] {name}?",
        "[List|Name|Give me|Tell me] the ingredients [of|for] {name}.",
        "[I want|I'd like] to make {name}. [What do I need?|What should I buy?]",
        "[Give|Tell] me the [full |complete |]list of ingredients for {name}.",
        "Which [things|foods|groceries] do I need [for|to make] {name}?",
        "What [must I have|is needed] to [make|{cook}] {a} {name}?",
        "[Can|Could] you [list|name|give me] the ingredients for {name}?",
    ),
    clauses=(
        "what [I need|you need|we need|to buy|I should buy|is needed] [for|to make] {name}",
        "[what|which] ingredients [I need|you need|we need|to buy] for {name}",
        "[what|which] ingredients [are in|go into|belong in] {name}",
        "what [is|goes|belongs|you put] in {name}",
        "what {name} {is} made [of|from|with]",
        "what the ingredients [of|for] {name} are",
        "what [I need|you need|is needed] to {cook} {a} {name}",
        "what to [buy|get|put on my list|shop for] if I want to make {name}",
        "what [I should|to|people|you] put into {name}",
        "what must be in the kitchen [for|to make] {name}",
    ),
    phrases=(
        "[the|a] list of ingredients for {name}",
        "[the|a] shopping list for {name}",
        "the ingredient list [of|for] {name}",
        "everything that [goes into|belongs in|is in] {name}",
        "everything [I need|you need|one needs] [for|to make] {name}",
        "a list of what [is in|goes into|I need for] {name}",
        "the list of things to buy for {name}",
    ),
    notes=(
        "{name} ingredients",
        "ingredients [for|of|in|to make] {name}",
        "[grocery list|ingredient list] [for |]{name}",
        "what [is|goes] in {name}",
        "what [do i need|to buy|you need] for {name}",
        "{name} what do i need",
        "{name} [grocery list|what to buy|list of ingredients]",
    ),
    contexts=(
        "[I want|I'd like|We want] to make {name} [tonight|tomorrow|today]. "
        "[What do I need?|What should I buy?|Which ingredients do I need?]",
        "I'm [at the market|at the supermarket|going shopping] and want to make {name}. "
        "[What do I need?|What should I buy?|What goes on my list?]",
        "My [kids|friends|parents|children] want {name}. "
        "[What do I need?|What should I buy?|What goes in?]",
        "We are having {name} [tonight|tomorrow|on Sunday]. "
        "[What do I have to buy?|What do we need?]",
        "My fridge is empty and I want {name}. [What should I get?|What do I have to buy?]",
        "I had {name} at a friend's house. What [was|is] in {them}?",
        "I know how to make {name}, but I [forgot|don't know] what goes in.",
        "[My friend|My aunt|Somebody] [brings|made|cooks] {name} and I have an allergy. "
        "[What is in {them}?|Which ingredients {does} {it} have?|What is inside?]",
        "I write my shopping list. {name} {is} on the menu. [What do I need?|What must I buy?]",
        "I [like|love] {name}. [What is in {them}?|What {is} {it} made of?]",
    ),
)

_TASTE = Wording(
    questions=(
        "What {does} [|good |your ]{name} taste like?",
        "How {does} [|good |the ]{name} taste?",
        "What [should|must|would] [|good ]{name} taste like?",
        "How [should|must|would] [|good ]{name} taste?",
        "What {is} {name} like?",
        "What is the [taste|flavor|flavour] of {name}[| like]?",
        "[What|Which] [taste|flavor|flavour] [can|should] I expect from {name}?",
        "What sort of [taste|flavor|flavour] {does} {name} have?",
        "What kind of [taste|flavor|flavour] {does} {name} have?",
        "How would you describe [the taste of |the flavor of |]{name}?",
        "[Describe|Explain] the [taste|flavor|flavour] of {name}[.| to me.]",
        "[What|Which] word describes the [taste|flavor|flavour] of {name}?",
        "What can I expect when I [try|taste|have] {name}?",
        "What is [so |]special about {name}?",
        "What do people [like|love|enjoy] about {name}?",
        "[Tell me how|Describe how] [|good ]{name} {taste_verb}.",
        "What is it like to [try|taste|{eat}] {name}?",
        "How {is} {name}[| on the tongue]?",
    ),
    clauses=(
        "what {name} {taste_verb} like",
        "how {name} {taste_verb}",
        "what {name} [should|must|would] taste like",
        "how [good |]{name} should taste",
        "what {name} {is} like",
        "what the [taste|flavor|flavour] of {name} is[| like]",
        "[what|which] [taste|flavor|flavour] {name} [should|might|would] have",
        "what sort of [taste|flavor|flavour] [to|I can|you can] expect from {name}",
        "what is [so |]special about {name}",
        "what people [like|love] about {name}",
    ),
    phrases=(
        "the [taste|flavor|flavour] of {name}",
        "the [typical|usual|special|right] [taste|flavor|flavour] of {name}",
        "the special thing about {name}",
        "[a|the] word for the [taste|flavor|flavour] of {name}",
        "the [taste|flavor|flavour] I can expect from {name}",
        "the best thing about the taste of {name}",
    ),
    notes=(
        "{name} [taste|flavor|flavour]",
        "[taste|flavor|flavour] of {name}",
        "what {does} {name} taste like",
        "how {does} {name} taste",
        "{name} taste like what",
        "{name} [tastes how|what taste]",
        "what {name} {is} like",
    ),
    contexts=(
        "I have never [tried|had|tasted] {name}. "
        "[What {does} {it} taste like?|How {does} {it} taste?|What {is} {it} like?]",
        "[My friend|My sister|Everybody] [talks about|loves|likes] {name}. "
        "[What {does} {it} taste like?|How {does} {it} taste?]",
        "I see {name} on the menu. [What {does} {it} taste like?|What {is} {it} like?]",
        "[I don't know|I have no idea about|I am curious about] {name}. "
        "[What {does} {it} taste like?|How {does} {it} taste?]",
        "I want to try {name}. [What {does} {it} taste like?|What taste can I expect?]",
        "My [son|daughter|little boy] is picky and I plan {name}. [How {does} {it} taste?|"
        "What {does} {it} taste like?]",
        "I made {name} for the first time. [How should {it} taste?|What should {it} taste like?]",
        "We might order {name}. [How {does} {it} taste?|What {is} {it} like?]",
        "I only know {name} from books. [How {does} {it} taste?|What {does} {it} taste like?]",
    ),
)

_OCCASION = Wording(
    questions=(
        "When [should|can|would|do] [I|we|you] [make|serve|have] {name}?",
        "When [should|would|can] [I|we|one|people] [{eat}|offer] {name}?",
        "When {is} {name} [a good idea|a good choice|best|just right|the right choice]?",
        "When do people [have|make|serve|enjoy|{eat}] {name}?",
        "When is [a good|the best|the right|the perfect] [time|moment] for {name}?",
        "What is [a good|the best|the right|the perfect] [time|moment|occasion] for {name}?",
        "What is [a good|the best|the right] [time|occasion] to [make|serve|have] {name}?",
        "[What|Which] occasion {is} {name} [good|right|perfect|best|made] for?",
        "For [what|which] occasion [should|can|would] I [make|serve] {name}?",
        "What {is} {name} [good|perfect|ideal|suitable|best] for?",
        "What [sort|kind] of [occasion|event|day|meal] {is} {name} [good|right|perfect] for?",
        "On what [sort|kind] of occasion do people [serve|have] {name}?",
        "[What|Which] occasion {does} {name} [fit|suit]?",
        "When [exactly|of all times|ideally] [would|should] I serve {name}?",
        "When {does} {name} fit best?",
        "[Suggest|Name|Tell me] [a good|the right|an] occasion for {name}.",
        "When {is} {name} usually [served|made|on the table]?",
    ),
    clauses=(
        "when [to|I should|I can|people|you] [make|serve|{eat}] {name}",
        "when {name} {is} [a good idea|a good choice|best|just right]",
        "when [a good|the best|the right] time for {name} is",
        "[what|which] occasion {name} {is} [good|right|perfect|best] for",
        "for [what|which] occasion [to|I should|people] [make|serve] {name}",
        "what {name} {is} [good|perfect|ideal] for",
        "what [sort|kind] of [day|event|occasion] {name} {is} [good|right|perfect] for",
        "when {name} [would|might|could] be [a good idea|the right thing|welcome]",
        "when {name} {is} usually [served|made]",
    ),
    phrases=(
        "[a good|the best|the right|the perfect] [time|moment] for {name}",
        "[a good|the best|the right|the perfect|the ideal] occasion for {name}",
        "[a good|the best|the right] [time|moment] to [make|serve|have] {name}",
        "[a|the] [day|meal|situation] that {name} {is} [perfect|good|right] for",
        "an occasion to [serve|make|have] {name}",
        "a [chance|good chance] to [serve|make] {name}",
    ),
    notes=(
        "when to [serve|make|have|{eat}] {name}",
        "{name} [occasion|best time|good time|when]",
        "[occasion|best time|good time|right moment] for {name}",
        "{name} [for what occasion|for which occasion|good for what]",
        "{name} when to [serve|make]",
        "when {is} {name} best",
    ),
    contexts=(
        "I [love|like|enjoy] {name}. [When should I make {them}?|When {is} {it} a good idea?]",
        "I found a recipe for {name}. When [should|can|do] I [serve|make] {them}?",
        "I want to make {name} [some day|one day|soon]. [What is a good occasion?|When is best?]",
        "My mother always made {name}. "
        "[What occasion {is} {it} good for?|When do people make {them}?]",
        "I have never served {name}. [When {is} {it} right?|What {is} {it} good for?]",
        "I'm planning my menus and have {name} on the list. "
        "[When should I serve {them}?|What {is} {it} perfect for?]",
        "I know how to make {name}. [But when?|But when should I serve {them}?|But when {is} {it} "
        "a good idea?]",
        "My friend [offers|suggests|makes] {name} all the time. When {is} {it} a good idea?",
        "We can't decide when to have {name}. [What is the best time?|Any idea?]",
    ),
)

WORDINGS = {
    ("dish", "recipe"): _RECIPE,
    ("dish", "needs"): _NEEDS,
    ("dish", "taste"): _TASTE,
    ("dish", "occasion"): _OCCASION,
}

# Way of making it → the verb for it.
_COOK = {"soup": "cook", "bake": "bake", "fry": "cook", "mix": "make", "drink": "make"}
# What one cannot count, and so has no "a".
_UNCOUNTED = frozenset(
    (
        "corn bread",
        "fried rice",
        "mushroom pasta",
        "hummus",
        "lemonade",
        "hot chocolate",
        "mint tea",
    )
)


def fields(dish: Dish) -> dict[str, str]:
    """`{a}`: "a" if the dish is counted, `{cook}` and `{eat}`: "bake" and "eat", or "drink"."""
    return {
        "a": "" if dish.plural or dish.name in _UNCOUNTED else "a",
        "cook": _COOK[dish.method],
        "eat": "drink" if dish.method == "drink" else "eat",
    }


# Dish → other names for it, of the same number.
NAMES: dict[str, tuple[str, ...]] = {
    "dish/tomato soup": ("soup with tomatoes", "homemade tomato soup", "creamy tomato soup"),
    "dish/vegetable soup": ("veggie soup", "veg soup", "soup with vegetables"),
    "dish/pumpkin soup": ("soup with pumpkin", "squash soup"),
    "dish/chicken stew": ("chicken casserole", "stew with chicken"),
    "dish/lentil stew": ("lentil casserole", "stew with lentils", "lentil hotpot"),
    "dish/bean chili": ("bean chilli", "chili", "chilli", "chili with beans", "veggie chili"),
    "dish/apple pie": ("homemade apple pie", "pie with apples", "apple tart"),
    "dish/chocolate cake": ("choc cake", "choccy cake", "chocolate sponge"),
    "dish/lemon cake": ("lemon drizzle cake", "lemon sponge", "cake with lemon"),
    "dish/oat cookies": ("oatmeal cookies", "oat biscuits", "oatmeal biscuits"),
    "dish/banana bread": ("banana loaf", "banana cake"),
    "dish/corn bread": ("cornbread", "maize bread"),
    "dish/cheese pie": ("cheese tart", "pie with cheese"),
    "dish/blueberry muffins": ("muffins with blueberries", "homemade blueberry muffins"),
    "dish/baked potatoes": ("jacket potatoes", "oven-baked potatoes", "jacket spuds"),
    "dish/pizza": ("homemade pizza", "pizza pie"),
    "dish/pancakes": ("hotcakes", "homemade pancakes"),
    "dish/omelettes": ("omelets", "egg omelettes"),
    "dish/fried rice": ("egg fried rice", "stir-fried rice"),
    "dish/fish cakes": ("fishcakes", "fish patties"),
    "dish/vegetable curry": ("veggie curry", "veg curry", "curry with vegetables"),
    "dish/mushroom pasta": ("pasta with mushrooms", "creamy mushroom pasta"),
    "dish/noodles": ("fried noodles", "stir-fried noodles"),
    "dish/scrambled eggs": ("soft scrambled eggs",),
    "dish/green salad": ("leaf salad", "lettuce salad", "mixed salad", "side salad"),
    "dish/potato salad": ("salad with potatoes", "cold potato salad"),
    "dish/fruit salad": ("salad with fruit", "mixed fruit salad"),
    "dish/tuna sandwiches": ("sandwiches with tuna", "tuna sarnies", "tuna fish sandwiches"),
    "dish/cheese sandwiches": ("sandwiches with cheese", "cheese sarnies"),
    "dish/hummus": ("houmous", "hommus", "chickpea dip"),
    "dish/lemonade": ("homemade lemonade", "fresh lemonade"),
    "dish/hot chocolate": ("hot cocoa", "cocoa", "drinking chocolate"),
    "dish/mint tea": ("peppermint tea", "fresh mint tea", "tea with mint"),
    "dish/berry smoothies": ("smoothies with berries", "berry shakes", "smoothies"),
}
