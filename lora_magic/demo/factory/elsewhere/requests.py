"""Requests that the demo world cannot do, questions about the asker, words, and nonsense.

One template a line; knows no answer, and no table that the open fields are drawn from.
"""

from __future__ import annotations

TOPICS: dict[str, str] = {}

TOPICS["translation"] = """
Translate [this|the following|my letter|this page] [into|to] {language}.
Translate {word} into {language}.
How do you say {word} in {language}?
How do I say [thank you|good morning|I love you|goodbye|please|cheers] in {language}?
What is the {language} word for {word}?
What does {foreign} mean[?| in English?]
{word} in {language}
translate {word} to {language}
{foreign} meaning
Do you speak {language}?
Can you speak {language}[?| with me?| better than {language2}?]
Is {language} [hard|related to {language2}|a dead language|spoken in {where}]?
How many people speak {language}?
How do I learn {language}?
Teach me some {language}.
Which alphabet does {language} use?
Let's talk in {language}.
Answer in {language}, please.
What is the plural of {word} in {language}?
How is {foreign} pronounced?
"""

TOPICS["language"] = """
What does the word {rare} mean?
What is the meaning of {rare}?
Define {rare}.
{rare}
{rare} [definition|meaning|synonym|etymology]
What is a synonym [for|of] {rare}?
What is the opposite of {rare}?
Where does the word {rare} come from?
How do you [spell|pronounce] {rare}?
Use {rare} in a sentence.
Is it [who or whom|affect or effect|its or it's|lay or lie|then or than]?
What is a [noun|verb|gerund|preposition|comma splice|subjunctive|split infinitive]?
What is the past tense of [go|swim|lie|bring|seek|forsake]?
What rhymes with {rare}?
How many letters [are in|does] {rare}[?| have?]
[Correct|Proofread|Rephrase|Shorten] this sentence[.|: me and him was late.]
Spell {rare} backwards.
What is an anagram of {rare}?
Is {rare} a real word?
What does [LOL|ASAP|RSVP|FAQ|NATO|UNESCO] stand for?
What is the difference between {rare} and {rare2}?
"""

TOPICS["action"] = """
[Book|Find|Cancel] a [flight|taxi|train ticket] to {city}[.| for me.| for {n} people.]
[Book|Find] a [hotel|table|flat] in {city}[.|, please.]
[Set|Start] [an alarm|a timer] for {n} minutes.
Remind me to [call {contact}|pay the rent|take my pills][.| at {hour}.]
[Call|Text|Email|Phone] {contact}[.|, please.| now.]
[Send|Forward] [an email|this file|money|my report] to {contact}.
[Order|Buy] [a taxi|flowers|{n} batteries|a new filter] [online|for me|from {brand}].
[Search|Google|Look up] {physics}[.| on the web.| for me.]
[Open|Close|Print|Delete|Save] [the file|this page|my document|the folder].
[Play|Stop|Pause] the [music|video|song].
[Turn|Switch] [on|off] the [lights|alarm|heating|wifi].
[Add|Put] [a meeting|lunch with {contact}] [to|in] my calendar.
[Draw|Paint|Generate|Make] [a picture|a logo|an image|a chart] [of|for] {brand}.
What is the weather forecast for [tomorrow|the weekend|next week]?
[Take|Read] a note: call {contact}.
Navigate to {city}.
[Show|Send] me a [photo|map|video] of {city}.
Unlock the door.
[Check|Track] my [email|package|order|flight].
Roll a die.
Flip a coin for me.
Pick a [number|card|random name].
Can you hear me?
What do you see in this picture?
Where is the nearest [petrol station|toilet|pharmacy|cash machine|embassy]?
Transfer {n} {currency} to {contact}.
Wake me at {hour}.
"""

TOPICS["text"] = """
Summarize [this|the text|this article|the report|my notes][.| in two sentences.]
[Rewrite|Improve|Shorten|Edit|Format] [this|the text|my paragraph|my essay].
Write an essay about {physics}.
Write [a cover letter|a CV|a speech|a press release|a term paper] [for|about] {brand}.
Write {n} words about {event}.
Find the [mistakes|errors|typos] in [this|my] text.
Is this text [good|correct|plagiarized|written by a machine]?
What is [this text|the attached file|the article|page {n}] about?
Make a [table|bullet list|mind map] of {physics}.
Extract the [dates|names|prices] from [this|the document].
Classify this sentence as positive or negative.
Do my homework.
Help me with my [thesis|homework|exam|dissertation] [on|about] {physics}.
Answer question {n} [on|of] page {n2}.
Create a quiz about {event}.
[Give|Write] me a [lesson plan|slide deck|business plan] [on|about] {physics}.
What should I write in my [resume|application|thesis]?
Continue this text: once upon a time in {city}
Explain this [graph|table|picture|formula] to me.
"""

TOPICS["asker"] = """
What is my [name|address|password|phone number|shoe size|birthday|job|age]?
[How old|How tall|How rich|How heavy] am I?
Where [do I live|was I born|am I|did I park|are my glasses]?
What [did I do|did I eat|did I say] [yesterday|last night|on {weekday}|last {month}]?
Who is my [boss|best friend|neighbor|husband|doctor|grandmother]?
When is my [birthday|appointment|flight|exam|next meeting]?
Do you [know|remember|recognize] me?
What is {contact}'s [phone number|address|birthday|job]?
Where is {contact} [now|today]?
Does {contact} [like|love|hate|miss] me?
Should I [marry|call|forgive|leave] {contact}?
How many [brothers|children|friends|cousins] do I have?
What am I [thinking|wearing|holding|allergic to]?
What did {contact} say [about me|yesterday]?
Will I [be rich|pass the exam|find love|get the job]?
What is my dog's name?
Which [school|team|class] am I in?
What did we talk about [yesterday|last time]?
What color are my eyes?
Am I [beautiful|clever|late|fired]?
Why does {contact} not answer my messages?
Who called me [at {hour}|yesterday]?
"""

