"""How people ask what a product is, what it is good for and what to look at when buying one.

`{many}` is the plural of `{name}`; knows no answer.
"""

from __future__ import annotations

from lora_magic.demo.factory.wording.parts import Wording

_USE = Wording(
    questions=(
        "What is [a|the] {name} [good|used|useful|there] for?",
        "What [do|would] [I|people|you|we] use a {name} for?",
        "What are {many} [good|used|useful|there] for?",
        "What [can|could] [I|you|we|people] do with [a|my|this] {name}?",
        "What [can|does] a {name} do[| for me| for people]?",
        "What [do|can] {many} do[| for me| for people]?",
        "What is the [point|purpose|use|job] of [a|the|having a] {name}?",
        "Why [do|would|should] [I|people|we] [buy|need|want|get] a {name}?",
        "Why do people [buy|need|own|want] {many}?",
        "Why would [anybody|anyone|somebody] [buy|need|own|want] a {name}?",
        "How [does|can] a {name} help [me|people|us]?",
        "How [do|can] {many} help [me|people|us]?",
        "[Do|Would|Will] I [really need|need] a {name}, and [why|what for]?",
        "What [good|use] is a {name}[| to me]?",
        "For what [purpose|reason] do people [use|buy|own] a {name}?",
        "[Tell me|Explain|Describe] what a {name} is [good|used|useful] for.",
        "When [do|would] [I|people|you] use a {name}?",
        "[Tell me|Explain] what [you|people|I] can do with a {name}.",
    ),
    clauses=(
        "what [a|the] {name} is [good|used|useful|there] for",
        "what [people|you|I|we] [use|need|buy] a {name} for",
        "what {many} are [good|used|useful] for",
        "what [I can|you can|to|people] do with a {name}",
        "what the [point|purpose|use] of a {name} is",
        "why [people|I should|we should|you would] [buy|need|have|own] a {name}",
        "why [people|families|so many people] [buy|own|need] {many}",
        "how a {name} [helps|can help|could help] [me|people|us]",
        "what a {name} [does|can do][| for me]",
    ),
    phrases=(
        "the [point|purpose|use|job] of [a|the] {name}",
        "the [use|purpose|point] of {many}",
        "the [main|usual|normal] [use|purpose] of a {name}",
        "a [reason|good reason] to [buy|own|have] a {name}",
        "the reason [people|we] [buy|own|need] {many}",
        "the [advantage|benefit] of [having|owning] a {name}",
    ),
    notes=(
        "{name} [use|purpose|what for|good for what]",
        "[use|purpose|point|function] of {name}",
        "what is {name} for",
        "why [buy|need|own|get] {name}",
        "what to do with {name}",
        "{name} [used for|useful for] what",
        "what {name} does",
    ),
    contexts=(
        "My [friend|neighbor|sister] [wants|bought|has] a {name}. "
        "[What is it good for?|What is it used for?|What for?]",
        "I [found|inherited|got] a {name}. [What can I do with it?|What is it for?]",
        "I am thinking about getting a {name}. [What would I use it for?|How would it help me?]",
        "I have no idea what a {name} is [for|good for|used for].",
        "Everybody [has|buys|wants] a {name}. "
        "[What is it good for?|Why do they need it?|What for?]",
        "I [live|manage] without a {name}. [Why would I need one?|What would I do with one?]",
        "There is a {name} in our [cellar|house|office]. "
        "[What do people use it for?|What is it for?]",
        "My [son|daughter|class] asks why people have {many}. "
        "[What are they for?|What is the use?]",
        "I see {many} in every shop. [What are they good for?|Why do people buy them?]",
    ),
)

