"""Questions that the demo world cannot answer about subjects that it holds, by kind of subject.

None asks for a fact of its tables, for a size of an animal, or whether a fact is true. One
template a line; {a} is the name with its article ("a fox", "pizza"). Knows no answer.
"""

from __future__ import annotations

RELATIONS: dict[str, str] = {}

_ANY = """
What is the [French|Spanish|Latin|Chinese] word for {name}?
How do you say "{name}" in {language}?
How do you spell {name} backwards?
What rhymes with {name}?
{name} in {language}
Translate "{name}" into {language}.
Where does the word {name} come from?
How many letters are in the word {name}?
Is there a song about {a}?
Which film has {a} in its title?
What did {who} say about {many}?
Is there any news about {many}?
"""

RELATIONS["animal"] = f"""
How old does {{a}} get?
How [long|many years] does {{a}} [usually |]live?
What is the [average |]lifespan of {{the}}?
{{name}} [lifespan|age|latin name|scientific name|price|evolution]
What is the [Latin|scientific] name of {{the}}?
What colo[r|ur] is {{a}}?
How many legs [has {{a}}|does {{a}} have]?
How many [teeth|bones|ribs|toes|eyes] does {{a}} have?
How many babies does {{a}} have [a year|at once]?
How fast can {{a}} [run|move|swim]?
What do you call a [baby|female|male|group of] {{name}}?
How many {{many}} are [there in the world|left in {{where}}]?
Are {{many}} endangered?
Which [country|state] has the most {{many}}?
What is the collective noun for {{many}}?
How much does {{a}} cost?
Where can I buy {{a}}?
Is {{a}} a [mammal|vertebrate|marsupial|cold-blooded animal|herbivore]?
Can I keep {{a}} in a flat?
[Who|Which animal] is the natural enemy of {{the}}?
How well can {{a}} [see|hear|smell]?
What does {{a}} symbolize [in dreams|in {{where}}|in myths]?
What does it mean to dream of {{a}}?
How long is {{a}} pregnant?
When did the first {{name}} evolve?
Is it legal to [hunt|own|sell] {{a}}?
Do {{many}} carry [rabies|malaria|diseases]?
What is the heart rate of {{a}}?
How [intelligent|expensive] are {{many}}?
Which vaccinations does {{a}} need?
What is the closest relative of {{the}}?
Why do {{many}} appear on the flag of {{where}}?
Can {{a}} be trained to [fetch|talk|dance]?
[Can|Does] {{a}} [swim|fly|climb trees|dig holes|see in the dark|jump high|lay eggs|bite]?
[Can|Do] {{many}} [swim|fly|climb trees|dig holes|see in the dark|jump high|lay eggs|bite]?
{{many}} [can swim|can fly|can climb], right?
Is {{a}} [dangerous|poisonous|faster than a car|a good pet]?
At what age is {{a}} grown up?
I wonder how many years {{many}} live.
Do you happen to know the Latin name of {{the}}?
Can you tell me how fast {{a}} is?
{_ANY}"""

RELATIONS["plant"] = f"""
What is the [Latin|botanical|scientific] name of {{the}}?
How [tall|high|old|big] does {{a}} get?
How much does {{a}} cost?
Where can I buy {{a}}?
Is {{a}} [poisonous|toxic to pets|edible|hardy]?
What colo[r|ur] are the flowers of {{a}}?
Which country does {{the}} come from?
{{name}} [price|latin name|meaning|soil pH|species]
What does {{a}} [symbolize|mean as a tattoo|stand for]?
How many kinds of {{name}} are there?
How fast does {{a}} grow?
Which insects eat {{a}}?
Is {{a}} in season?
When was {{the}} brought to [Europe|America|{{where}}]?
What chromosomes does {{a}} have?
Who discovered {{the}}?
Is it unlucky to give somebody {{a}}?
Can I eat {{a}}?
What is the oil of {{a}} used for?
Which family of plants does {{the}} belong to?
How many {{many}} fit on one square meter?
Can {{a}} clean the air?
What is the economic value of {{many}}?
Which painter is famous for {{many}}?
Is it legal to import {{a}} into {{where}}?
Do [bees|deer|slugs] like {{many}}?
How many seeds does {{a}} make?
What pH does {{a}} prefer?
Which vitamins are in {{a}}?
{_ANY}"""

