"""What people ask about that is nowhere in the demo world: people, cities, films, illnesses, words.

The entries of a table are parted by commas. This module knows no answer and no sentence.
"""

from __future__ import annotations

TABLES: dict[str, str] = {}

TABLES["city"] = """
Paris, London, Berlin, Rome, Madrid, Vienna, Prague, Warsaw, Moscow, Kyiv, Athens, Lisbon, Dublin,
Oslo, Stockholm, Helsinki, Copenhagen, Amsterdam, Brussels, Zurich, Geneva, Munich, Hamburg,
Cologne, Barcelona, Milan, Naples, Venice, Florence, Budapest, Istanbul, Ankara, Cairo, Nairobi,
Lagos, Johannesburg, Cape Town, Casablanca, Dubai, Tehran, Baghdad, Jerusalem, Mumbai, Delhi,
Bangkok, Hanoi, Singapore, Jakarta, Manila, Beijing, Shanghai, Hong Kong, Seoul, Tokyo, Osaka,
Sydney, Melbourne, Auckland, New York, Los Angeles, Chicago, Boston, Houston, Miami, Seattle,
Denver, San Francisco, Toronto, Montreal, Vancouver, Mexico City, Havana, Lima, Bogota, Santiago,
Buenos Aires, Rio de Janeiro, Manchester, Liverpool, Edinburgh, Glasgow, Leeds, Lyon, Marseille
"""

TABLES["brand"] = """
Apple, Google, Microsoft, Amazon, Samsung, Sony, Nokia, Huawei, Xiaomi, Intel, Nvidia, IBM, Dell,
Lenovo, Canon, Nikon, Philips, Bosch, Siemens, Miele, Dyson, Tesla, Toyota, Honda, Ford, BMW, Audi,
Volkswagen, Mercedes, Volvo, Ferrari, Porsche, Fiat, Renault, Nike, Adidas, Gucci, Prada, Rolex,
Zara, H&M, IKEA, Lego, Mattel, Nintendo, Netflix, Disney, Spotify, Coca-Cola, Pepsi, Nestle,
Starbucks, McDonald's, Burger King, Walmart, Aldi, Lidl, Visa, PayPal, FedEx, DHL, Boeing, Airbus,
Lufthansa, Ryanair, Shell, Pfizer, Bayer, Uber, Airbnb, eBay, Alibaba, OpenAI, SpaceX
"""

TABLES["film"] = """
Star Wars, Titanic, Avatar, Jaws, The Godfather, Pulp Fiction, The Matrix, Inception, Gladiator,
Frozen, Shrek, Toy Story, Finding Nemo, The Lion King, Jurassic Park, Alien, Rocky, Psycho, Vertigo,
Amelie, Parasite, Oppenheimer, Barbie, Dune, Interstellar, Fight Club, Memento, Forrest Gump,
Braveheart, Top Gun, Die Hard, Ghostbusters, Blade Runner, The Shining, Batman, Spider-Man, Iron
Man, James Bond, Mission Impossible, Breaking Bad, Game of Thrones, Friends, The Simpsons, Stranger
Things, Squid Game, Doctor Who, Star Trek, Seinfeld, Lost
"""

TABLES["band"] = """
the Beatles, the Rolling Stones, Queen, Abba, U2, Coldplay, Nirvana, Metallica, Oasis, Radiohead,
Pink Floyd, Led Zeppelin, AC/DC, Kraftwerk, Rammstein, Daft Punk, Blur, Muse, Green Day, the Doors,
the Bee Gees, Genesis, Depeche Mode, Taylor Swift, Beyonce, Adele, Rihanna, Lady Gaga, Madonna,
Eminem, Drake, Kanye West, Bob Dylan, David Bowie, Michael Jackson, Prince, Elton John, BTS, Billie
Eilish, Ed Sheeran, Shakira, Johnny Cash, Miles Davis, Bob Marley, Edith Piaf
"""

TABLES["song"] = """
Yesterday, Imagine, Hey Jude, Let It Be, Bohemian Rhapsody, Thriller, Billie Jean, Hallelujah,
Dancing Queen, Waterloo, Hotel California, Wonderwall, Creep, Smells Like Teen Spirit, Yellow,
Someone Like You, Bad Romance, Shake It Off, Blinding Lights, Despacito, Macarena, La Vie en Rose,
Volare, Purple Rain, Born to Run, Like a Virgin, Stairway to Heaven, Africa, Jolene, My Way, White
Christmas, Silent Night, Jingle Bells, Ave Maria, Fur Elise, the Moonlight Sonata, Bolero
"""