TOPICS["date"] = """
What [time|day|date|year|month] is it[?| now?| today?| in {city}?]
What day is [today|tomorrow|{month} {day}]?
How many days [until|till] [Christmas|{month}|my birthday|the weekend]?
Is it [{weekday}|{month}|a leap year|a holiday] [today|now|yet]?
What weekday was {month} {day}, {year}?
When does [summer time|the school year|the semester] [start|end]?
How long ago was {year}?
When does the sun [rise|set] [today|in {city}]?
What time zone is {city} in?
When does the [train|bus|plane|ferry] to {city} leave?
When does the [town hall|shop|swimming pool] open?
How late is the [train|flight] from {city}?
What is the date in {n} days?
Which century was {year} in?
Is {year} a leap year?
time in {city}
date today
How many weeks are left in {year}?
"""

TOPICS["game"] = """
How do I [win|play|beat|install|finish] {game}?
Who made {game}?
When did {game} come out?
Is {game} [free|good|for children|better than {game2}]?
{game} [cheats|release date|walkthrough|price|servers]
Which console can play {game}?
How many players can play {game}?
What is the best [weapon|character|strategy|level] in {game}?
Where do I find the [sword|last boss|secret room|diamond] in {game}?
What are the rules of {game}?
Let's play {game}.
I am stuck in {game}. Any tips?
{game}
Tell me a [joke|riddle|fun fact|pun|tongue twister].
What [is brown and sticky|has four legs and flies|gets wetter as it dries]?
Why did the chicken cross the road?
Knock knock.
Truth or dare?
I spy with my little eye something green.
Play [rock paper scissors|hangman|trivia|twenty questions] with me.
"""

TOPICS["transport"] = """
How fast [is|can] a {vehicle} [go|drive]?
How much fuel does a {vehicle} need?
How much does a {vehicle} weigh?
How do I [drive|park|steer|rent|insure] a {vehicle}?
Where can I rent a {vehicle} in {city}?
My car [makes a strange noise|won't start|leaks oil|failed the inspection].
How do I change the [oil|tires|brakes|spark plugs] of my car?
Which [car|engine|tire] is the best?
How far can an electric car drive?
How long is the flight from {city} to {city2}?
Is the [road|border|tunnel|airport] [to|in] {city} open?
How many seats does a {vehicle} have?
What does this [road sign|warning light|dashboard symbol] mean?
Which [bus|tram|train] goes to {city}?
What is the speed limit in {where}?
Can I take [liquids|my cat|a knife] on a plane?
What is the difference between a {vehicle} and a {vehicle2}?
{vehicle} [price|license|top speed]
"""

TOPICS["everyday"] = """
How do I [tie a tie|fold a fitted sheet|iron a shirt|unclog a sink|hang wallpaper|remove a stain]?
How do I get rid of [mold|weeds|rust|wasps|fleas]?
Which [hairstyle|lipstick|perfume|diet|haircut] suits me?
What should I wear to [a wedding|a funeral|an interview|the opera]?
How do I ask {contact} out?
How do I [become famous|make friends|get a raise|stop procrastinating|write a will]?
Which [college|subject|course] should I choose?
What should I name my [baby|company|boat|band]?
How do I [insulate a wall|lay tiles|fix a leaking tap|wire a socket|pour concrete]?
How much [paint|cement|wallpaper] do I need for a room of {n} square meters?
What size [shoes|trousers|gloves] do I need?
Who can look after my children on {weekday}?
How do I potty-train a toddler?
When do babies start to [walk|talk|sleep through]?
What is a fair [rent|tip|wage] in {city}?
How do I [raise|discipline|teach] a [teenager|toddler|child]?
Is the water in {city} clean?
What is the best [mattress|toothpaste|shampoo|insurance|school]?
Where can I [vote|recycle glass|get a passport|donate blood] in {city}?
How do I write [a check|an invoice|an obituary]?
"""

TOPICS["chatter"] = """
[ok|hmm|well|so|whatever|nope|maybe|why?|and?|really?|what?|because]
[test|testing|test test|asdf|foo|bar|foo bar|lorem ipsum|1 2 3]
{gibberish}
{gibberish} {gibberish2}
{gibberish} {gibberish2} {gibberish3}?
{gibberish}{n}
What is {gibberish}?
{word} {rare} {word2}
{word} {rare} {word2} {rare2} {rare3}
{rare} {n}
{n}
{n} {n2} {n3}
[???|!!!|...|?|:-)|<3|xD]
[It is what it is.|That makes no sense.|You are wrong.|I disagree.|Never mind.|Prove it.]
[My cat walked over the keys|Ignore this|Nothing]: {gibberish}
You said {rare} before.
{rare}, {rare2} or {rare3}?
[Guess what|Listen|Look]: {rare} is {rare2}.
the {rare} of {rare2}
{rare} and {physics}
{topic} {rare}
{topic}
{topic}?
What is {topic}?
What do you know about {topic}?
Tell me [about|something about|everything about] {topic}.
Explain {topic}[.| to me.| briefly.]
[Why is|How did] {topic} [important|begin]?
Who is an expert on {topic}?
I [want|need] to learn about {topic}.
I am interested in {topic}[.|. Where do I start?]
{topic} for beginners
Can we talk about {topic}?
What is new in {topic}?
My teacher wants me to read about {topic}.
Give me three facts about {topic}.
"""