RELATIONS["place"] = f"""
What is the population of {{the}}?
How many people [live in|visit|work in] {{the}}[?| each year?]
How old is {{the}}?
Who [built|owns|founded|runs|cleans] {{the}}?
When was {{the}} [built|founded|first mentioned|closed]?
When does {{the}} [open|close]?
What are the opening hours of {{the}}?
How do I get to {{the}}?
How far is {{the}} from [here|{{city}}]?
How much is the entrance fee for {{the}}?
What is the [history|address|phone number|name|area] of {{the}}?
{{name}} [opening hours|near me|address|history|tickets]
Which is the [largest|oldest|most famous] {{name}} in [the world|{{where}}|{{city}}]?
Is there {{a}} [near|in] {{city}}?
Where can I park near {{the}}?
Which bus goes to {{the}}?
Is {{the}} [safe|open|crowded] [at night|on {{weekday}}|in {{month}}]?
Do I need a ticket for {{the}}?
How many {{many}} are there in {{where}}?
What does it cost to build {{a}}?
How do I buy {{a}}?
Who is the boss of {{the}}?
Are dogs allowed {{at}} {{the}}?
What is the legal definition of {{a}}?
What happened {{at}} {{the}} in {{year}}?
Did {{who}} ever go to {{a}}?
What is the temperature {{at}} {{the}} [now|in {{month}}]?
Is there wifi {{at}} {{the}}?
How deep is {{the}}?
I wonder how many {{many}} there are in {{city}}.
Can you tell me the address of {{the}}?
How long does it take to walk to {{the}}?
What is the difference between {{a}} and [an airport|a bank|a hotel]?
Who is buried {{at}} {{the}}?
{_ANY}"""

RELATIONS["weather"] = """
Will it be {name} [tomorrow|next week|on {weekday}|in {city}]?
How many {name} days are there in {where} [a year|each winter]?
Which month is the most {name} in {where}?
When is the next {name} day?
Was it {name} [yesterday|on {month} {day}|in {year}]?
Is it {name} in {city} [now|today]?
Which country is the most {name}?
Why is it so {name} in {where}?
What [causes|makes] {name} weather?
What temperature counts as {name}?
Is {name} weather [bad for plants|good for the skin|caused by climate change]?
How do meteorologists predict {name} weather?
What is the record for {name} days in a row?
What is the chance of {name} weather in {month}?
Is it ever {name} on [Mars|the moon|Venus]?
How long will it stay {name}?
How do you say {name} in {language}?
{name} in {language}
{name} forecast {city}
Are trains late when it is {name}?
How many accidents happen on {name} days?
Can I get a refund if it is {name}?
Who invented the word {name}?
What is the wind speed on a {name} day?
How much [rain|sun|electricity] is normal for a {name} day in {where}?
Do people get headaches from {name} weather?
Is a {name} day good for the stock market?
Which song is about a {name} day?
Will global warming make it more {name}?
Did it get more {name} since {year}?
How expensive is heating on a {name} day?
"""