TABLES["book"] = """
Hamlet, Macbeth, Romeo and Juliet, King Lear, Faust, Don Quixote, the Odyssey, the Iliad, the Bible,
the Koran, War and Peace, Anna Karenina, Crime and Punishment, Moby Dick, Dracula, Frankenstein,
Ulysses, Emma, Pride and Prejudice, Jane Eyre, Great Expectations, Oliver Twist, Harry Potter, The
Hobbit, The Lord of the Rings, Animal Farm, Brave New World, Lolita, The Stranger, The Trial,
Siddhartha, The Little Prince, Pinocchio, Heidi, Peter Pan, Alice in Wonderland, The Alchemist, The
Hunger Games, Twilight, The Da Vinci Code, The Great Gatsby, Catch-22, Beloved, Walden
"""

TABLES["illness"] = """
the flu, a cold sore, asthma, diabetes, cancer, malaria, measles, mumps, chickenpox, pneumonia,
bronchitis, tuberculosis, migraine, epilepsy, arthritis, rheumatism, gout, anemia, leukemia,
hepatitis, cholera, typhoid, tetanus, rabies, eczema, psoriasis, acne, hay fever, an ulcer,
appendicitis, a stroke, a heart attack, dementia, depression, autism, ADHD, anorexia, insomnia,
heartburn, diarrhea, constipation, scabies, covid, a concussion, a hernia, kidney stones, scurvy,
sunstroke, a broken arm, a sprained ankle, a headache, food poisoning, a burn
"""

TABLES["drug"] = """
aspirin, ibuprofen, paracetamol, penicillin, insulin, morphine, cortisone, antibiotics, codeine,
Valium, Prozac, melatonin, iron tablets, vitamin D, cough syrup, nasal spray, beta blockers,
statins, caffeine, nicotine, cannabis, Ozempic, magnesium tablets, antihistamines
"""

TABLES["sport"] = """
football, soccer, basketball, baseball, cricket, rugby, hockey, ice hockey, tennis, badminton,
volleyball, handball, golf, boxing, judo, fencing, curling, snooker, darts, polo, water polo,
squash, softball, lacrosse, bowling, table tennis, biathlon, triathlon, wrestling, sumo
"""

TABLES["team"] = """
Real Madrid, Barcelona, Manchester United, Liverpool FC, Arsenal, Chelsea, Bayern Munich, Juventus,
Inter Milan, Ajax, Benfica, Celtic, Galatasaray, Borussia Dortmund, the Lakers, the Celtics, the
Chicago Bulls, the Yankees, the Red Sox, the Dodgers, the Patriots, the Cowboys, the Packers, the
All Blacks, Boca Juniors, Schalke, Everton, Paris Saint-Germain, the Boston Bruins
"""

TABLES["element"] = """
hydrogen, helium, lithium, carbon, nitrogen, oxygen, fluorine, neon, sodium, magnesium, aluminium,
silicon, phosphorus, sulfur, chlorine, argon, potassium, calcium, titanium, chromium, manganese,
nickel, zinc, arsenic, bromine, krypton, iodine, xenon, cesium, barium, tungsten, platinum, mercury,
lead, bismuth, radium, uranium, plutonium, cobalt, radon
"""

TABLES["physics"] = """
gravity, magnetism, electricity, inertia, friction, entropy, energy, momentum, radiation, pressure,
relativity, quantum mechanics, string theory, dark matter, dark energy, nuclear fusion,
superconductivity, thermodynamics, buoyancy, refraction, diffraction, resonance, torque, centrifugal
force, the Doppler effect, Ohm's law, Newton's third law, wave-particle duality, the uncertainty
principle, the photoelectric effect, capillarity, turbulence, osmosis, viscosity
"""

TABLES["star"] = """
the moon, the sun, Mars, Venus, Jupiter, Saturn, Neptune, Uranus, Pluto, the planet Mercury, Sirius,
the North Star, Alpha Centauri, the Andromeda galaxy, the Milky Way, Halley's comet, Titan, Europa,
Betelgeuse, the Orion nebula, Ceres, Ganymede, the asteroid belt
"""

TABLES["river"] = """
Nile, Amazon, Danube, Rhine, Thames, Seine, Volga, Mississippi, Ganges, Yangtze, Mekong, Congo,
Niger, Elbe, Tiber, Po, Loire, Vistula, Euphrates, Indus, Colorado River, Rio Grande, Hudson
"""

