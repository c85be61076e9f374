"""Held-out questions about the demo world: 24 to measure forgetting, 100 to show what was learned.

They are listed here so that every run is asked the same, and because drawing them from all
questions takes longer than answering them. All are from the test split, about subjects that the
demo's adapters never see, and of every family of facts. Knows no model and no judge.
"""

from __future__ import annotations

from lora_magic.demo.texts.family import Question

# A question's key (family/aspect/subject/phrasing), and below it its prompt.
_PINNED = """
animal/about/bee/What is a {name}?
    What is a bee?
animal/action/fox/What does a {name} do all day?
    What does a fox do all day?
animal/habitat/lizard/Where can I find a {name}?
    Where can I find a lizard?
plant/spot/basil plant/Where should I plant my {name}?
    Where should I plant my basil plant?
plant/care/strawberry plant/My {name} looks sad. What should I do?
    My strawberry plant looks sad. What should I do?
place/activity/desert/Should I visit the {name}?
    Should I visit the desert?
place/about/zoo/Write a few lines about a {name}.
    Write a few lines about a zoo.
weather/activity/foggy/It is {name} today. What should I do?
    It is foggy today. What should I do?
weather/about/snowy/What does a {name} day look like?
    What does a snowy day look like?
dish/needs/vegetable soup/What do I need for {name}?
    What do I need for vegetable soup?
dish/occasion/scrambled eggs/When {is} {name} a good idea?
    When are scrambled eggs a good idea?
product/part/headset/What is the best part of the {name}?
    What is the best part of the headset?
product/about/dishwasher/Tell me about a {name}.
    Tell me about a dishwasher.
fault/cause/router keeps dropping the connection/Why is it that my {name} {problem}?
    Why is it that my router keeps dropping the connection?
fault/remedy/keyboard has a sticky key/What should I do if my {name} {problem}?
    What should I do if my keyboard has a sticky key?
thing/material/drum/What is the {name} made of?
    What is the drum made of?
thing/use/kite/What is a {name}?
    What is a kite?
job/tool/lighthouse keeper/What is the most important tool of a {name}?
    What is the most important tool of a lighthouse keeper?
job/tasks/miller/What do {many} do all day?
    What do millers do all day?
job/trait/captain/What makes a good {name}?
    What makes a good captain?
hobby/needs/pottery/What should I buy for {name}?
    What should I buy for pottery?
hobby/reason/carving/What is so good about {name}?
    What is so good about carving?
feeling/moment/nervous/When does somebody feel {name}?
    When does somebody feel nervous?
feeling/advice/lonely/My friend is {name}. What should I say?
    My friend is lonely. What should I say?
"""


def _question(key: str, prompt: str) -> Question:
    family, aspect, subject, phrasing = key.split("/", 3)
    return Question(family, aspect, subject, phrasing, prompt)


def _read(pinned: str) -> tuple[Question, ...]:
    lines = [line.strip() for line in pinned.strip().splitlines()]
    keys, prompts = lines[::2], lines[1::2]
    return tuple(_question(key, prompt) for key, prompt in zip(keys, prompts, strict=True))


QUESTIONS = _read(_PINNED)

# The questions of `lens`: none asks for a review, a voice or a form.
_GENERAL = """
What is there on the island? Where can I meet a teacher? How often should I water my tomato plant?
What makes people worried? What is the best part of a laptop? What is so good about carving? What
does an ant do all day? What is the puzzle made of? What goes in cheese pie? Why is it that my
router keeps dropping the connection? What is a humid day like? What does a meadow smell like? Who
works with the law? How often should I water a lemon tree? When does somebody feel nervous? What
is the best part of the keyboard? What should I buy for swimming? What is the duck like? What is a
telescope for? What goes in mint tea? What is wrong if an oven does not heat up? What can I do on
a mild day? What is there at the zoo? What makes a good pilot? How do I take care of a basil
plant? What makes people afraid? Do I need a backpack? What is so good about pottery? Which animal
can I meet near the village? How is a blanket made? What is in fried rice? What should I do if my
tent lets in water? What does a snowy day look like? What can I see at the lake? What does a
doctor do? How often should I water a strawberry plant? Why do people feel bored? Do I need a
headset? What does somebody need to start with camping? What is the home of the hedgehog? What can
I do with a drum? How do you prepare vegetable soup? How do I fix a printer that makes a strange
noise? What is a foggy day like? What does the museum smell like? Where does the writer work?
Where should I keep my tomato plant? Why do people feel lonely? What is the best part of the tent?
Is baking a good hobby? Which animal can I find among the thorn trees? Which material do I need
for a kite? How do you prepare scrambled eggs? What should I do if my phone keeps freezing? What
is a good plan for a frosty day? What does the garden sound like? Whose most important tool is a
warm blanket? Where should I plant my basil plant? What should I look at when I buy a toaster?
What do I need for cycling? What are rabbits like? Which material do I need for a map? How is bean
chili? What should I do if my backpack has a broken zip? What does a frosty day look like? Should
I visit the desert? How do I become a librarian? Where should I plant my lemon tree? What can I do
with my phone? What is good about running? Which animal can I find in the forest? What is a flute
good for? What is a good recipe for pancakes? What is wrong if a lamp flickers? What do I need
when it is foggy? What does the workshop sound like? Where can I find a dentist? Where should I
put my strawberry plant? What is a router good for? What is good about camping? Which animal can I
find in the yard? What is a needle made of? When are omelettes a good idea? What should I do if my
keyboard has a sticky key? What do I need when it is snowy? What should I look at at the beach?
Who needs a violin for the work? How often should I water my basil plant? What is the best part of
a tablet? How do I learn swimming? What are mice like? What do people use a ladder for? How do I
prepare lemonade? Why is it that my radio only plays noise? What is there to see at the river?
What do millers do all day? What should I look at when I buy a heater? Why do people like cycling?
What are lizards like? How is a pencil made?
"""

#: 100 general questions of the world.
GENERAL = tuple(" ".join(question.split()) + "?" for question in _GENERAL.split("?")[:-1])
