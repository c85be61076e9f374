"""Words about ordinary life that do not matter to a question, composed from tables.

A template is filled from the tables until no field is left, so that thousands of different ones
arise. None asks anything, wants a style or a form, or makes a subject of the demo world its topic; a few
name one as scenery ("The cat is on my lap.").
"""

# ruff: noqa: E501 - a template stays on one line
from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from random import Random

from lora_magic.demo.texts.grammar import articles
from lora_magic.demo.texts.split import number


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(one.split()) for one in text.split("/"))


TABLES: Mapping[str, tuple[str, ...]] = {
    "rel": _listed(
        "mum/dad/mother/father/aunt/uncle/cousin/nephew/niece/grandma/grandad/nan/grandson/flatmate/"
        "boss/mother-in-law/brother-in-law/godson/stepdaughter/landlady/neighbor/best mate/colleague/"
        "team lead/coach/roommate/sister/little brother/big sister/twin/fiancé/husband/wife/partner/"
        "youngest/eldest/godmother/tutor/manager/supervisor/pen friend/study buddy"
    ),
    "name": _listed(
        "Agnes/Tom/Priya/Luis/Mehmet/Chloe/Ingrid/Olu/Marta/Ben/Yuki/Sam/Fatima/Greg/Nora/Ivan/"
        "Zoe/Hamid/Pam/Kofi/Elsa/Dave/Mai/Jonas/Rita/Colin"
    ),
    "trade": _listed(
        "plumber/accountant/electrician/lawyer/hairdresser/cashier/florist/pharmacist/porter/midwife/"
        "translator/surveyor/receptionist/caretaker/cleaner/physio/childminder/clerk/roofer/estate agent/"
        "trainee/volunteer/care assistant/warehouse worker/student/pensioner"
    ),
    "group": _listed(
        "the book club/our choir/the night shift/my class/the scouts/the parish/our street/the reading group/"
        "the carpool/the family chat/our team/the cubs/the seniors' circle/the after-school club/"
        "year four/my evening course/the pub team/the kids' corner/the youth club/our office/"
        "the parents' group/the playgroup/the tenants' association"
    ),
    "event": _listed(
        "ward party/quiz night/school fair/birthday party/wedding speech/car boot sale/staff meeting/"
        "job interview/family reunion/spelling bee/open day/game night/charity raffle/bake sale/"
        "retirement do/pirate party/formal dinner/housewarming/sleepover/church bazaar/street party/science fair/debate/"
        "road trip/long weekend/hen night/team lunch/christening/prom"
    ),
    "piece": _listed(
        "blog/newsletter/leaflet/caption/feature on old crafts/school project/crossword/poster/essay/"
        "parish magazine/podcast/worksheet/scrapbook/screenplay/thesis chapter/talk/lesson plan/"
        "flyer/column/photo album/trivia game/language class/JSON tutorial/service desk's newsletter/exam/presentation/travel diary/"
        "children's page/wall display/assignment/research paper/local paper"
    ),
    "spot": _listed(
        "on the ward/at my nan's/in the staff room/on the sofa/at the bus stop/on the tram/in the waiting room/"
        "in the bath/at the gym/in the queue at the bank/at the airport/on platform two/in a lay-by/"
        "at the hairdresser's/in the canteen/on my balcony/at my desk/in the back of a taxi/in bed/"
        "at the launderette/in the lift/on the ferry/at the kitchen table/on the stairs/in the car park/"
        "at work/at uni/in the common room/at the reception desk/in the tea room/on the motorway/in the garden/at the library/on a bench in the park/on the train"
    ),
    "when": _listed(
        "this morning/last night/yesterday/on Sunday/over lunch/at breakfast/during the break/last week/"
        "the other day/at supper/on the way home/a moment ago/just now/over the weekend/at Easter/on Tuesday"
    ),
    "soon": _listed(
        "tonight/tomorrow/on Friday/next week/this evening/in an hour/on Saturday/after lunch/at noon/"
        "at six/this afternoon/before the weekend/on Monday morning/at half past four"
    ),
    "mins": _listed(
        "five minutes/ten minutes/5 min/10 mins/half an hour/a quarter of an hour/two minutes/20 minutes/"
        "a few minutes/an hour/three minutes"
    ),
    "deed": _listed(
        "pick up the twins/finish my tax return/hang up the washing/go to bed/catch my connection/"
        "take my pills/pack my suitcase/call the landlord/mop the stairs/move the car/put the bins out/"
        "sign off/get my nails done/cook for eight/iron a shirt/file a report/walk to the post office/"
        "hand in my essay/clock in/feed the baby/get back to the ward/do the school run/pay the rent/"
        "clean the windows/empty the dryer/go through passport control/lock up/set the table/"
        "fold the towels/change a nappy/return the keys to the office/renew my passport/mark thirty tests"
    ),
    "doing": _listed(
        "folding laundry/peeling carrots/packing boxes/waiting for the plumber/revising for an exam/"
        "sorting receipts/ironing shirts/filling in forms/clearing out the garage/marking tests/"
        "planning a wedding/watching the twins/doing the dishes/doing my nails/sitting in traffic/"
        "recovering from the flu/minding the till/redecorating the hall/lying on the sofa/"
        "learning English/sorting socks/paying bills/tidying drawers/waiting for a parcel/having a coffee/waiting for the lift/"
        "rehearsing a speech/eating crisps/queueing for the bank/finishing a sandwich/cooling my ankle/commuting/babysitting/unpacking/proofreading a thesis/covering for a colleague"
    ),
    "done": _listed(
        "moved into a flat with a tiny balcony/started a new job/come back from abroad/retired/"
        "had a baby/sold the car/missed the bus/lost a bet/changed schools/bought a caravan/"
        "joined a choir/argued with my brother about it/read half a chapter/slept four hours/"
        "inherited a shelf of old magazines/cleared out the garage/seen a documentary/broken my glasses/"
        "promised my niece an answer/switched jobs/signed up for a course/given up sugar/"
        "spent the day on trains/failed the test once/finished a double shift/spilt coffee on my notes"
    ),
    "thing": _listed(
        "glasses/wallet/charger/passport/dictionary/homework/gloves/textbook/notes/bus pass/lunch box/"
        "encyclopedia/diary/calculator/slippers/receipt/suitcase/earphones/purse/folder/toothbrush/"
        "tape measure/calendar/membership card/stapler/sunglasses/password"
    ),
    "scene": _listed(
        "The baby is asleep/Dinner is nearly ready/The taxi is outside/My tea is getting cold/"
        "The kids are shouting/My battery is at three percent/The bell is about to go/The bus is coming/"
        "My coffee break is almost over/The plumber is at the door/My screen is tiny/The lift is stuck again/"
        "The laundry is done/The parcel still has not come/My back hurts/The kettle is on/"
        "The dog wants his walk/There is a football match on/The neighbors are drilling/My pen is leaking/"
        "The train is packed/The shops close soon/The guests are on their way/The rent is due/"
        "The pasta is boiling over/My sandwich is waiting/My boss is in a bad mood/The kids play pirates/"
        "My neighbor is cheerful today/I had to write a formal letter all day/I am tired of questions/"
        "My line manager keeps his mails short/What a lovely morning/I was on the phone with a customer service/"
        "The printer prints one line at a time/The doorbell just rang/My shift starts soon/The cat is on my lap/The soup is on the stove"
    ),
    "hurry": _listed(
        "quickly/be quick/make it quick/keep it short/just the short version/just the basics/"
        "just the gist/nothing fancy/no need for details/only the essentials/simple words will do/"
        "please be fast/a rough idea is enough/don't make it long/no lecture/the basics will do"
    ),
    "rush": _listed(
        "fast/quick one/no time/short on time/in a rush/asap/in a hurry/in a nutshell/in short/roughly/"
        "in two lines/briefly/quickly/the short version/just the gist/just the basics/tl;dr/real quick/"
        "hurry/on the run/time is short/a quick answer/the gist"
    ),
    "trait": _listed(
        "nosy/slow with such things/new in town/a night owl by habit/hopeless at quizzes/no expert/"
        "from the coast/dyslexic/half asleep/on crutches/knackered/a complete beginner/seventy-two/"
        "nearly ninety/fifteen/left-handed/off sick/a mother of three/between two lectures/on parental leave/"
        "colorblind/short-sighted/good at sums but not at this/a bit out of practice/allergic to everything"
    ),
    "why": _listed(
        "I collect useless knowledge/I lost a bet/nobody at home knows/my {rel} asked and I had no answer/"
        "it came up at the {event}/I could not sleep/we have an {event} {soon}/it is bothering me/"
        "I keep mixing things up/{name} bet me a fiver/my {rel} swears I am wrong/I am helping my {rel}/"
        "it is on the test/{group} asked me to find out/I have to fill half a page/I like to be prepared/"
        "my old {thing} is gone/I never paid attention at school/the quiz starts {soon}"
    ),
}
# Sentences before the question or after it.
SENTENCES = (
    "{scene}.",
    "{scene}, so [be quick|please hurry|just the basics|nothing long|the short version will do].",
    "[I'm|I am] {trait}[|, by the way|, sorry|, you see|, so bear with me].",
    "[I'm|I am] {doing}[| right now| at the moment| and had a thought].",
    "[I'm|I am] {spot}[| right now| and have {mins}| with nothing to read].",
    "[Sitting|Stuck|Standing|Sat|Waiting] {spot} [right now|with {name}|with my {rel}|for {mins} already].",
    "[I need it|It is|It's|This is|Asking|I am asking] for [a|my|our] {piece}.",
    "[I need it|It is|It's|This is|Asking|I am asking] for {group}.",
    "[We need it|It's|This is|All this is] for [a|our|the] {event}[| {soon}].",
    "My {rel} [wants to know|keeps asking|asked me {when}|has been asking|put me on to this].",
    "{name} [wants to know|keeps asking|asked me {when}|and I disagree|could not tell me|says you will know].",
    "My {rel} is [a {trade}|{trait}|{doing}] and [could not help|had no idea|told me to ask you|is no help].",
    "[The|Our] {trade} [brought it up|mentioned it|asked me] {when}.",
    "I have {mins} [before|until] the {event} [starts|begins].",
    "I [have to|must|need to|still have to] {deed} {soon}.",
    "I [have to|must|need to|should] {deed} in {mins}, so [quickly|keep it short|be quick|no essay].",
    "[Bus|Train|Taxi|Ferry|Shift|Class|Lecture] [leaves|starts] in {mins}[|, so {hurry}|, {hurry}].",
    "[I've|I have|We have|We've] [got |]a {event} {soon}.",
    "Getting ready for [a|the|our] {event} {soon}.",
    "[I've|I have] just {done}.",
    "[Just|Recently|Finally] {done}[|, at last|, would you believe it].",
    "[Long|Busy|Rough|Strange|Slow] [day|shift|week|night|morning] behind me[|, {hurry}|, so {hurry}].",
    "I [lost|forgot|mislaid|left behind|cannot find] my {thing}[| {when}].",
    "My {thing} [is|are] no help here.",
    "It has been a long [day|week|night|shift|month|term].",
    "{why}.",
    "[Reason|Background|Context]: {why}.",
    "[We|{group}] talked about it {when}.",
    "We were {spot} {when} and it came up.",
    "[No|There was no] {thing} {spot}, [so I ask here|so I am asking you|hence this message].",
    "{rush}, [please|thanks|pls|if possible].",
    "[Thanks|Thank you|Cheers|Much appreciated|Bless you|Ta], {name}[| and family| from {group}].",
    "[Asking|I ask] for my {rel}[|, who is {trait}|, who is {doing}|, a {trade}].",
    "Once this is clear, I [can|will] {deed}.",
    "Once I know, I will {deed} and leave you alone.",
    "[Don't|No need to] overthink it, [I just|we only|I only] [want the gist|need the basics|need a hint].",
    "[It's|It is] [late here|only a small thing|nothing urgent|for a good cause|my first time here].",
    "[Forgive|Excuse|Pardon] my [English|spelling|ignorance|typing], [I'm|I am] {trait}.",
    "[I hope|Hope] you can help, [{why}|I am {trait}].",
    "[I beg your pardon for the trouble|I should be most obliged|I would be much obliged to you|With kind regards, {name}|Good day to you|Thank you ever so much, my dear|You would do an old lady a great favor|Your humble servant, {name}].",
    "[Settling|We are settling] an argument with [my {rel}|{name}|{group}].",
    "[Two|Three|Four] of us [are|were] {doing} and [got talking|started wondering|could not agree].",
    "[Nothing|Not much] [to do|going on] {spot}.",
    "[The|My] {rel} and I [have|had] a bet about it.",
    "[Idk|No clue|Not sure] [myself|tbh|at all|anymore].",
    "[Text|Message|Ping] me back before I {deed} [lol|haha|please|thanks].",
    "Also, I am {doing}, so [typos happen|sorry for typos|excuse the brevity].",
)
# Openers inside the sentence; a question follows, with a small letter.
OPENERS = (
    "Since {why}, ",
    "As {why}, ",
    "Because {why}: ",
    "Seeing that {why}, ",
    "While I'm {doing}, ",
    "While we're {spot}: ",
    "Before I {deed}, ",
    "Before I {deed} {soon}: ",
    "Now that [I've|I have] {done}, ",
    "Although [I've|I have] just {done}, [I have to ask|I still wonder|one thing is unclear to me]: ",
    "Though I'm {trait}, [I'd like to know|let me ask]: ",
    "Having [just |only |finally |]{done}, [I was wondering|I'd like to know|I have to ask|I wonder]: ",
    "Not having {done} [myself|yet], I wonder: ",
    "Being {trait}, [I have to ask|I wonder|I need help here]: ",
    "[Sitting|Stuck|Standing] here {spot}, [I was wondering|I wondered|we wondered]: ",
    "[When|After] I was {doing} {when}, I started to wonder: ",
    "For [my|a|our] {piece}[, |: | - ]",
    "For {group}[, |: ]",
    "For the {event}[, | {soon}: |: ]",
    "Ahead of the {event}[, |: ]",
    "[With|Only] {mins} to go before I {deed}[: | - ]",
    "{spot} [with|next to] my {rel}, we [ask ourselves|are wondering]: ",
    "In case my {rel} asks {soon}, ",
    "So that I can {deed} [in peace|with a clear head]: ",
    "To help my {rel}[, |, who is {trait}: ]",
    "Between {doing} and the {event}, one thing: ",
    "My {rel}, [a {trade}|who is {trait}|who is {doing}], [wants to know|asked me|would like to hear]: ",
    "{name} from {group} [asks|wants to know|wonders]: ",
    "[Ok|Okay|Right|Well|So|Hey|Yo|Um|Alright], {rush}: ",
    "{rush}[: | please: | - ]",
    "[Question|Quick one|Query|Question from a {trade}|One] for [a|my|our] {piece}: ",
    "If I may [trouble you|be so bold|disturb you {spot}|ask before I {deed}]: ",
    "[Would you be so kind|Do be so good|I pray you, be so kind] and tell an old {trade}: ",
    "[Speaking as|As] a {trade}, I [should know|never learned|always wondered]: ",
    "[I'm|I am] {doing} and [my {rel}|{name}] asks: ",
    "Long story short, {why}, so: ",
    "[I've|I have] {mins} and [one question|one thing to clear up]: ",
    "[{when}|Just now] my {rel} asked me this: ",
    "Don't laugh, but {why}: ",
    "{mins} left, so {hurry}: ",
    "[Help|Pls help|SOS|Emergency], {why}: ",
    "Apologies, {name} here, I'm {spot}: ",
    "[Not urgent|No hurry|Only if you have {mins}|Whenever you have {mins}], but ",
    "[Random|Odd|Small|Off-topic|Maybe a silly] [one|thought] [from {spot}|while {doing}]: ",
    "After {mins} of {doing}, [I give up|here I am]: ",
)
# Behind the last word, set off by a mark: "?" stays with the question.
PURPOSES = (
    "for [my|a|our] {piece}",
    "for {group}",
    "for the {event}",
    "for the {event} {soon}",
    "for my {rel}",
    "before I {deed}",
    "before I {deed} {soon}",
    "asking for my {rel}",
    "asking while {doing}",
    "asking from {spot}",
    "I have to {deed} {soon}",
    "we have a {event} {soon}",
    "I'm {spot}",
    "I'm {trait}",
    "because {why}",
    "since {why}",
    "so that I can {deed}",
    "so I can tell my {rel}",
    "{rush}",
    "{rush}",
    "{hurry}, [I'm|I am] {doing}",
    "my {rel} is waiting",
    "{name} [wants to know|asked me]",
    "in [time|good time] for the {event}",
    "need it {soon}",
)
# Behind a comma and before the question mark.
ASIDES = (
    "in a nutshell",
    "in short",
    "roughly",
    "[please and thanks|please and thank you]",
    "if I may ask",
    "if [you don't|you do not] mind",
    "by any chance",
    "[quick|fast] please",
    "my dear",
    "just the [basics|gist]",
    "the short version",
    "generally speaking",
    "[if you have|in] {mins}",
    "as my {rel} [would say|asked {when}|wants to know]",
    "in [plain|simple] words",
    "[honestly|actually|exactly|really|again|anyway|then]",
    "[mate|love|friend|pal|kind sir|buddy]",
)
#: Every template, for the corpus's fingerprint.
EVERYTHING = (SENTENCES, OPENERS, PURPOSES, ASIDES)
_PART = re.compile(r"\[([^\[\]]*)\]|\{([a-z]{2,})\}")
# What cannot be said of several: "my glasses is".
_SEVERAL = re.compile(r"\b(glasses|gloves|notes|slippers|earphones|sunglasses) is\b")
_ONE = re.compile(r"\b(My (?!glasses|gloves|notes|slippers|earphones|sunglasses)[a-z ]+) are no\b")


def composed(template: str, rng: Random) -> str:
    """One text of a template; fields of one letter are left as they are."""
    while True:
        found = _PART.search(template)
        if not found:
            break
        template = _PART.sub(lambda m: _drawn(m, rng), template)
    template = _ONE.sub(r"\1 is no", _SEVERAL.sub(r"\1 are", template))
    return articles(template)


def _drawn(found: re.Match[str], rng: Random) -> str:
    if found[2]:
        return rng.choice(TABLES[str(found[2])])
    return rng.choice(str(found[1]).split("|"))


@cache
def trained(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The templates that training uses: one in 8 is held out, by its hash."""
    return tuple(text for text in texts if number(f"situation/{text}") % 8)


def capital(text: str) -> str:
    """The text with a capital first letter, whatever table it came from."""
    return text[:1].upper() + text[1:]


def drawn(texts: tuple[str, ...], rng: Random) -> str:
    """One text of the templates that training uses."""
    return composed(rng.choice(trained(texts)), rng)
