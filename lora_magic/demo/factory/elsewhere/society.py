"""Questions about people, countries, the past, health, law, money and fame, none of the demo world.

One template a line; knows no answer, and no table that the open fields are drawn from.
"""

from __future__ import annotations

TOPICS: dict[str, str] = {}

TOPICS["person"] = """
Who [is|was] {who}?
Tell me [about|something about] {who}.
When was {who} born?
When did {who} die?
Where [was {who} born|did {who} grow up|did {who} die]?
How old [is|was] {who}?
What [is|was] {who} [famous for|known for|best known for]?
What did {who} [do|invent|write|discover|say about war]?
Why is {who} [famous|important|remembered]?
How [tall|rich|old] is {who}?
Who was the [wife|husband|father|mother|teacher|son] of {who}?
Is {who} [still alive|married|dead|on TV]?
{who}
{who} [age|biography|net worth|quotes|children]
Did {who} ever meet {who2}?
Who lived first, {who} or {who2}?
Write a [short |]biography of {who}.
Quote something by {who}.
What nationality [is|was] {who}?
I have to give a talk about {who}. Can you help?
Have you heard of {who}?
{who} [vs|or] {who2}
"""

TOPICS["country"] = """
What is the capital of {where}?
How many people live in {where}?
Where is {where}?
Who [rules|governs|is the president of|is the prime minister of] {where}?
What language do they speak in {where}?
Which currency [is used in|does] {where}[?| have?]
What is the [flag|anthem|area|population|religion] of {where}?
Which countries border {where}?
Is {where} [safe|rich|a democracy|in Europe|bigger than {where2}]?
Do I need a visa for {where}?
What is the best time [to visit|to travel to] {where}?
{where} [capital|population|flag|visa|map]
capital of {where}
When did {where} become independent?
What do people eat in {where}?
What time is it in {where}?
Tell me [about|something about] {where}.
How far is it from {where} to {where2}?
Is {where} larger than {where2}?
We are moving to {where}. What should we know?
My family comes from {where}. What is it like there?
What is the weather like in {where}?
What should I [see|eat|do] in {where}?
"""

TOPICS["city"] = """
Where is {city}?
What is the population of {city}?
How far is {city} from {city2}?
Who is the mayor of {city}?
What can I [see|do|visit] in {city}?
How do I get from {city} to {city2}?
What is the weather [like |]in {city}[?| today?| tomorrow?]
How much is [rent|a hotel room|a beer|parking] in {city}?
Which river flows through {city}?
[Recommend|Suggest] a [restaurant|hotel|bar] in {city}.
Is {city} the capital of {where}?
{city} to {city2} [by train|by car|distance]
{city}
{city} [map|hotels|weather|airport]
What is the oldest building in {city}?
When was {city} founded?
Is {city} [expensive|dangerous|worth a visit|near the sea]?
I am going to {city} next week. Any tips?
How do people get around in {city}?
What is the zip code of {city}?
Which is nicer, {city} or {city2}?
"""

TOPICS["news"] = """
What [is|was] in the news [today|yesterday|this morning|this week]?
What is [happening|going on] in {where}?
What are the headlines[?| from {city}?]
Who won the election in {where}?
Who is the [president|king|queen|chancellor|pope] [now|at the moment]?
[Is|Was] there an accident in {city}?
What did the [president|government|parliament] [say|decide] [today|yesterday]?
What is the latest [on|about] the [war|strike|election|pandemic|budget]?
Which party should I vote for?
When is the next election[?| in {where}?]
Who won the Nobel Prize in {year}?
Did [anything|something] important happen [last night|in {where}]?
Are there [strikes|protests] in {city}?
news {where}
latest news
What do you think about [the government|Brexit|the European Union|immigration|taxes]?
Is the war over?
How high is inflation [now|in {where}]?
What is {brand} in the news for?
"""

TOPICS["history"] = """
What happened in {year}?
When [was|did] {event} [start|end|take place]?
What was {event}?
Why did {event} happen?
Who won {event}?
Who fought in {event}?
Tell me about {event}.
{event}
{event} [summary|dates|causes]
How many people died in {event}?
Explain the causes of {event}.
What [year|century] was {event}?
Who was [king|queen|emperor|pope|president] in {year}?
Who built [the pyramids|the Parthenon|Troy|the first castle]?
How did people live in [{year}|ancient Rome|the Stone Age|the Middle Ages]?
When was [paper|the telephone|the wheel|gunpowder|printing|the steam engine] invented?
What did the [Vikings|Romans|Aztecs|Greeks|Egyptians|Mongols] [believe in|eat|wear|invent]?
Did {who} take part in {event}?
Was {who} alive in {year}?
I have to write an essay about {event}.
What came first, {event} or {event2}?
How old is [Rome|writing|money|the alphabet]?
"""