TABLES["peak"] = """
Mount Everest, K2, Mont Blanc, the Matterhorn, Kilimanjaro, Mount Fuji, Vesuvius, Etna, Denali,
Aconcagua, Elbrus, Ben Nevis, Mount Olympus, the Zugspitze, Ararat, Krakatoa, Mount Rushmore
"""

TABLES["event"] = """
World War I, World War II, the French Revolution, the Russian Revolution, the Cold War, the Vietnam
War, the Gulf War, the American Civil War, the Battle of Waterloo, the moon landing, the Black
Death, the Industrial Revolution, the Great Depression, the fall of Rome, the Crusades, the
Reformation, the Renaissance, the Boston Tea Party, the Battle of Hastings, D-Day, the fall of the
Berlin Wall, the sinking of the Titanic, the Chernobyl disaster, Watergate, the Cuban missile
crisis, the Spanish Inquisition, the Hundred Years' War, the Punic Wars, the Congress of Vienna, the
Treaty of Versailles, the Trojan War, the gold rush, the Holocaust
"""

TABLES["language"] = """
French, Spanish, German, Italian, Portuguese, Dutch, Polish, Russian, Ukrainian, Czech, Turkish,
Greek, Latin, Arabic, Hebrew, Persian, Hindi, Bengali, Tamil, Thai, Vietnamese, Chinese, Japanese,
Korean, Swedish, Norwegian, Danish, Finnish, Hungarian, Romanian, Bulgarian, Croatian, Swahili,
Zulu, Irish, Welsh, Icelandic, Esperanto, Basque, Catalan, Mandarin, Klingon
"""

TABLES["foreign"] = """
bonjour, merci, hola, gracias, danke, bitte, ciao, prego, konnichiwa, arigato, namaste, shalom,
salam, proost, skol, kiitos, tesekkur, dziekuje, spasibo, obrigado, schadenfreude, hygge, deja vu,
voila, fiesta, siesta, kindergarten, wanderlust, bon appetit, c'est la vie, hasta la vista, auf
Wiedersehen, zeitgeist, ubuntu, ikigai, kawaii, faux pas, carpe diem, mazel tov
"""

TABLES["word"] = """
house, tree, water, bread, hello, love, friend, mother, sun, money, school day, peace, war, dream,
street, finger, yellow, seven, Monday, yes, sorry, help, door handle, sky, fire, window, sister,
butter, freedom, table leg, wine, road, child, hand, breakfast, health, train ticket, homework
"""

TABLES["rare"] = """
serendipity, melancholy, ubiquitous, ephemeral, paradox, irony, hypothesis, ambiguous, nostalgia,
eloquent, pragmatic, obfuscate, quintessential, anomaly, catharsis, dichotomy, epiphany, fiasco,
gullible, heuristic, idiosyncratic, juxtaposition, labyrinth, mediocre, nonchalant, omniscient,
petrichor, quagmire, rhetoric, sycophant, taciturn, utopia, vicarious, whimsical, zealot, algorithm,
bureaucracy, colloquial, democracy, empirical, facetious, gregarious, hegemony, inevitable,
jurisdiction, kleptomania, litigation, metamorphosis, neologism, onomatopoeia, plethora, quota,
redundant, sarcasm, tangible, vendetta, wanton, xenophobia, zeal, ostracism
"""

TABLES["topic"] = """
photosynthesis, evolution, genetics, economics, philosophy, psychology, sociology, archaeology,
anthropology, geology, meteorology, linguistics, architecture, feminism, capitalism, communism,
socialism, anarchy, globalization, climate change, renewable energy, nuclear weapons, human rights,
slavery, immigration, globalism, artificial intelligence, robotics, cryptocurrency, bitcoin,
blockchain, virtual reality, cybersecurity, nanotechnology, genetic engineering, cloning, vaccines,
nutrition, mental health, public speaking, time management, leadership, marketing, accounting, real
estate, logistics, supply chains, insurance, taxation, fashion, make-up, opera, ballet, hip-hop,
impressionism, surrealism, the Bauhaus, Greek mythology, Norse mythology, astrology, tarot, feng
shui, homeopathy, acupuncture, chakras, the Olympics, the United Nations, NATO, the stock market,
the gender pay gap, social media, influencers, memes, podcasts, tattoos, heraldry, cryptography,
game theory, chaos theory, topology, statistics, calculus, trigonometry
"""

TABLES["organ"] = """
heart, liver, kidney, lung, brain, stomach, spleen, pancreas, appendix, gallbladder, bladder,
thyroid, skin, eye, tongue, spine, skull, knee joint, eardrum, retina, aorta, colon, jaw, hip
"""