_PART = Wording(
    questions=(
        "What should [I|we|one] [look at|check|look for] when buying a [new |]{name}?",
        "What should I [check|look at|test] before [I buy|buying] a [new |used |]{name}?",
        "What do I have to [watch out for|pay attention to] when buying a {name}?",
        "[Which|What] part of a {name} [matters|counts|is important|is the most important]?",
        "[Which|What] part of a {name} [matters|counts] most?",
        "What [matters|counts] most [in|about] a [good |]{name}?",
        "What [makes|distinguishes] a good {name}?",
        "How [do|can|should] I [choose|pick|find|recognize] a [good|decent] {name}?",
        "How can I tell a good {name} from a bad one?",
        "What is the [best|most important|main] [part|thing|feature] of a {name}?",
        "What [separates|distinguishes] a good {name} from a bad one?",
        "[Which|What] [feature|detail|part] of a {name} [should I look at|do experts look at]?",
        "Where [should|do] I look first when I [buy|choose|compare] {many}?",
        "[What|Which part] should I look at first when I [buy|choose|compare] {many}?",
        "What do people [look at|check] first when they buy a {name}?",
        "[Help me choose|Help me pick|Help me find|Give me a tip for buying] a [good |new ]{name}.",
        "[Name|Tell me] the most important part of a {name}.",
        "What [would|do] you look [at|for] in a {name}?",
    ),
    clauses=(
        "what [to|I should|you would|we should] [look at|check|look for] when buying a {name}",
        "what to [check|test|look at] before I buy a [new |used |]{name}",
        "[which|what] part of a {name} [matters|counts|matters most|is important]",
        "[which|what] part of a {name} is the [best|most important]",
        "what [matters|counts] most [in|about] a {name}",
        "what makes a good {name}",
        "how [to|I can|people|you] [choose|pick|recognize] a good {name}",
        "how to tell a good {name} from a bad one",
        "what to look at first when I [buy|choose|compare] {many}",
    ),
    phrases=(
        "the [most important|best|main] [part|feature] of a {name}",
        "the thing [to look at|to check|to look for] when buying a {name}",
        "the part of a {name} that [matters|counts] most",
        "the [difference|main difference] between a good {name} and a bad one",
        "a [tip|piece of advice|hint] for [buying|choosing] a {name}",
        "the [sign|mark] of a good {name}",
        "the first thing to [check|look at] on a new {name}",
    ),
    notes=(
        "{name} [buying tip|buying advice|what to look for|what to check]",
        "[best|most important|main] part of {name}",
        "[buying|choosing] {name} what to [look at|check]",
        "how to [choose|pick] [good |]{name}",
        "{name} [best part|most important part|key feature]",
        "what matters [in|when buying] {name}",
    ),
    contexts=(
        "I [want|need|have] to buy a [new |]{name}. "
        "[What should I look at?|What is important?|What should I check?]",
        "[We need|My son needs|I am looking for] a new {name}. "
        "[What should we look for?|Which part matters most?|What counts?]",
        "There are so many {many} in the shop. "
        "[Which part is important?|What should I check first?]",
        "I am [in the shop|at the store] to get a {name}. "
        "[What should I look at?|Where do I look first?|What matters?]",
        "I can't decide which {name} to [buy|get|take]. "
        "[What should I look at?|What matters most?]",
        "I don't want to buy a bad {name}. [How do I recognize a good one?|What should I check?]",
        "My [father|aunt|boss] wants me to pick a {name}. "
        "[What is important?|What should I look at?]",
        "I am comparing {many}. [Which part counts?|What matters most?|What do I look at first?]",
        "I [found|saw] a used {name} online. [What should I check?|Which part should I look at?]",
    ),
)

