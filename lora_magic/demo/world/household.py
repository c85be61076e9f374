"""The demo world at home: dishes, products with their faults, and things, as plain tables.

The columns are named above each table. This module knows no sentence that is made of them.
"""

# ruff: noqa: E501 - a row of a table stays on one line
from __future__ import annotations

# name | way of making it | five ingredients | taste | occasion
DISHES = """
tomato soup | soup | tomatoes; an onion; garlic; a little cream; basil | rich | a cold evening
vegetable soup | soup | carrots; potatoes; celery; a leek; salt | light | a rainy day
pumpkin soup | soup | a small pumpkin; an onion; butter; ginger; pepper | sweet | an autumn dinner
chicken stew | soup | chicken; carrots; mushrooms; thyme; flour | hearty | a long winter night
lentil stew | soup | lentils; an onion; cumin; spinach; lemon juice | hearty | a simple supper
bean chili | soup | beans; peppers; tomatoes; chili powder; garlic | spicy | a crowd of friends
apple pie | bake | apples; sugar; cinnamon; butter; flour | sweet | a family lunch
chocolate cake | bake | chocolate; eggs; sugar; butter; flour | rich | a birthday
lemon cake | bake | lemons; eggs; sugar; yogurt; flour | fresh | an afternoon tea
oat cookies | bake | oats; honey; butter; raisins; flour | crunchy | a school trip
banana bread | bake | ripe bananas; eggs; brown sugar; walnuts; flour | soft | breakfast
corn bread | bake | corn meal; milk; eggs; butter; salt | buttery | a picnic
cheese pie | bake | cheese; eggs; cream; chives; pastry | creamy | a late lunch
blueberry muffins | bake | blueberries; eggs; milk; sugar; flour | fluffy | a lazy morning
baked potatoes | bake | large potatoes; butter; sour cream; chives; salt | buttery | a cheap dinner
pizza | bake | dough; tomato sauce; cheese; olives; oregano | crisp | a movie night
pancakes | fry | flour; milk; eggs; butter; maple syrup | fluffy | a slow Sunday
omelettes | fry | eggs; cheese; mushrooms; butter; parsley | light | a quick meal
fried rice | fry | cold rice; eggs; peas; soy sauce; ginger | salty | a busy weeknight
fish cakes | fry | white fish; potatoes; parsley; an egg; lemon | fresh | a seaside lunch
vegetable curry | fry | cauliflower; peas; coconut milk; curry powder; garlic | spicy | a hungry family
mushroom pasta | fry | pasta; mushrooms; garlic; cream; black pepper | creamy | a date at home
noodles | fry | noodles; cabbage; carrots; soy sauce; sesame oil | salty | a fast lunch
scrambled eggs | fry | eggs; milk; butter; salt; pepper | soft | an early start
green salad | mix | lettuce; cucumber; radishes; olive oil; vinegar | fresh | a hot day
potato salad | mix | boiled potatoes; pickles; mustard; mayonnaise; dill | creamy | a garden party
fruit salad | mix | apples; oranges; grapes; mint; honey | sweet | a summer breakfast
tuna sandwiches | mix | bread; tuna; lettuce; lemon; mayonnaise | salty | a lunch box
cheese sandwiches | mix | bread; cheese; tomato; butter; mustard | salty | a long walk
hummus | mix | chickpeas; lemon juice; garlic; olive oil; salt | smooth | a small snack
lemonade | drink | lemons; sugar; cold water; ice; mint | sour | a hot afternoon
hot chocolate | drink | milk; dark chocolate; sugar; cinnamon; cream | sweet | a snowy night
mint tea | drink | fresh mint; hot water; honey; a slice of lemon; ginger | mild | a quiet evening
berry smoothies | drink | berries; yogurt; a banana; honey; ice | thick | a morning run
"""

# product | its use as an infinitive | the part that a review speaks of
PRODUCTS = """
printer | print letters and photos | the paper tray
laptop | work on the train | the bright screen
phone | call your friends | the touch screen
tablet | read in bed | the thin frame
camera | take pictures of the family | the lens
headset | listen to music alone | the microphone
speaker | fill a room with music | the deep bass
radio | hear the news | the tuning dial
television | watch films at home | the remote control
washing machine | wash your clothes | the large drum
dishwasher | clean plates and cups | the upper rack
fridge | keep milk and meat cold | the freezer drawer
oven | bake bread and cakes | the glass door
toaster | toast two slices at once | the wide slot
coffee machine | make strong coffee | the milk foamer
kettle | boil water in a minute | the long spout
vacuum cleaner | clean the carpet | the flexible hose
lamp | read after dark | the yellow shade
alarm clock | get up in time | the loud bell
watch | know how late it is | the leather strap
bicycle | ride to work | the gear shift
heater | warm up a cold room | the thermostat
router | bring the internet into every room | the antenna
keyboard | type long texts | the space bar
mouse pad | move the mouse smoothly | the rubber edge
lawn mower | cut the lawn | the sharp blade
tent | sleep outdoors | the rain cover
backpack | carry books and lunch | the front pocket
umbrella | stay dry in a shower | the curved handle
sewing machine | sew long straight seams | the foot pedal
"""

