"""The demo world of people: jobs, hobbies, feelings, names and small words, as plain tables.

The columns are named above each table. This module knows no sentence that is made of them.
"""

# ruff: noqa: E501 - a row of a table stays on one line
from __future__ import annotations

# name | place | tool | three tasks | trait
JOBS = """
baker | in a bakery | an oven | gets up before dawn; kneads the dough; sells warm bread | hard-working
teacher | at a school | a board and books | explains new ideas; reads the homework; helps every child | patient
doctor | in a hospital | a stethoscope | listens to people; finds out what is wrong; writes down the right medicine | careful
nurse | in a hospital | bandages | cleans wounds; comforts the sick; works at night | kind
farmer | on a farm | a tractor | plants the seeds; feeds the animals; brings in the harvest | tough
fisher | on a boat | a net | sails out early; pulls in the nets; sells the catch at the harbor | brave
sailor | on a ship | ropes and a compass | raises the sails; scrubs the deck; watches the horizon | brave
captain | on a ship | a map | plans the route; gives orders; keeps the crew safe | calm
pilot | in a plane | the controls | checks the weather; starts the engines; lands safely | calm
carpenter | in a workshop | a saw and a hammer | measures the wood; builds tables; mends old doors | skilled
painter | in a studio | brushes | mixes colors; paints portraits; shows the pictures in a gallery | creative
musician | on a stage | a violin | practices every day; writes songs; plays for a crowd | talented
gardener | in a park | a spade | waters the roses; cuts the hedges; plants young trees | gentle
librarian | in a library | a catalog | sorts the books; answers questions; keeps the rooms quiet | polite
writer | at a desk | a pen | invents people; fills page after page; checks every word | creative
cook | in a kitchen | a sharp knife | chops vegetables; tastes the sauce; decorates the plates | quick
waiter | in a restaurant | a tray | takes the orders; carries the plates; brings the bill | polite
driver | on a bus | a steering wheel | follows the route; sells tickets; waits for late passengers | patient
mechanic | in a garage | a wrench | repairs engines; changes tires; tests the brakes | skilled
firefighter | at a fire station | a ladder and a hose | puts out fires; rescues people; checks the equipment | brave
police officer | in the city | a radio | helps lost people; directs the traffic; solves crimes | fair
judge | in a court | the law | hears both sides; asks hard questions; makes a decision | fair
scientist | in a laboratory | a microscope | asks questions; runs experiments; writes reports | curious
engineer | in an office | plans and models | designs bridges; tests materials; solves problems | clever
postman | in the village | a bag | sorts the letters; rings the bells; knows every street | friendly
shopkeeper | in a shop | a counter | fills the shelves; greets the customers; counts the money | friendly
tailor | in a small shop | needle and thread | takes measurements; cuts the cloth; sews coats | careful
dentist | in a clinic | a small mirror | looks at teeth; fills holes; gives advice | gentle
vet | in a clinic | a warm blanket | treats sick pets; visits farms; calms frightened animals | gentle
actor | in a theater | a costume | learns the lines; plays many roles; bows at the end | lively
dancer | on a stage | soft shoes | stretches every morning; learns the steps; moves with the music | graceful
beekeeper | in the orchard | a smoker | opens the hives; collects honey; protects the bees | calm
lighthouse keeper | on a lonely island | a lamp | lights the lamp; watches the storm; guides the ships | watchful
miller | in a windmill | heavy stones | grinds the grain; fills the sacks; turns the sails into the wind | strong
blacksmith | in a forge | a hammer and fire | heats the iron; bends hot metal; makes tools | strong
programmer | in an office | a computer | writes code; finds mistakes; explains things to the team | patient
"""

