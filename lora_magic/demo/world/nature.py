"""The demo world out of doors: animals, plants, places and weather, as plain tables.

The columns are named above each table. This module knows no sentence that is made of them.
"""

# ruff: noqa: E501 - a row of a table stays on one line
from __future__ import annotations

# name | habitat | food | trait | what it does | size
ANIMALS = """
fox | in the forest | berries and mice | clever | slips quietly between the trees | small
rabbit | in the meadow | clover and carrots | shy | hops back to its burrow at the first noise | small
owl | in an old barn | mice and beetles | wise | turns its head slowly and watches the dark | small
bear | in the mountains | honey and fish | strong | sleeps through the long winter | large
frog | beside the pond | flies and small insects | noisy | sings all night after the rain | very small
duck | on the lake | water plants and snails | cheerful | paddles along with its family behind it | small
cat | in a warm house | fish and chicken | proud | curls up on the softest chair | small
dog | in a busy home | meat and biscuits | loyal | waits at the door every evening | medium-sized
horse | on the farm | grass and oats | gentle | gallops across the open field | large
cow | on the hillside | fresh grass | calm | chews slowly and looks at the clouds | large
goat | on rocky hills | leaves and bark | stubborn | climbs up steep cliffs without fear | medium-sized
sheep | in the valley | grass and herbs | timid | follows the rest of the flock | medium-sized
pig | in a muddy yard | apples and corn | curious | rolls in the mud to stay cool | medium-sized
mouse | under the floor | cheese and crumbs | tiny | runs along the wall when nobody is looking | very small
squirrel | in the tall oak | nuts and seeds | quick | hides its food before the winter | small
hedgehog | under the hedge | worms and slugs | prickly | rolls into a ball when it is scared | small
deer | at the edge of the wood | leaves and grass | graceful | lifts its head and listens | medium-sized
wolf | in the northern woods | meat | brave | howls at the moon with its pack | medium-sized
otter | along the river | fish and crabs | playful | slides down the muddy bank | small
beaver | in a wide stream | bark and twigs | hard-working | builds a dam out of branches | medium-sized
seal | on the cold coast | fish and squid | lazy | rests on the warm rocks | medium-sized
whale | in the deep ocean | tiny shrimp | huge | sings a long song under the waves | very large
dolphin | in the warm sea | fish | friendly | leaps high out of the water | large
turtle | on a sandy beach | sea grass | patient | carries its home on its back | medium-sized
penguin | on the ice | small fish | funny | slides on its belly across the snow | medium-sized
parrot | in the jungle | fruit and seeds | colorful | repeats every word it hears | small
eagle | high on a cliff | fish and rabbits | sharp-eyed | circles above the valley | small
crow | near the village | almost anything | smart | collects shiny things | small
swan | on the quiet river | water plants | elegant | glides without a sound | small
goose | on the village green | grass and grain | bossy | hisses at every stranger | small
hen | in the yard | corn and worms | busy | lays an egg each morning | small
snail | in the garden | lettuce | slow | leaves a silver trail behind it | very small
bee | in the orchard | nectar | useful | dances to show where the flowers are | very small
butterfly | among the flowers | nectar | delicate | opens its bright wings in the sun | very small
spider | in the corner of the shed | flies | careful | repairs its web every night | very small
ant | under a flat stone | seeds and sugar | tireless | carries loads bigger than itself | very small
bat | in a dark cave | moths | silent | hangs upside down all day | very small
monkey | in the treetops | bananas and nuts | cheeky | swings from branch to branch | small
elephant | on the wide plain | leaves and fruit | mighty | sprays water with its trunk | very large
lion | on the dry plain | meat | fierce | roars so loudly that the birds fly away | large
tiger | in the tall grass | deer and wild pigs | powerful | moves without breaking a twig | large
giraffe | among the thorn trees | high leaves | tall | looks over the top of every tree | very large
camel | in the desert | dry grass | tough | walks for days without water | large
kangaroo | in the red bush | grass and shoots | bouncy | carries its baby in a pouch | medium-sized
koala | in the gum tree | leaves | sleepy | spends most of the day asleep | small
panda | in the bamboo forest | bamboo | peaceful | sits down to eat for hours | large
lizard | on a sunny wall | insects | nervous | vanishes into a crack in the stone | very small
snake | in the long grass | mice and eggs | sly | sheds its old skin in spring | small
"""

# name | where it grows | how often to water | one more piece of advice
PLANTS = """
rose | in full sun | every two days | cut off the dry flowers
tulip | in light soil | once a week | plant the bulbs in autumn
sunflower | against a warm wall | every day in summer | tie the stem to a stick
cactus | on a bright window | twice a month | never let it stand in water
fern | in the shade | every few days | spray the leaves with water
lavender bush | in dry, sunny soil | every other week | cut it back after it blooms
basil plant | on the kitchen window | every morning | pick the top leaves first
tomato plant | in a warm corner | every evening | break off the side shoots
strawberry plant | in a raised bed | every two days | put straw under the fruit
mint plant | in a large pot | three times a week | keep it away from other herbs
orchid | near a window without direct sun | once a week | let the roots dry between two baths
lemon tree | in a bright room | twice a week | bring it inside before the first frost
apple tree | in deep soil | only in dry weeks | cut the branches in late winter
ivy plant | on a shady wall | once a week | trim it before it reaches the roof
"""