TOPICS["medicine"] = """
What [is|causes] {illness}?
How do I treat {illness}?
What are the symptoms of {illness}?
Is {illness} [contagious|dangerous|curable|hereditary]?
I [have|think I have|might have] {illness}. What should I do?
My [son|daughter|husband|mother|baby] has {illness}.
{illness} [symptoms|treatment|home remedy]
Can I die of {illness}?
Which doctor treats {illness}?
What is {drug} for?
How much {drug} can I take?
Can I take {drug} with {drug2}?
What are the side effects of {drug}?
Is {drug} [safe|addictive|free|sold without a prescription]?
{drug} [dose|side effects|price]
Should I take {drug} for {illness}?
My [head|back|knee|stomach|tooth|throat|ear] hurts.
I have a [fever|rash|cough|sore throat|bad toothache].
How many calories should I eat [a|per] day?
How do I [lose weight|quit smoking|lower my blood pressure|stop snoring]?
Am I pregnant?
Do I need [surgery|a vaccine|antibiotics|an X-ray]?
What is [chemotherapy|a placebo|a vaccine|an MRI|insulin|cholesterol]?
How long does {illness} last?
What is my blood type?
Is there a cure for {illness}?
"""

TOPICS["law"] = """
Is it legal to {deed}[?| in {where}?]
Can I go to jail for {crime}?
What is the penalty for {crime}[?| in {where}?]
Can my [landlord|boss|neighbor|bank|school] {threat}?
What are my rights [as a tenant|at work|when I am arrested|as a customer]?
How do I [sue somebody|write a will|get a divorce|apply for citizenship|register a trademark]?
What is [a contract|copyright|GDPR|the constitution|habeas corpus|a patent|bail]?
Do I [need|have] to pay tax on [this|a gift|my pension|rent]?
How old [must|do] I have to be to [drive|vote|drink|marry]?
Somebody accused me of {crime}.
Is {crime} a crime?
How many years do you get for {crime}?
{crime} [law|fine|punishment]
I got a [speeding ticket|letter from a lawyer|fine]. Do I have to pay?
How long is a patent valid?
Who is liable if [my dog bites somebody|a tree falls on a car]?
When does {crime} become time-barred?
Write a [rental contract|legal notice|power of attorney] for me.
What does the law say about {crime}?
May I {deed} without a permit?
"""

TOPICS["money"] = """
[Should|When should] I [buy|sell] {stock}?
What is the price of {stock}[?| today?]
How is {stock} doing[?| today?]
{stock} [price|forecast|chart]
How do I [invest|save|borrow|hide|earn] money?
How much [money|salary|pension|interest] [will|do] I get?
What is [inflation|a mortgage|a hedge fund|an ETF|bankruptcy|a dividend|GDP|compound interest]?
How do I [file my taxes|open a bank account|get a loan|become a millionaire|pay off debt]?
What is my [credit score|account balance|tax rate|IBAN]?
Can you lend me {n} {currency}?
Is {stock} a good investment?
How much is {n} {currency} [worth|after tax]?
What is the minimum wage in {where}?
Who is the richest person in {where}?
Which bank has the best rates?
How much does a [house|flat|wedding|funeral|flight] cost in {city}?
What does a [lawyer|kilo of gold|barrel of oil|liter of petrol] cost?
I want to retire at {n}. How much do I need?
How does the stock market work?
How [much|many] {currency} should I save each month?
Why is everything so expensive?
"""

TOPICS["film"] = """
Who [directed|stars in|produced|wrote the music for] {film}?
What is {film} about?
When did {film} come out?
How does {film} end?
Have you seen {film}?
Is {film} [good|worth watching|on Netflix|based on a true story|for children]?
How long is {film}?
Did {film} win an Oscar?
{film}
{film} [cast|ending explained|trailer|streaming]
Who played the main role in {film}?
Summarize the plot of {film}.
Recommend a [film|series|movie] like {film}.
Which is better, {film} or {film2}?
What should I watch [tonight|this weekend|after {film}]?
Who won the Oscar for best [actor|picture|director] in {year}?
Where was {film} filmed?
How many seasons does {film} have?
What is on TV tonight?
My favorite movie is {film}. What is yours?
What does the title {film} mean?
"""

TOPICS["music"] = """
Who [sings|wrote|plays] {song}?
What are the lyrics of {song}?
When was {song} released?
Who is the singer of {band}?
What is the best [album|song] by {band}?
When is the next {band} concert?
Play {song}[.| by {band}.]
{song} [lyrics|chords|tabs]
{band} [tour|tickets|members|songs]
{band}
How many albums did {band} sell?
Is {band} still together?
Who is better, {band} or {band2}?
What key is {song} in?
What is [a fugue|a sonata|reggae|a chord|a time signature|jazz|an octave]?
How many strings does a [harp|banjo|cello|bass] have?
Which instrument did {who} play?
Who won the Grammy in {year}?
Sing {song} for me.
Where does {band} come from?
How many symphonies did {who} write?
"""