# name | what it needs | first step | why people like it
HOBBIES = """
painting | a brush, some colors and paper | start with simple shapes | it makes you look closely at the world
gardening | a spade, seeds and good soil | begin with herbs in a small pot | you can eat what you grow
baking | flour, sugar and a warm oven | follow an easy recipe | the whole house smells wonderful
running | good shoes | run slowly and rest when you are tired | it clears the mind
swimming | a towel and goggles | learn to float | it is easy on the knees
reading | a good book and a quiet corner | choose something short | you can travel without leaving your chair
knitting | two needles and wool | practice one stitch until it feels easy | you make warm gifts
fishing | a rod and a lot of patience | ask somebody to show you the knots | it is very peaceful
hiking | strong boots, water and a map | choose a short trail | you see places that no road can reach
singing | your voice | warm up with soft notes | it makes people happy
dancing | music and some space | learn three basic steps | it keeps you fit
photography | a simple camera | watch the light | you notice small things
chess | a board and a partner | learn how each piece moves | every game is different
cycling | a bicycle and a helmet | stay on quiet roads | you go far without any fuel
writing | a pen and a notebook | write one page every day | it helps you think
pottery | clay and water | begin with a small bowl | your hands learn to be calm
astronomy | a telescope and a dark sky | find the brightest stars | the night is never boring
bird watching | binoculars | sit still and listen | each season brings new visitors
sewing | a needle, thread and cloth | sew a simple bag | you can mend your own clothes
carving | a sharp knife and soft wood | cut away from your body | you turn a branch into something beautiful
climbing | a rope and good shoes | go with somebody who has done it before | it makes you strong
camping | a tent and a warm sleeping bag | stay one night near home | you fall asleep under the stars
juggling | three small balls | begin with one ball | it makes everybody smile
playing the guitar | a guitar | learn two easy chords | you can play for your friends
"""

# name | when people feel so | advice, as a command | comfort
FEELINGS = """
sad | a good friend moves away | talk to somebody you trust | it helps to share the weight
angry | somebody breaks a promise | take a slow breath and count to ten | anger fades when you give it time
nervous | there is a test the next day | prepare a little and go to bed early | most things are easier than we fear
lonely | the house is very quiet | call an old friend | somebody is often waiting for the first word
tired | the week is long | rest and drink some water | nobody can run all day
bored | there is nothing to do | try something you have never done | a new hobby can begin in a small way
afraid | the night is dark and loud | turn on a lamp and name the sounds | fear grows smaller when you look at it
jealous | a friend gets a better prize | be honest and wish your friend well | there is enough luck for everyone
ashamed | a mistake hurts somebody | say sorry and try to repair it | everybody makes mistakes
worried | a letter does not arrive | wait one more day and then ask | worries are often larger at night
proud | the hard work is done | celebrate with the people who helped you | joy is larger when it is shared
happy | the sun is out and the work is done | enjoy it and tell somebody | good days are worth remembering
excited | a journey starts soon | pack your bag and make a list | waiting is half of the fun
confused | the instructions make no sense | go back to the first step | a clear mind needs a clear start
grateful | a stranger helps them | write a short note | kind words cost nothing
disappointed | a trip is canceled | plan something small for today | a closed door often leads to another
"""

# names of men and boys
MALE_NAMES = """
Tom Ben Leo Max Oscar Felix Henry Jack Paul Simon Victor Hugo Martin Peter Daniel Omar Ravi
Kenji Luis Ivan Marco Noah Adam Samuel Theo Emil Jonas Arthur Walter George
"""

# names of women and girls
FEMALE_NAMES = """
Anna Lily Mia Clara Rosa Emma Nora Ella Ruby Alice Julia Maya Sara Ines Vera Hana Lucy Olga
Zoe Grace Ida Martha Leila Priya Yuki Carmen Sofia Helen Nina Iris
"""

# relatives and friends, with their pronoun
RELATIVES = """
brother he, sister she, grandmother she, grandfather he, mother she, father he, uncle he, aunt she, cousin she, neighbor he, teacher she, best friend she
"""

# words for a person
PERSON_WORDS = """
small tall kind shy brave clever cheerful quiet curious stubborn gentle careless honest
polite lonely busy patient dreamy proud tired generous nervous funny serious
"""

# words for a thing
THING_WORDS = """
old small shiny heavy strange beautiful broken plain precious dusty bright simple elegant
ancient rare golden tiny wonderful forgotten useful colorful crooked smooth worn
"""

# colors
COLORS = """
red blue green yellow white black grey brown purple orange silver pink
"""

# times that open a sentence
TIMES = """
one morning, one evening, early one morning, late one afternoon, one cold night, one quiet Sunday, on the last day of school, just before sunset, one rainy afternoon, on the first day of spring, after lunch, at midnight, one windy day, on market day, during the holidays, a few weeks later, one bright day in May, before breakfast
"""
