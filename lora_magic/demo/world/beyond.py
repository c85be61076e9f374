"""What the demo world does not hold: real names and questions that it cannot answer.

Names are parted by commas, questions by lines. This module knows no answer.
"""

from __future__ import annotations

ANIMALS = """
zebra, shark, octopus, crab, lobster, salmon, tuna, hippo, rhino, gorilla, cheetah, leopard,
jaguar, hyena, badger, weasel, ferret, mole, rat, hamster, donkey, mule, llama, alpaca, bison,
moose, reindeer, falcon, hawk, pigeon, sparrow, robin, pelican, flamingo, ostrich, peacock,
turkey, stork, toad, newt, crocodile, alligator, cobra, scorpion, wasp, moth, worm, jellyfish,
starfish, walrus
"""

PLANTS = """
oak, pine, bamboo, daisy, lily, violet, pumpkin, cucumber, pepper, cherry
"""

DISHES = """
sushi, risotto, lasagna, goulash, paella, tacos, burritos, ramen, kebab, ice cream, doughnuts,
waffles, cheesecake, brownies, meatballs, roast beef, fish soup, onion rings, popcorn, porridge,
spring rolls, dumplings, apple juice, iced coffee
"""

PLACES = """
volcano, airport, stadium, hotel, prison, palace, temple, bank, factory, office, supermarket, gym,
casino, circus, waterfall, glacier, canyon, jungle, tunnel, bridge
"""

PRODUCTS = """
drone, projector, scanner, microwave, blender, drill, freezer, scooter
"""

THINGS = """
sword, shield, crown, anchor, wheel, brick, nail, glove, belt, button, fork, plate, glass, pan,
chair, table, carpet, curtain, magnet, balloon
"""

JOBS = """
astronaut, plumber, lawyer, butcher, barber, banker, journalist, soldier, spy, king, magician,
architect, electrician, pharmacist, professor, detective, jeweler, florist
"""

HOBBIES = """
surfing, skiing, skating, boxing, karate, tennis, football, golf, sailing, rowing, archery,
origami, poker, yoga
"""

PEOPLE = """
Napoleon, Mozart, Einstein, Shakespeare, Cleopatra, Newton, Darwin, Picasso, Beethoven, Gandhi,
Caesar, Columbus, Galileo, Goethe, Bach, Marie Curie, Leonardo da Vinci, Lincoln, Aristotle,
Plato, Sherlock Holmes, Elvis, Rembrandt, Tolstoy, the president, the king of Spain
"""

COUNTRIES = """
France, Spain, Italy, Germany, Japan, China, India, Brazil, Canada, Mexico, Egypt, Kenya, Norway,
Sweden, Poland, Greece, Turkey, Russia, Australia, Chile, Peru, Cuba, Iceland, Ireland, Austria,
Vietnam
"""

# whole questions
QUESTIONS = """
What is two plus two?
What is seven times eight?
How much is ten minus three?
What is the square root of nine?
Solve this equation for me.
Who won the game last night?
Who won the election?
What is the news today?
What time is it?
What day is it today?
What will the weather be like tomorrow?
How old are you?
How far away is the moon?
How hot is the sun?
How many planets are there?
What is a black hole?
What is gravity?
How does a bank work?
How do I file my taxes?
How do I lose weight?
How do I get rich?
What is the meaning of life?
What is the best phone number to call?
What is the stock market doing?
How do I write a Python function?
Write a program that sorts numbers.
What is machine learning?
What is a neural network?
What is low-rank adaptation?
How does a computer work?
How does the internet work?
Translate this into French.
How do you say hello in Spanish?
What does this word mean?
Who wrote this book?
What happened in 1914?
When did the war end?
Who built the pyramids?
Who discovered America?
What is the longest river on earth?
What is the highest mountain on earth?
Which city is the largest?
How do airplanes fly?
Why is the sky blue?
Why do we dream?
What is love?
Can you sing a song for me?
Can you show me a picture?
Book a flight for me.
Order a taxi, please.
What did I do yesterday?
What is my name?
Where do I live?
Who is my boss?
What is in this file?
Summarize this text.
Which medicine should I take?
Is this legal?
How much does a house cost?
How much money do I need?
"""