TABLES["unit"] = """
meters, kilometers, miles, feet, inches, yards, centimeters, grams, kilograms, pounds, ounces, tons,
stones, liters, gallons, pints, cups, teaspoons, acres, hectares, square feet, knots, bytes,
megabytes, joules, calories, watts, minutes, hours, weeks, years
"""

TABLES["currency"] = """
dollars, euros, pounds sterling, yen, francs, rupees, rubles, pesos, kroner, zloty, lira, yuan, won,
bitcoins, Canadian dollars, Swiss francs, cents, shekels, dirhams
"""

TABLES["operator"] = """
+, -, *, x, ×, /, ÷, ^, plus, minus, times, divided by, multiplied by, over, mod, to the power of
"""

TABLES["function"] = """
x^2, 3x + 1, sin(x), cos(2x), e^x, ln(x), 1/x, x^3 - 2x, (x + 1)(x - 1), sqrt(x), tan x, 4x^2 + 4x +
1, x^2 - 9, |x|, 2^x, x*y + y^2
"""

TABLES["code"] = """
Python, Java, C, C++, C#, Rust, Go, JavaScript, TypeScript, PHP, Perl, Ruby, Swift, Kotlin, Scala,
Haskell, Lisp, Fortran, COBOL, SQL, bash, MATLAB, R, Julia, HTML, CSS, Lua, Assembly, Scratch
"""

TABLES["task"] = """
sorts numbers, reverses a string, prints hello world, reads a CSV file, finds prime numbers, counts
words, checks a password, computes the factorial, downloads a page, plots a curve, parses JSON,
sends an email, merges two lists, finds duplicates, solves a sudoku, plays tic-tac-toe, computes
Fibonacci numbers, removes spaces, converts dates, draws a circle, rolls dice, checks a palindrome,
opens a socket, hashes a string, resizes images, inverts a matrix
"""

TABLES["work"] = """
sort a list, open a file, read a file line by line, reverse a string, connect to a server, write a
loop, define a class, catch an exception, parse JSON, format a date, generate random numbers,
concatenate strings, remove duplicates, iterate over a dictionary, call an API, use a pointer,
install a package, make an HTTP request, join two tables, test a function, read user input, start a
thread, draw a window, log errors, import a module, split a string, round a number
"""

TABLES["concept"] = """
class, pointer, closure, decorator, generator, lambda, mutex, thread, recursion, linked list, hash
table, binary tree, stack, queue, heap, compiler, variable, constructor, interface, callback,
coroutine, data frame, foreign key, docstring, null reference, loop, array, regular expression
"""

TABLES["error"] = """
NullPointerException, segmentation fault, IndexError, KeyError, TypeError, SyntaxError, 404 error,
stack overflow, ImportError: no module named numpy, CUDA out of memory, ValueError, merge conflict,
permission denied, connection refused, undefined is not a function, error 500, blue screen,
ModuleNotFoundError, core dumped, timeout error
"""

TABLES["app"] = """
Excel, Word, PowerPoint, Photoshop, Gmail, Outlook, Chrome, Firefox, WhatsApp, Facebook, Instagram,
TikTok, YouTube, Zoom, Slack, Skype, Dropbox, GitHub, Docker, Kubernetes, Linux, Ubuntu, Windows,
macOS, Android, WordPress, Jupyter, VS Code, Vim, LaTeX, Blender, PyTorch, numpy, Reddit, Twitter,
LinkedIn, Telegram, Signal, Discord, Wikipedia, Siri, Alexa
"""

TABLES["model"] = """
ChatGPT, GPT-4, Claude, Gemini, Llama, Mistral, BERT, Qwen, DeepSeek, Copilot, AlphaGo, Watson,
Stable Diffusion, DALL-E, Whisper, Gemma, Phi, Grok, T5, ResNet
"""

TABLES["game"] = """
Minecraft, Tetris, Pac-Man, Super Mario, Zelda, Pokemon, Fortnite, Roblox, Call of Duty, FIFA, The
Sims, World of Warcraft, Doom, Skyrim, Portal, Sonic, Monopoly, Scrabble, Risk, Catan,
blackjack, solitaire, backgammon, checkers, Go Fish, Uno, Jenga, sudoku, mahjong, dominoes, hide and
seek, Dungeons and Dragons, Candy Crush, GTA, League of Legends
"""