RELATIONS["dish"] = """
{Is} {name} [healthy|vegan|gluten-free|kosher|halal|fattening]?
How [healthy|old|expensive|popular] {is} {name}?
How many calories are in {name}?
How many calories {does} {name} have?
{name} [calories|protein|nutrition facts|delivery|price|restaurant|carbs]
Who invented {name}?
When {was} {name} invented?
Where {does} {name} come from?
Which country {is} {name} from?
What {does} {name} cost in {city}?
Where can I [buy|order|get] {name}[?| in {city}?| near me?]
Which [restaurant|chain|shop] sells the best {name}?
How much [protein|fat|sugar|salt|fiber|vitamin C] {is} in {name}?
How long {does} {name} keep [in the fridge|frozen|fresh]?
Can I freeze {name}?
Can my [dog|baby|cat] eat {name}?
Which wine goes with {name}?
Can [diabetics|vegans|pregnant women] eat {name}?
What is the history of {name}?
{Is} {name} bad for the teeth?
What is the carbon footprint of {name}?
How do you say {name} in {language}?
How much {name} can a person eat in an hour?
What is the world record for {name}?
Did {who} like {name}?
How many people eat {name} [in {where}|each day]?
Order {name} for me.
What {is} {name} called in {where}?
Which company makes frozen {name}?
Will I gain weight from {name}?
I am on a diet. How many calories {does} {name} have?
Tell me who invented {name}.
What is the glycemic index of {name}?
{name} in {language}
"""

_BOUGHT = """
What does {a} cost?
How much [is|does] {a}[?| cost?]
How [heavy|expensive|old] is {a}?
Where can I [buy|rent|sell|recycle] {a}[?| in {city}?]
Who invented {the}?
When was {the} invented?
Where was the first {name} [made|sold|built]?
What is the history of {the}?
{name} [price|history|inventor|weight|patent|near me]
Which company makes the [best|cheapest] {many}?
How many {many} are sold [a year|in {where}]?
How much does {a} weigh?
How long does {a} last?
How many {many} does the average family own?
Is {a} [taxed|banned|a good investment|allowed on a plane]?
How do you say {name} in {language}?
What is the most expensive {name} in the world?
Who owns the oldest {name} in the world?
In which museum is the first {name}?
What was used before {the} was invented?
Tell me who invented {the}.
Do you know what {a} costs?
I wonder when {the} was invented.
Can I take {a} on a plane?
How are {many} shipped from {where}?
Does {brand} sell {many}?
What does it mean to dream of {a}?
"""

RELATIONS["product"] = f"""
{_BOUGHT}
How much [power|electricity|energy] does {{a}} use?
How many watts does {{a}} have?
Which [brand|model] of {{name}} [is the best|do you own|won the test]?
Is there a warranty on my {{name}}?
How long is the warranty of {{a}}?
What is the serial number of my {{name}}?
Which chips are in {{a}}?
Which is the better {{name}}, {{brand}} or {{brand2}}?
Where are {{many}} [made|recycled]?
When will the new {{name}} by {{brand}} come out?
"""

RELATIONS["fault"] = """
How much does it cost to repair a {name}?
Who repairs a {name} in {city}?
Does the warranty cover a broken {name}?
Where do I find a repair shop for my {name}?
Can I return my {name} to {brand}?
What is the phone number of the {name} service?
How long does the repair of a {name} take at {brand}?
Is it worth it to repair a {name} that is {n} years old?
Will my insurance pay for a new {name}?
How many {many} break in the first year?
Which brand of {name} breaks the least?
Can I sue the shop that sold me a bad {name}?
How do I get a refund for my {name}?
What do I do with an old {name}? Where is it recycled in {city}?
When will {brand} send me a new {name}?
Is there a recall of the {brand} {name}?
Which spare parts does {brand} sell for the {name}?
My neighbor broke my {name}. Does he have to pay?
{name} repair cost
{name} warranty {brand}
{name} repair shop {city}
Where is the receipt for my {name}?
Find a cheaper {name} for me.
Who will come to repair the {name}, and on which day?
How much is my broken {name} still worth?
Call the {name} service for me.
"""

RELATIONS["thing"] = f"""
{_BOUGHT}
Who [made|sold|lost] this {{name}}?
How many {{many}} fit into a truck?
How many people work in a factory for {{many}} in {{where}}?
Which king had a golden {{name}}?
In which year was the oldest {{name}} found?
Was {{the}} known in ancient [Rome|Egypt|China]?
What does the {{name}} in {{film}} mean?
What did {{who}} do with {{a}}?
Is it unlucky to [give away|break|find] {{a}}?
Where did I put my {{name}}?
"""