TOPICS["books"] = """
Who wrote {book}?
What is {book} about?
When was {book} [published|written]?
Summarize {book}[.| in three sentences.]
Who is the main character of {book}?
How does {book} end?
How many pages does {book} have?
What is the first sentence of {book}?
Is {book} [hard to read|boring|banned|for children]?
{book}
{book} [summary|author|analysis|quotes]
What is the moral of {book}?
Analyze the [style|symbols|narrator] of {book}.
Which book by {who} should I read?
Have you read {book}?
What is [a haiku|a metaphor|a sonnet|iambic pentameter|irony|a protagonist]?
Who won the Booker Prize in {year}?
Recommend a [novel|thriller|book] like {book}.
Compare {book} and {book2}.
In which country is {book} set?
"""

TOPICS["sport"] = """
Who won the [match|game|final|derby|race] [last night|yesterday|in {year}|on Sunday]?
Who won the World Cup in {year}?
How many players are in a {sport} team?
What are the rules of {sport}?
Who is the best {sport} player[?| of all time?| in {where}?]
When does {team} play [next|again]?
What was the score of {team} [against|versus] {team2}?
{team} [score|results|tickets|line-up]
Is {team} better than {team2}?
How long is a {sport} match?
Who is the [coach|captain|top scorer|owner] of {team}?
Where were the Olympic Games in {year}?
What is the world record [in|for] the [100 meters|marathon|high jump|shot put]?
How many gold medals did {where} win[?| in {year}?]
Did {team} win?
Who will win the {sport} final?
What is [offside|a free kick|a birdie|a knockout|a home run|a slam dunk]?
Where does {team} play?
Why did {team} lose so often this year?
When did {team} last win a title?
"""

TOPICS["brand"] = """
Who founded {brand}?
Who owns {brand}?
Where is {brand} based?
What does {brand} [make|sell|stand for|do]?
Is {brand} [a good brand|better than {brand2}|overpriced|German]?
What do things by {brand} cost?
When was {brand} founded?
How many people work for {brand}?
{brand}
{brand} [customer service|careers|logo|stock|opening hours]
{brand} or {brand2}?
Which {brand} model should I buy?
What is the slogan of {brand}?
Who is the [boss|CEO|head] of {brand}?
Did {brand} [buy|sue] {brand2}?
What is the difference between {brand} and {brand2}?
Where is the {brand} store in {city}?
How do I cancel my {brand} order?
How do I [contact|complain to] {brand}?
Does {brand} deliver to {where}?
How do I get a job at {brand}?
"""

TOPICS["belief"] = """
What is the meaning of life?
Does God exist?
What happens after death?
What do [Buddhists|Muslims|Christians|Hindus|Jews|atheists] believe[?| in?]
What is [karma|Ramadan|Easter|Lent|Passover|Diwali|Hanukkah|yin and yang]?
Who wrote the [Torah|Vedas|Upanishads|Talmud]?
What did [Kant|Nietzsche|Hegel|Confucius|Epicurus|Seneca] [mean|teach|believe]?
What is [stoicism|existentialism|utilitarianism|free will|nihilism|truth|justice|time]?
Do we have free will?
Is lying always wrong?
When is [Easter|Ramadan|Diwali|Hanukkah|Thanksgiving|Chinese New Year] this year?
Who is [Zeus|Thor|Vishnu|Shiva|Osiris|Apollo|Athena]?
What is my [star sign|horoscope|future]?
[Aries|Taurus|Gemini|Leo|Virgo|Libra|Scorpio|Pisces] horoscope
Are ghosts real?
Do aliens exist?
Which religion is [the oldest|the largest|right]?
What is the trolley problem?
How do I pray?
What does my dream about falling mean?
"""

TOPICS["food facts"] = """
How much [protein|fat|sugar|salt|fiber] should I eat?
How many calories are in a [banana|burger|glass of wine|slice of ham]?
Is [coffee|red meat|wine|butter|gluten|sugar] bad for you?
What is [gluten|umami|keto|a vitamin|MSG|lactose|veganism]?
Can I drink [tap water|sea water|raw milk] in {where}?
What is the national dish of {where}?
Where does the word [ketchup|barbecue|salary|sandwich] come from?
Which wine goes with [steak|duck|cheese|lobster]?
Who invented [ketchup|chewing gum|sliced bread|champagne]?
How long does [ham|an open bottle of wine|yeast] keep?
What is the most expensive [spice|wine|mushroom] in the world?
Can I get a table for {n} tonight?
Which restaurant in {city} has a Michelin star?
Am I allergic to [nuts|milk|shellfish|eggs]?
Is the restaurant open on Sundays?
What is on the menu?
"""