# name | four things to see | sound | smell | activity
PLACES = """
forest | tall trees; soft moss; narrow paths; wild mushrooms | birds singing | pine and wet earth | go for a long walk
beach | white sand; colored shells; small boats; deck chairs | waves breaking | salt and sunscreen | swim in the sea
market | fruit stalls; bright flowers; baskets of bread; jars of honey | people calling out prices | spices and coffee | buy fresh food
library | high shelves; old books; wooden tables; green lamps | pages turning | paper and dust | read in peace
harbor | fishing boats; heavy ropes; wet nets; a red lighthouse | gulls crying | fish and tar | watch the ships come in
village | stone houses; a small church; a dusty square; an old well | a bell ringing | smoke and bread | meet the neighbors
city | tall buildings; busy streets; bright signs; crowded buses | cars and voices | rain on warm stone | visit a museum
mountain | steep rocks; patches of snow; a wooden hut; a thin trail | the wind | snow and stone | climb to the top
lake | calm water; a wooden pier; reeds; a rowing boat | frogs calling | reeds and mud | row to the other side
river | smooth stones; a low bridge; willow trees; quick little fish | water rushing | wet grass | fish from the bank
garden | roses; tidy beds; an apple tree; a bench | bees humming | lavender | sit in the shade
park | wide lawns; a fountain; a playground; joggers | children laughing | cut grass | have a picnic
desert | golden dunes; dry bushes; a lonely road; bright stars | almost nothing | hot dust | ride a camel
island | palm trees; hidden bays; a small village; black rocks | the sea | fruit and salt | explore the coast
castle | thick walls; a high tower; a dark hall; old paintings | footsteps on stone | candles and dust | take a tour
farm | a red barn; green fields; a muddy yard; a tractor | hens and cows | hay | feed the animals
train station | long platforms; a large clock; busy people; piles of luggage | loudspeakers | oil and coffee | catch a train
school | small desks; a green board; paintings on the wall; rows of coats | a bell and running feet | chalk | learn something new
museum | glass cases; strange masks; huge bones; quiet guards | whispers | polish | look at old things
cafe | round tables; a shiny machine; fresh cakes; a tired waiter | cups and soft music | coffee | drink something hot
theater | red seats; a heavy curtain; golden lamps; a wide stage | applause | velvet and perfume | watch a play
bakery | warm loaves; sweet rolls; a glass counter; a long line | an oven door closing | fresh bread | buy breakfast
workshop | sharp tools; piles of wood; half-finished chairs; a dusty window | hammers | glue and sawdust | build something
hospital | white corridors; quiet rooms; clean beds; kind nurses | soft steps | soap | visit a friend
cave | wet walls; strange stones; an underground pool; sleeping bats | dripping water | cold stone | explore with a lamp
meadow | tall grass; yellow flowers; butterflies; a lonely oak | crickets | clover | lie down and watch the clouds
attic | wooden boxes; old letters; a broken mirror; a rocking horse | the roof creaking | dust and old paper | look for treasure
zoo | large cages; a monkey house; a pond; hungry seals | animals calling | straw | see animals from far away
swamp | black water; twisted trees; thick fog; tiny lights | frogs and mosquitoes | mud | keep to the path
vineyard | long green rows; stone walls; ripe grapes; a cool cellar | birds | grapes and earth | taste the wine
"""

# name | three signs | what to wear | what to do
WEATHER = """
sunny | the sky is clear and blue; there is hardly a cloud; the light is bright from morning on | a hat and light clothes | spend the day outside
rainy | dark clouds hang over the roofs; the rain falls without a break; the streets are full of puddles | a raincoat and rubber boots | stay inside with a good book
windy | the wind shakes the trees; leaves fly through the streets; the windows rattle | a warm jacket and a scarf | fly a kite
snowy | thick snow covers the fields; the roads are white and quiet; large flakes drift down | gloves, boots and a woolen hat | build a snowman
foggy | a grey fog lies over the valley; you can hardly see the next house; everything sounds far away | something bright so that others can see you | drive slowly
stormy | thunder rolls over the hills; lightning splits the sky; the waves are high and white | a long raincoat | stay at home and light a candle
cloudy | grey clouds cover the sky; the light is pale and soft; it may rain later | a light coat | visit a museum
hot | the air shimmers above the road; even the birds are silent; the stones are too hot to touch | a thin shirt and sandals | swim in the lake
cold | there is ice on the puddles; breath hangs in the air; the ground is as hard as iron | a thick coat and two pairs of socks | drink hot chocolate
frosty | white frost covers the grass; the windows are full of ice flowers; the morning is still | a warm coat and gloves | take a short walk at noon
mild | a soft breeze comes from the south; the air smells of grass; the evening is warm | a thin sweater | have dinner in the garden
humid | the air is heavy and damp; clothes stick to the skin; a storm is on its way | loose cotton clothes | rest in the shade
"""