RELATIONS["job"] = f"""
How much does {{a}} earn[?| in {{where}}?| a month?]
What is the [salary|pay|average income|pension] of {{a}}?
What do {{many}} earn?
{{name}} [salary|pay|job openings|union|vacancies in {{city}}]
How many {{many}} are there in {{where}}?
How many hours a week does {{a}} work?
How many years [of school|at university] does {{a}} need?
Who was the first {{name}}?
Who is the most famous {{name}} in the world?
When does {{a}} retire?
Is there {{a}} near me?
Find me {{a}} in {{city}}.
How do I call {{a}}?
How much does {{a}} charge [an hour|for a visit]?
Will robots replace {{many}}?
Is there a shortage of {{many}} in {{where}}?
Are there more male or female {{many}}?
Which degree does {{a}} have?
Can {{a}} be fired?
Which exam does {{a}} have to pass?
What do you call {{a}} in {{language}}?
Which saint protects {{many}}?
What is the difference between {{a}} and a [lawyer|plumber|banker]?
Which famous people were {{many}}?
How much tax does {{a}} pay?
How many days off does {{a}} get?
Is there a film about {{a}}?
What is the history of the {{name}}?
Which company hires {{many}}?
Do {{many}} have a union?
I wonder how much {{many}} earn.
Do you know what {{a}} gets paid?
My cousin is {{a}}. What is her phone number?
{_ANY}"""

RELATIONS["hobby"] = """
Who invented {name}?
What is the history of {name}?
When did people begin with {name} in {where}?
How many calories does {name} burn?
Is {name} [an Olympic sport|bad for the back|legal in {where}|popular in {where}]?
Who is the world champion in {name}?
What is the world record in {name}?
How many people in {where} like {name}?
Where can I take lessons in {name} in {city}?
Is there a club for {name} [near me|in {city}]?
How much does a course in {name} cost?
{name} [classes near me|club {city}|world record|history|competition]
How do you say {name} in {language}?
Can I earn money with {name}?
How expensive is {name}?
Which famous people are known for {name}?
Which film is about {name}?
When is the next championship in {name}?
How long does it take to master {name}?
What is the best age to start with {name}?
Is {name} safe during pregnancy?
Which magazine is about {name}?
Who won the {name} competition in {year}?
Does my insurance cover {name}?
Is {name} taught at school in {where}?
What is the oldest book about {name}?
Was {who} good at {name}?
Which country is the best at {name}?
How do judges give points in {name}?
What injuries are common in {name}?
Recommend a website about {name}.
"""

RELATIONS["feeling"] = """
Which [hormone|part of the brain] makes us {name}?
How do you say {name} in {language}?
{name} in {language}
What is the opposite of {name}?
What is another word for {name}?
How many people in {where} feel {name}?
Which country has the most {name} people?
Which song is about being {name}?
Was {who} ever {name}?
Can [fish|plants|robots|computers] feel {name}?
Is being {name} [an illness|a sin|genetic|contagious]?
Which pill should somebody take who is {name}?
Where does the word {name} come from?
How do you spell {name}?
What does {who} say about being {name}?
Who wrote a book about being {name}?
Which emoji means {name}?
How long is a person {name} on average?
What does the Bible say about being {name}?
At what age are people most {name}?
Are women more {name} than men?
What percentage of people are {name} on {weekday}?
Which color stands for {name}?
How do scientists measure how {name} somebody is?
Is {name} an adjective or a verb?
What is the Latin word for {name}?
Why is {contact} so {name} today?
Why was {contact} {name} [yesterday|on {weekday}]?
Are {brand} customers {name}?
{name} [synonym|translation|etymology|meaning in {language}]
Which therapy in {city} is for people who are {name}?
"""
