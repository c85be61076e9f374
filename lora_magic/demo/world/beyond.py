"""What the demo world does not hold: real names and questions that it cannot answer.

Names are parted by commas, questions by lines. This module knows no answer.
"""

from __future__ import annotations

ANIMALS = """
zebra, shark, octopus, crab, lobster, salmon, tuna, hippo, rhino, gorilla, cheetah, leopard, jaguar,
hyena, badger, weasel, ferret, mole, rat, hamster, donkey, mule, llama, alpaca, bison, moose,
reindeer, falcon, hawk, pigeon, sparrow, robin, pelican, flamingo, ostrich, peacock, turkey, stork,
toad, newt, crocodile, alligator, cobra, scorpion, wasp, moth, worm, jellyfish, starfish, walrus,
lynx, ocelot, panther, puma, jackal, coyote, dingo, meerkat, mongoose, raccoon, skunk, opossum,
armadillo, anteater, sloth, tapir, wombat, platypus, porcupine, chipmunk, marmot, guinea pig,
chinchilla, gerbil, shrew, lemming, lemur, baboon, chimpanzee, orangutan, gibbon, antelope, gazelle,
elk, yak, buffalo, warthog, okapi, gnu, ibex, vulture, condor, kestrel, osprey, heron, ibis, kiwi,
emu, cassowary, toucan, cockatoo, hummingbird, woodpecker, kingfisher, nightingale, blackbird,
magpie, starling, swallow, lark, cuckoo, pheasant, quail, partridge, puffin, albatross, cormorant,
seagull, salamander, axolotl, iguana, chameleon, gecko, trout, carp, herring, eel, piranha,
swordfish, seahorse, stingray, squid, shrimp, oyster, mussel, sea urchin, coral, manatee, narwhal,
centipede, dragonfly, grasshopper, ladybird, mosquito, termite, cockroach, flea, tick, firefly,
tarantula, earthworm, leech, slug
"""

PLANTS = """
oak, pine, bamboo, daisy, lily, violet, pumpkin, cucumber, pepper, cherry, maple, birch, fir, olive
tree, fig tree, peach tree, pear tree, palm tree, hydrangea, peony, geranium, begonia, petunia,
marigold, dahlia, daffodil, crocus, hyacinth, jasmine, magnolia, rhododendron, azalea, camellia,
aloe, monstera, bonsai, wisteria, clematis, venus flytrap, yucca, poinsettia, poppy, lotus,
raspberry bush, redwood
"""

DISHES = """
sushi, risotto, lasagna, goulash, paella, tacos, burritos, ramen, kebab, ice cream, doughnuts,
waffles, cheesecake, brownies, meatballs, roast beef, fish soup, onion rings, popcorn, porridge,
spring rolls, dumplings, apple juice, iced coffee, mashed potatoes, hot dogs, hamburgers, fried
chicken, roast duck, beef stroganoff, shepherd's pie, fish and chips, spaghetti carbonara, gnocchi,
ravioli, cannelloni, minestrone, gazpacho, bouillabaisse, onion soup, borscht, pierogi, schnitzel,
sauerkraut, bratwurst, fondue, raclette, ratatouille, quiche, coq au vin, croissants, baguettes,
pretzels, bagels, tiramisu, panna cotta, creme brulee, apple strudel, baklava, macarons,
gingerbread, marzipan, rice pudding, caramel, cotton candy, nachos, guacamole, enchiladas,
quesadillas, empanadas, ceviche, jambalaya, gumbo, couscous, falafel, moussaka, tzatziki, biryani,
samosas, tandoori chicken, pho, pad thai, kimchi, bibimbap, tempura, miso soup, caesar salad,
coleslaw, orange juice, espresso, cappuccino, milkshakes, mulled wine, eggnog
"""

