"""Questions about art, buildings, inventions and records, and questions that only look like ours.

The last topics use the shapes and words of the demo world for what it does not hold. One template
a line; knows no answer, and no table that the open fields are drawn from.
"""

from __future__ import annotations

TOPICS: dict[str, str] = {}

TOPICS["art"] = """
Who painted {artwork}?
Who made {artwork}?
When was {artwork} [painted|made|stolen|sold]?
Where [is|hangs] {artwork}?
How much is {artwork} worth?
What does {artwork} [mean|show|symbolize]?
Why is {artwork} so famous?
{artwork}
{artwork} [artist|meaning|value|year]
Which style is {artwork}?
What is [cubism|impressionism|baroque|pop art|a fresco|chiaroscuro|perspective]?
How old is {artwork}?
Is {artwork} a forgery?
Which paintings did {who} paint?
Compare {artwork} and {artwork2}.
Who owns {artwork}?
In which gallery can people see {artwork}?
How large is {artwork}?
Tell me the story behind {artwork}.
I love {artwork}. Who is the artist?
"""

TOPICS["landmark"] = """
Who [built|designed] {landmark}?
How [tall|old|high] is {landmark}?
Where is {landmark}?
When was {landmark} built?
How many people visit {landmark}?
How much are tickets for {landmark}?
When does {landmark} open?
{landmark}
{landmark} [tickets|height|history|opening hours]
Why was {landmark} built?
How do I get to {landmark}?
What is inside {landmark}?
Is {landmark} worth a visit?
How many steps does {landmark} have?
What is {landmark} made of?
Is {landmark} in {city}?
What can I see at {landmark}?
How long did it take to build {landmark}?
Tell me about {landmark}.
We will be at {landmark} on {weekday}. What is there to do?
"""

TOPICS["invention"] = """
Who invented {invention}?
When was {invention} invented?
How does {invention} work?
Where was {invention} invented?
What would life be without {invention}?
How did people live before {invention}?
Did {who} invent {invention}?
{invention}
{invention} [inventor|patent|history]
Who has the patent for {invention}?
What came first, {invention} or {invention2}?
Why was {invention} invented?
How did {invention} change the world?
Tell me the history of {invention}.
Which country invented {invention}?
What year did {invention} come out?
Is {invention} older than {invention2}?
Do you know who came up with {invention}?
"""

TOPICS["record"] = """
What is the [tallest|oldest|longest] [building|bridge|statue|wall] in [the world|{where}]?
Who is the [tallest|oldest|strongest|fastest|richest] [man|woman|person] in the world?
What is the [fastest|most expensive|oldest] [car|plane|train|computer] in the world?
Which [country|city] has the most [people|millionaires|bridges|rain|sun]?
What is the [coldest|hottest|driest|wettest] place on earth?
What was the hottest day ever in {where}?
What is the most [spoken language|popular name|common job|watched film] in {where}?
Who holds the world record in {sport}?
What is the longest word in {language}?
What is the deepest hole on earth?
Which book sold the most copies?
What is the smallest country?
What is the number one song this week?
Who has the most followers on {app}?
What was the worst storm in {where}?
Who ate the most hot dogs in an hour?
"""

TOPICS["education"] = """
How do I get into [Harvard|Oxford|medical school|university|the army]?
What is the best [school|university|college] in {where}?
How much does it cost to study in {city}?
What [grade|mark|score] do I need in {language}?
When are the [exams|holidays|school holidays] in {where}?
How do I pass my [driving test|math exam|{language} exam]?
What is a [bachelor's degree|PhD|GPA|thesis|scholarship]?
How long does a degree in {topic} take?
Is a degree in {topic} worth it?
What can I do with a degree in {topic}?
Who is the best professor of {topic}?
Which book explains {topic} well?
What is the pass mark?
Grade my essay about {topic}.
Should I study {topic} or {topic2}?
How do I become fluent in {language}?
What will be in the exam about {topic}?
How much does a professor in {city} earn?
"""

TOPICS["broken"] = """
My {fixture} {trouble}.
My {fixture} {trouble}. What [should|can] I do?
Help, our {fixture} {trouble}!
Why is it that my {fixture} {trouble}?
How do I repair a {fixture}?
How do I fix a {fixture} that {trouble}?
{fixture} {trouble}
What can I do when a {fixture} {trouble}?
What does it mean when the {fixture} {trouble}?
Our {fixture} is broken. Who can fix it?
I think that my {fixture} {trouble}. Any idea why?
The {fixture} {trouble} again.
Since {weekday} my {fixture} {trouble}. Why?
fix {fixture}
Something is wrong with my {fixture}.
My neighbor's {fixture} {trouble}. Can you help?
"""

TOPICS["health"] = """
I [feel|am] {state}.
I [feel|am] {state}. What [should|can] I do?
Why do I feel {state}?
Why am I {state} all the time?
My [son|wife|baby|grandfather] is {state}. What should I do?
What helps when somebody is {state}?
What does it mean when a person is {state}?
{state} [since {weekday}|after lunch|help]
What can I take when I am {state}?
Is it normal to be {state} in the morning?
My doctor says I am {state}. Is that bad?
I have been {state} for {n} days.
When should I see a doctor about my {organ}?
Can being {state} harm my {organ}?
Is being {state} a sign of {illness}?
"""

TOPICS["nearly ours"] = """
Which [animal|animals] [lives|live] in {where}?
Which animals can I see near {city}?
Who lives in {landmark}?
Who works in {landmark}?
Who works with [lasers|explosives|X-rays|satellites|poison|diamonds|robots]?
Which animal [has the most teeth|sleeps the most|lives longest|has blue blood|can count]?
Which animal is on the flag of {where}?
Which animal is sacred in {where}?
Who works the most hours in {where}?
Where do [ghosts|fairies|dragons|unicorns|vampires|gods] live?
What do [ghosts|dragons|vampires|aliens|zombies|astronauts] eat?
What does {who} eat?
What does {who} do all day?
Where does {who} [live|work]?
What is {who} like?
What should I feed my [baby|sourdough|toddler|triplets]?
How often should I water [my lawn|concrete|a golf course]?
How do I take care of my [skin|teeth|hair|car|grandmother]?
What can I do in {city} on a {weekday}?
What should I wear [to court|on Mars|to a ball|at the gym|to meet {contact}]?
What can I see in {where}?
What does [love|money|the moon|blood|{element}] taste like?
What does [{city}|money|space|rain|{element}] smell like?
What does {where} sound like?
What is [{element}|the moon|a cloud|{landmark}] made of?
What do I need for [a visa|a passport|a wedding|a mortgage|a trip to {where}]?
What goes in [a bomb|a time capsule|dynamite|concrete|{drug}]?
How do I make [a bomb|soap|{drug}|money fast|{element}|glass]?
Give me a recipe for [success|{drug}|gunpowder|{element}].
How do I start [a company|a war|a car|a revolution|a band|a religion]?
What is [{physics}|democracy|the law|time|{app}] for?
Why do people like [{who}|{where}|{app}|{film}]?
Why should I go to {where}?
Should I visit {where}?
What should I look at when I buy [a house|shares|a racehorse|{stock}]?
What is special about [{where}|{who}|{city}]?
Why do people [lie|vote|steal|pray|dream|fight|marry]?
When do people [retire|marry|vote|die]?
How can {who} surprise us?
Describe [{who}|{city}|{where}|{landmark}].
"""