TABLES["vehicle"] = """
car, truck, motorcycle, bus, tram, helicopter, airplane, submarine, rocket, tank, van, taxi, yacht,
ferry, hovercraft, hot-air balloon, locomotive, snowmobile, ambulance, bulldozer, jet ski, zeppelin,
space shuttle, forklift, limousine
"""

TABLES["stock"] = """
gold, silver futures, oil, bitcoin, ethereum, Tesla shares, Apple shares, government bonds, the DAX,
the Dow Jones, the S&P 500, wheat futures, copper futures, Nvidia stock, dogecoin, an index fund,
the Nasdaq, Amazon stock
"""

TABLES["crime"] = """
theft, murder, fraud, perjury, tax evasion, drunk driving, shoplifting, arson, burglary, blackmail,
libel, trespassing, bribery, smuggling, forgery, hacking, vandalism, speeding, money laundering,
jaywalking, kidnapping, insider trading
"""

TABLES["deed"] = """
record a phone call, download films, carry a gun, drive without a license, keep found money, sell
homemade cheese, work on Sundays, burn leaves, own a lion, fly a drone, smoke in public, copy a
book, marry a cousin, camp anywhere, shoot pigeons, park on the pavement, sublet my flat, grow
cannabis, drink in the street, quit without notice
"""

TABLES["threat"] = """
raise the rent, fire me, evict me, read my emails, keep my deposit, cut my pay, block my card, enter
my flat, search my bag, forbid pets, film me, expel my son, refuse a refund, sue me, cut down my
hedge
"""

TABLES["contact"] = """
Mom, Dad, my wife, my boss, John, Sarah, Michael, Laura, Mr. Smith, Mrs. Miller, Dr. Jones, Kevin,
Jessica, the landlord, my ex, Stefan, Fatima, Pierre, Giulia, Mehmet, the office, Dave, Aunt May
"""

TABLES["month"] = """
January, February, March, April, May, June, July, August, September, October, November, December
"""

TABLES["weekday"] = "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"

TABLES["artwork"] = """
the Mona Lisa, The Last Supper, The Starry Night, The Scream, Guernica, The Night Watch, The Kiss,
American Gothic, The Birth of Venus, The Creation of Adam, Girl with a Pearl Earring, The Thinker,
the statue of David, Las Meninas, The Persistence of Memory, Nighthawks, The Great Wave, the Venus
de Milo, The Potato Eaters, Water Lilies, Whistler's Mother, the Bayeux Tapestry
"""

TABLES["landmark"] = """
the Eiffel Tower, Big Ben, the Colosseum, the Great Wall of China, the Statue of Liberty, the Taj
Mahal, Machu Picchu, Stonehenge, the Louvre, the Kremlin, the White House, Buckingham Palace, the
Vatican, Notre-Dame, the Sagrada Familia, the Brandenburg Gate, Neuschwanstein, the Acropolis, the
Sphinx, the Golden Gate Bridge, the Empire State Building, Times Square, Disneyland, Niagara Falls,
the Grand Canyon, Yellowstone, the Burj Khalifa, the Sydney Opera House, Alcatraz, Petra, the Hagia
Sophia, Versailles, the Panama Canal, the Leaning Tower of Pisa
"""

TABLES["invention"] = """
the telephone, the light bulb, the steam engine, the printing press, the airplane, the internet,
dynamite, penicillin, the zipper, plastic, concrete, the elevator, the microchip, the barometer, the
parachute, the refrigerator truck, the traffic light, the stethoscope, the battery, the transistor,
radar, the submarine, the calendar, the alphabet, barbed wire, the ballpoint pen, velcro, the credit
card, the atomic bomb, the space suit
"""

TABLES["fixture"] = """
car, roof, tap, toilet, sink, front door, elevator, garage door, motorcycle, swimming pool, shower,
chimney, fence, satellite dish, credit card, boiler, ceiling fan, gutter, truck, trailer,
door lock, window, wall, electric guitar, piano, dental crown, hot tub, email account
"""

TABLES["trouble"] = """
does not turn on, is very slow, makes a strange noise, leaks, is broken, is stuck, does not close,
has stopped, is too loud, smells bad, shakes a lot, does not work, gets too hot, does not start, has
a hole, keeps beeping, fell down, is cracked, does not open, blinks red
"""

TABLES["state"] = """
hungry, thirsty, dizzy, sick, nauseous, drunk, pregnant, feverish, allergic, bloated, hungover,
constipated, short of breath, in pain, underweight, dehydrated, sunburnt, left-handed, color-blind
"""