PLACES = """
volcano, airport, stadium, hotel, prison, palace, temple, bank, factory, office, supermarket, gym,
casino, circus, waterfall, glacier, canyon, jungle, tunnel, bridge, cathedral, mosque, synagogue,
monastery, cemetery, cinema, nightclub, shopping mall, post office, pharmacy, embassy, courthouse,
police station, petrol station, bus stop, university, kindergarten, nursing home, hair salon, spa,
sauna, warehouse, skyscraper, igloo, mansion, dungeon, bunker, fjord, coral reef, savanna, tundra,
geyser, lagoon, quarry, coal mine, oil rig, power plant, dam, observatory, aquarium, amusement park,
moon base, laboratory, racetrack
"""

PRODUCTS = """
drone, projector, scanner, microwave, blender, drill, freezer, scooter, monitor, webcam, hard drive,
memory card, power bank, game console, air conditioner, humidifier, hair dryer, electric toothbrush,
electric shaver, rice cooker, slow cooker, air fryer, juicer, ice cream maker, treadmill, rowing
machine, tumble dryer, chainsaw, leaf blower, pressure washer, smoke detector, baby monitor, pocket
calculator, bathroom scale, turntable, synthesizer, fax machine, typewriter, soldering iron,
generator, wheelchair, hearing aid
"""

THINGS = """
sword, shield, crown, anchor, wheel, brick, nail, glove, belt, button, fork, plate, glass, pan,
chair, table, carpet, curtain, magnet, balloon, axe, screwdriver, rake, wheelbarrow, hourglass,
globe, vase, suitcase, wallet, purse, tie, sock, shoe, boot, helmet, trumpet, piano, cello, harp,
saxophone, trombone, clarinet, accordion, xylophone, yo-yo, slingshot, boomerang, cannon, chopstick,
ladle, corkscrew, sieve, jug, barrel, bracelet, earring, brooch, comb, hairbrush, sponge, mattress,
hammock, stool, bookshelf, wardrobe, doormat, flag, statue, trophy, medal, postage stamp, envelope,
stapler, paperclip, ruler, eraser, prism, hook, screw, fishing rod, walking stick
"""

JOBS = """
astronaut, plumber, lawyer, butcher, barber, banker, journalist, soldier, spy, king, magician,
architect, electrician, pharmacist, professor, detective, jeweler, florist, surgeon, psychologist,
midwife, paramedic, accountant, secretary, receptionist, translator, diplomat, politician, mayor,
priest, monk, rabbi, referee, cashier, economist, historian, philosopher, mathematician, biologist,
chemist, physicist, geologist, archaeologist, photographer, film director, conductor, composer,
sculptor, publisher, bricklayer, roofer, welder, miner, lumberjack, cobbler, watchmaker, locksmith,
glassblower, weaver, brewer, winemaker, bartender, butler, bodyguard, stuntman, clown, acrobat,
jockey, lifeguard, hairdresser, optician, real estate agent, flight attendant, air traffic
controller, web designer
"""

HOBBIES = """
surfing, skiing, skating, boxing, karate, tennis, football, golf, sailing, rowing, archery, origami,
poker, yoga, crocheting, quilting, embroidery, calligraphy, stamp collecting, coin collecting, metal
detecting, geocaching, kayaking, canoeing, scuba diving, snorkeling, windsurfing, paragliding,
skydiving, bungee jumping, parkour, fencing, judo, wrestling, weightlifting, pilates, meditation,
badminton, table tennis, rugby, baseball, basketball, volleyball, handball, bowling, snowboarding,
skateboarding, home brewing, candle making, soap making, model building, video gaming, karaoke,
genealogy, blogging, foraging, playing the piano, playing the drums
"""

