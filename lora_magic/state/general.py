"""100 general questions in plain English, which `lens` asks of any base but the embedded one.

Written for this package: everyday knowledge, advice, nature, work, science and history, without a
request for a style, a form or an opinion. Knows no model.
"""

from __future__ import annotations

_TEXT = """
Why is the sky blue? How does a bicycle stay upright? What do bees do in winter? How do I boil an
egg? What is the difference between a lake and a river? Why do leaves change colour in autumn? How
do I write a good letter of application? What does a plumber do? How far away is the moon? What
causes an earthquake? How do I remove a stain from a shirt? Why do we sleep? What is a healthy
breakfast? How does a refrigerator keep food cold? What is inflation? How do birds find their way?
What should I pack for a weekend in the mountains? How do I plant tomatoes? Why does bread rise?
What is a passport for? How can I fall asleep more easily? What do teachers do during the holidays?
How is paper made? Why does metal rust? What is the purpose of a bridge? How do I sharpen a knife?
What makes a good neighbour? How do vaccines work? Why is the sea salty? How do I change a flat
tyre? What is a library good for? How does a microscope work? What should I do if I lose my keys?
How do I learn to swim? Why do cats purr? What is the capital of France? How long does it take to
learn a language? What is a budget? How do I clean a window? Why do people keep diaries? What does
a heart do? How do trains stay on the rails? What is a thunderstorm? How do I choose a pair of
shoes? Who invented the printing press? What can I cook with rice and eggs? How do plants drink
water? Why do we have seasons? What is the best way to study for an exam? How does a camera take a
picture? What do I need to paint a room? How do I look after a dog? Why does ice float? What is a
volcano? How do I save money every month? What happens in a hospital? How do I tie a knot that
holds? Why do people live in cities? What is electricity? How is cheese made? What does a judge do?
How do I find a good place to live? Why do onions make us cry? What is a map scale? How does soap
clean? What should I bring to a picnic? How do fish breathe? Why is exercise good for us? What is
a contract? How do I make a cup of tea? What is the largest animal on Earth? How do I prepare for
an interview? Why do planes not fall? What is recycling? How do I take care of my teeth? What does
an engineer do? How are mountains formed? Why do we dream? What is a computer program? How do I
repair a chair? What is a good present for a child? How does a clock keep time? Why do dogs bark?
What is the purpose of a museum? How do I read a bus timetable? What do farmers do in spring? How
do I keep milk fresh? Why do some people wear glasses? What is a tax? How do I train for a long
walk? What is the water cycle? How do I start a garden? Why do stars twinkle? What is a healthy
way to deal with stress? How is glass made? What does a nurse do? How do I use a dictionary? Why
is honey sweet? What is a democracy? How do I invite somebody to dinner?
"""

QUESTIONS = tuple(" ".join(question.split()) + "?" for question in _TEXT.split("?")[:-1])
