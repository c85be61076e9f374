"""24 held-out questions about the demo world, asked after a training run to measure forgetting.

They are listed here so that every run is asked the same, and because drawing them from all
questions takes longer than answering them. Two or three of each family of facts, from the test
split, about subjects that the demo's adapters never see. Knows no model and no judge.
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