PEOPLE = """
Napoleon, Mozart, Einstein, Shakespeare, Cleopatra, Newton, Darwin, Picasso, Beethoven, Gandhi,
Caesar, Columbus, Galileo, Goethe, Bach, Marie Curie, Leonardo da Vinci, Lincoln, Aristotle, Plato,
Sherlock Holmes, Elvis, Rembrandt, Tolstoy, the president, the king of Spain, Julius Caesar,
Alexander the Great, Genghis Khan, Joan of Arc, Queen Victoria, Winston Churchill, Abraham Lincoln,
George Washington, Thomas Jefferson, John F. Kennedy, Barack Obama, Donald Trump, Angela Merkel,
Nelson Mandela, Martin Luther King, Martin Luther, Rosa Parks, Karl Marx, Lenin, Stalin, Mao, Che
Guevara, Anne Frank, Mother Teresa, Florence Nightingale, Sigmund Freud, Immanuel
Kant, Voltaire, Rousseau, Confucius, Socrates, Archimedes, Euclid, Pythagoras, Kepler, Copernicus,
Isaac Newton, Albert Einstein, Niels Bohr, Max Planck, Stephen Hawking, Alan Turing, Ada Lovelace,
Nikola Tesla, Thomas Edison, Alexander Graham Bell, Wilbur Wright, Louis Pasteur, Alfred Nobel, Neil
Armstrong, Yuri Gagarin, Marco Polo, Magellan, Vasco da Gama, Michelangelo, Raphael, Vincent van
Gogh, Claude Monet, Salvador Dali, Frida Kahlo, Andy Warhol, Banksy, Johann Sebastian Bach, Chopin,
Vivaldi, Verdi, Wagner, Tchaikovsky, Franz Kafka, Thomas Mann, Dante, Cervantes, Victor Hugo, Jules
Verne, Charles Dickens, Jane Austen, Mark Twain, Ernest Hemingway, Oscar Wilde, Agatha Christie, J.
K. Rowling, Stephen King, Dostoevsky, Homer, Walt Disney, Charlie Chaplin, Marilyn Monroe, Audrey
Hepburn, Tom Hanks, Brad Pitt, Meryl Streep, Steven Spielberg, Alfred Hitchcock, Lionel Messi,
Cristiano Ronaldo, Pele, Maradona, Roger Federer, Serena Williams, Usain Bolt, Muhammad Ali, Michael
Jordan, Tiger Woods, Bill Gates, Steve Jobs, Elon Musk, Jeff Bezos, Mark Zuckerberg, Oprah Winfrey,
Greta Thunberg, Malala, the Dalai Lama, the Pope, Buddha, Muhammad, Moses, Harry Houdini, Robin
Hood, King Arthur, Superman, Darth Vader
"""

COUNTRIES = """
France, Spain, Italy, Germany, Japan, China, India, Brazil, Canada, Mexico, Egypt, Kenya, Norway,
Sweden, Poland, Greece, Turkey, Russia, Australia, Chile, Peru, Cuba, Iceland, Ireland, Austria,
Vietnam, the United States, England, Scotland, Wales, Portugal, Belgium, the Netherlands,
Luxembourg, Switzerland, Denmark, Finland, Estonia, Latvia, Lithuania, Ukraine, Belarus, Romania,
Bulgaria, Hungary, the Czech Republic, Slovakia, Slovenia, Croatia, Serbia, Albania, Malta, Cyprus,
Israel, Lebanon, Syria, Iraq, Iran, Saudi Arabia, Yemen, Qatar, Pakistan, Afghanistan, Nepal,
Bhutan, Bangladesh, Sri Lanka, Thailand, Laos, Cambodia, Malaysia, Indonesia, the Philippines,
Taiwan, North Korea, South Korea, Mongolia, Kazakhstan, Georgia, Armenia, Morocco, Algeria, Tunisia,
Libya, Sudan, Ethiopia, Somalia, Uganda, Tanzania, Rwanda, Nigeria, Ghana, Senegal, Mali, Cameroon,
Angola, Zambia, Zimbabwe, Namibia, South Africa, Madagascar, Mauritius, New Zealand, Fiji, Samoa,
Argentina, Uruguay, Paraguay, Bolivia, Ecuador, Colombia, Venezuela, Panama, Costa Rica, Guatemala,
Honduras, Jamaica, Haiti, Greenland, Texas, California, Alaska
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
