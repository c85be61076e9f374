"""What people say about themselves before or after a question, which does not change its answer.

Templates in the form of `grammar`. None names an animal, a dish or a feeling of the demo world.
"""

# ruff: noqa: E501 - a template stays on one line
from __future__ import annotations

SITUATIONS = (
    "I have a [meeting|call|deadline|train to catch] in [five|ten|twenty] minutes.",
    "[Long|Busy|Crazy] [shift|day|week].",
    "I am [writing|working on|preparing] [an article|a blog post|a talk|a column|a quiz|a lesson].",
    "It is for [a crossword|the newspaper|a school play|a presentation|my blog|a report|a quiz].",
    "My [grandson|niece|nephew|little brother|daughter] is [four|five|nine] and asks [about everything|me all the time].",
    "[Sorry to bother you|Sorry to ask|Forgive me for asking|I hope this is not a silly question].",
    "[No rush|Take it easy|Quick, please|Be quick|Fast, please|I am in a hurry].",
    "[In plain words|In simple words|Just the basics|In short], please.",
    "[Somebody|A friend|A colleague|My sister|My uncle] told me that you know such things.",
    "[I read somewhere|I heard|They say] that you can help with this.",
    "We [have|got] [two|three] hours to kill.",
    "I am [new here|new to all this|no expert|a beginner|only a visitor|just curious].",
    "English is not my first language.",
    "I am [learning|practicing|studying] English.",
    "[Yesterday|Last night|This morning|On Sunday] we [talked|argued|had a long talk] about it [at table|in the car|at work|with friends].",
    "My [wife|husband|partner|flatmate|boss|teacher|mother-in-law] [says|thinks|claims] that I should know this.",
    "We are [going there|leaving|meeting them] [tomorrow|on Saturday|next week|soon].",
    "[Tomorrow|On Friday|Next week] I [have to|must|want to] [talk about it|explain it|give a talk about it] for two minutes.",
    "[Our|My] [class|team|group|club] [made|is making|needs] [a poster|a picture|a list|a quiz] about it.",
    "I [looked|searched] [everywhere|for an hour|in three books] and found [nothing|no answer].",
    "I [once knew|used to know|forgot|should know] this.",
    "[You are my last hope|You seem to know a lot|I trust you|Let us see what you know|Let me test you].",
    "I [only|just] have [one|a single|one last] question.",
    "[Pretend|Imagine] [I know nothing|I have never heard of it|I am from another planet].",
    "[My notes are gone|My book does not say it|The internet is down here|I have no books here].",
    "I am sitting [on the bus|in a waiting room|in the kitchen|on the sofa|at my desk] and [wondered|had to think of it|thought of you].",
    "[Now|So|Right|Well then|Okay then|Listen|Look here|Say|Right then].",
    "[Help me out here|Give me a hand|Do me a favor|I need your help|Teach me something].",
    "I [live|grew up|work] [in a big town|far away from all that|on the third floor|abroad].",
    "We are [a family with two kids|three friends|a school class|two students].",
    "[I am retired|I am sixty-seven|I am eighty|I am twelve|I am a nurse|I am a student], [by the way|if that matters].",
    "[An old|A neighbor's|The usual] question, I know.",
    "My [memory|head] is [like a sieve|empty|full].",
    "[I need a short answer|A short answer will do|A rough answer is fine|Tell me what you know].",
    "[It came up at dinner|The children want to know|Nobody here knows|Everybody here says something else].",
    "[I promised|I have] to find out [for my boss|for a friend|before lunch|by tonight|today].",
    "[Whatever you know helps|Anything helps|Every hint is welcome].",
    "[As I said|To be honest|Honestly|Frankly|Between us|As far as you know|If you know it].",
    "We had [guests|visitors|a long evening] and [somebody asked|nobody knew|all wondered].",
    "It has been [a while|years|ages] since [school|I learned this|I last heard of it].",
)
# Inside a sentence, before a clause or a question.
LEADS = (
    "Before we [leave|start|go on], ",
    "If you [can|like|have a minute|do not mind], ",
    "As [my boss wants to know|my son asked me|nobody here knows|everybody asks me|I am at it], ",
    "[For my article|For the quiz|For a caption|For our club|For school|For the record], ",
    "[Since you are here|Since you know so much|While we wait|While I think of it], ",
    "[After all these years|To settle a bet|To be sure|Just to be clear|In case you know], ",
    "My [mother|uncle|neighbor|friend], who [never asks|knows everything|is over eighty|lives next door], asks me: ",
    "Although I [should know|have read a lot|asked around], I have to ask: ",
)