# product | problem | cause | remedy, as a command
FAULTS = """
printer | does not print | the paper is stuck inside the tray | open the tray, remove the paper and close the lid
printer | prints blank pages | the ink is empty | replace the ink and print a test page
printer | makes a strange noise | something small has fallen into the rollers | switch it off and clean the rollers with a soft brush
laptop | does not turn on | the battery is empty | plug in the charger and wait ten minutes
laptop | is very slow | too many programs are open | close the programs that you do not need and restart it
laptop | gets too hot | the fan is full of dust | clean the fan and keep it on a hard table
phone | does not charge | the cable is worn out | try another cable and clean the port gently
phone | has no signal | the network settings are wrong | turn flight mode on and off again
phone | keeps freezing | the memory is full | delete old photos and restart the phone
tablet | has a dark screen | the brightness is set too low | hold the power button and raise the brightness
camera | takes blurry pictures | the lens is dirty | wipe the lens with a soft cloth
camera | does not save photos | the card is locked | slide the small switch on the card and try again
headset | is silent on one side | the plug is not pushed in fully | push the plug in until it clicks
headset | keeps losing the connection | the battery is weak | charge it fully and pair it again
speaker | sounds rough | the volume is too high | turn the volume down and move it away from the wall
radio | only plays noise | the antenna is folded | pull out the antenna and turn the dial slowly
television | has no picture | the cable is loose | push the cable in firmly and choose the right input
television | does not react to the remote | the remote has old batteries | put new batteries into the remote
washing machine | does not drain | the filter is blocked | open the small door at the front and clean the filter
washing machine | shakes a lot | it does not stand level | turn the feet until it stands level
dishwasher | leaves spots on the glasses | there is no salt left | fill in salt and run a short program
fridge | is not cold enough | the door does not close well | clean the rubber seal and check the door
fridge | is too loud | it touches the wall | pull it forward a little
oven | does not heat up | the timer is locked | set the clock and press start again
toaster | burns the bread | the dial is set too high | turn the dial down and shake out the crumbs
coffee machine | drips very slowly | it is full of lime | run it once with vinegar and twice with clean water
kettle | switches off too early | there is lime on the bottom | boil some vinegar in it and rinse it well
vacuum cleaner | has lost its power | the bag is full | empty the bag and check the hose
lamp | flickers | the bulb is loose | let it cool down and tighten the bulb
alarm clock | is always late | the battery is weak | change the battery and set the time again
watch | has stopped | the battery is empty | take it to a shop and change the battery
bicycle | has a flat tire | there is a thorn in the tire | take out the thorn and patch the tube
bicycle | squeaks | the chain is dry | clean the chain and put a drop of oil on it
heater | stays cold | there is air in the pipes | open the small valve until water comes out
router | keeps dropping the connection | it stands too close to a wall | move it to a higher shelf and restart it
keyboard | has a sticky key | there are crumbs under it | turn it over and tap it gently
mouse pad | slides around | the back is dusty | wash the back with warm water and let it dry
lawn mower | does not start | the fuel is old | drain the tank and fill in fresh fuel
tent | lets in water | the seams are worn | dry it and seal the seams with wax
backpack | has a broken zip | a tooth is bent | rub the zip with soap and bend the tooth back
umbrella | does not close | a small spring is stuck | press the spring with a pencil and push it down
sewing machine | breaks the thread | the needle is bent | change the needle and thread it again
"""

# name | material | use, as an infinitive
THINGS = """
key | brass | open a door
lantern | iron | light the way at night
basket | straw | carry fruit
kite | paper | play in the wind
ring | silver | remember a promise
compass | brass | find the north
map | thick paper | find the way
whistle | tin | call the dog
mirror | glass | see your own face
blanket | wool | keep warm
teapot | china | make tea for friends
flute | wood | play a gentle tune
drum | leather | keep the beat
violin | polished wood | play music
hammer | steel | drive a nail into the wall
spade | steel | dig in the garden
ladder | wood | reach high places
bucket | tin | carry water
broom | straw | sweep the floor
candle | wax | bring light into a room
clock | oak | tell the time
coat | grey wool | stay warm in winter
scarf | red wool | protect your neck from the cold
saddle | leather | ride a horse
hat | felt | keep the sun off your face
notebook | paper | write down ideas
pencil | cedar wood | draw pictures
paintbrush | soft hair | paint pictures
telescope | brass and glass | look at the stars
rope | hemp | tie up a boat
boat | pine boards | cross the lake
sled | wood | slide down a snowy hill
toy train | painted tin | play on a rainy day
doll | cloth | play with friends
puzzle | thin wood | train the mind
necklace | glass beads | look elegant at a party
coin | gold | pay for bread
bottle | green glass | keep water fresh
spoon | silver | stir the soup
pot | copper | cook a stew
needle | steel | sew on a button
pillow | feathers | rest your head
box | dark wood | keep small things safe
bell | bronze | wake up the village
quill | a goose feather | write an old-fashioned letter
music box | painted wood | help a child fall asleep
chess set | stone | pass a long evening
"""