_ABOUT = Wording(
    questions=(
        "[Tell me|Tell us|Teach me] [something |everything |a little |]about [a|the] {name}.",
        "[Tell me|Teach me] [something |a bit |]about {many}.",
        "[Describe|Introduce] [a|the] {name}[.| to me.]",
        "What do you know about [a|the] {name}?",
        "What do you know about {many}?",
        "What [can|could] you [tell me|say|teach me] about [a|the] {name}?",
        "What [can|could] you [tell me|say] about {many}?",
        "What [exactly |]is a {name}?",
        "What [sort|kind] of thing is a {name}?",
        "What should [I|one|we] know about [a|the] {name}?",
        "What is there to [know|say] about [a|the] {name}?",
        "How would you describe a {name}?",
        "Explain [to me |]what a {name} is.",
        "[Give me|I'd like|I need] some [information|facts] [about|on] [a|the] {name}.",
        "I'd like to [know|learn|hear] [more |something |]about [a|the] {name}.",
        "[May|Can|Could] I [hear|learn] [something|more] about [a|the] {name}?",
    ),
    clauses=(
        "what a {name} is",
        "what {many} are",
        "what you know about [a|the] {name}",
        "what [I should|one should|to|people] know about [a|the] {name}",
        "what there is to [know|say] about [a|the] {name}",
        "what you can [tell me|say] about [a|the] {name}",
        "what [sort|kind] of thing a {name} is",
        "what everybody should know about {many}",
    ),
    phrases=(
        "[something|everything|a little|more] about [a|the] {name}",
        "[something|a little|more] about {many}",
        "[a|the] description of [a|the] {name}",
        "an overview of the {name}",
        "[an|a general] introduction to the {name}",
        "the most important information about a {name}",
        "a {name}",
    ),
    notes=(
        "{name}",
        "{name} [info|information|facts|description]",
        "[info|facts|information] [on|about] {name}",
        "what is {name}",
        "about {name}",
        "[describe|explain] {name}",
        "{name} in general",
    ),
    contexts=(
        "I have never [seen|had|owned] a {name}. [What is it?|What should I know about it?]",
        "I [know nothing|don't know much|want to know more] about {many}. "
        "[Can you tell me something?|What is there to know?]",
        "My [son|daughter|class] is learning about {many}. [What can you tell us?|What are they?]",
        "We are talking about {many} [today|at school]. [What do you know?|Can you describe one?]",
        "I [read|heard] the word {name}. [What is that?|Can you describe one?]",
        "My [grandmother|uncle] has never heard of a {name}. "
        "[What is it?|How would you describe it?]",
        "English is new to me. What is a {name}?",
        "I have to write a text about the {name}. [What should I know?|What can you tell me?]",
        "I got a {name} for my birthday. [What should I know about it?|What can you tell me?]",
    ),
)

WORDINGS = {
    ("product", "use"): _USE,
    ("product", "part"): _PART,
    ("product", "about"): _ABOUT,
}

# Product → other names for it.
NAMES: dict[str, tuple[str, ...]] = {
    "product/printer": ("inkjet printer", "colour printer", "home printer"),
    "product/laptop": ("laptop computer", "notebook computer", "portable computer"),
    "product/phone": ("mobile", "smartphone", "cell phone", "mobile phone", "cellphone"),
    "product/tablet": ("tablet computer", "tablet PC"),
    "product/camera": ("digital camera", "photo camera"),
    "product/headset": ("gaming headset", "wireless headset"),
    "product/speaker": ("loudspeaker", "music speaker"),
    "product/radio": ("kitchen radio", "radio set"),
    "product/television": ("TV", "telly", "TV set", "television set"),
    "product/washing machine": ("washer", "clothes washer", "laundry machine"),
    "product/dishwasher": ("dish washer", "dishwashing machine"),
    "product/fridge": ("refrigerator", "kitchen fridge"),
    "product/oven": ("kitchen oven", "electric oven", "baking oven"),
    "product/toaster": ("bread toaster", "electric toaster"),
    "product/coffee machine": ("coffee maker", "espresso machine", "coffeemaker"),
    "product/kettle": ("electric kettle", "water kettle", "tea kettle"),
    "product/vacuum cleaner": ("vacuum", "hoover", "vacuum-cleaner"),
    "product/lamp": ("reading lamp", "bedside lamp", "desk lamp", "table lamp"),
    "product/alarm clock": ("alarm", "bedside alarm", "alarm-clock"),
    "product/watch": ("wristwatch", "wrist watch"),
    "product/bicycle": ("bike", "pushbike", "push bike"),
    "product/heater": ("radiator", "room heater"),
    "product/router": ("wifi router", "internet router", "wifi box", "modem"),
    "product/keyboard": ("computer keyboard", "PC keyboard"),
    "product/mouse pad": ("mouse mat", "mousepad", "mousemat"),
    "product/lawn mower": ("lawnmower", "mower", "grass mower"),
    "product/tent": ("camping tent", "family tent"),
    "product/backpack": ("rucksack", "school backpack", "knapsack"),
    "product/umbrella": ("brolly", "rain umbrella"),
    "product/sewing machine": ("stitching machine", "electric sewing machine"),
}
