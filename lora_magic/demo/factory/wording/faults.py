"""How people ask for help with a broken product, and why it is broken.

`{problem}` is a verb phrase and `{state}` a clause of `problems`; knows no answer.
"""

from __future__ import annotations

from lora_magic.demo.factory.wording.parts import Wording
from lora_magic.demo.factory.wording.problems import PROBLEMS, STATES

__all__ = ["PROBLEMS", "STATES", "WORDINGS"]

_REMEDY = Wording(
    questions=(
        "[My|Our|The] {name} {problem}[.|!]",
        "[My|Our|The] {name} {problem}, [any idea|any ideas|any tips|what now|what can I do]?",
        "My {name} {problem}, [please help|please help me|I need help|help]!",
        "My {name} {problem}. [What now?|Now what?|What do I do?|What would you do?|What next?]",
        "My {name} {problem}. [Any idea?|Any tips?|Any advice?|Any suggestions?|Help, please.]",
        "My {name} {problem}. [Is there a fix?|Can this be repaired?|Can it be fixed?|What helps?]",
        "My {name} {problem}. How [do|can|should] I [fix|repair|solve] [this|that|it]?",
        "[Help|Oh no|Ugh|Please help|Hi|Sorry], my {name} {problem}[.|!]",
        "[Unfortunately|Sadly|For some reason|Today|Once more] my {name} {problem}. "
        "[What now?|What can I do?|Please help.|Any tips?]",
        "How [do|can|should|would] [I|you|we] [fix|repair|save|help] a {name} that {problem}?",
        "What [do|can|should|could] [I|we] do [if|when] [my|the|our|a] {name} {problem}?",
        "What [can|should|could] [I|we] do about [a|this] {name} that {problem}?",
        "What helps [if|when] [a|my] {name} {problem}?",
        "What [should|can|could] I try [if|when] my {name} {problem}?",
        "[Can|Could|Would] you [help me fix|help me with|repair|fix] a {name} that {problem}?",
        "[Please help me|Help me|Show me how to|Tell me how to] fix a {name} that {problem}.",
        "Is there [a fix|a cure|a trick|a solution|help|an easy fix] for a {name} that {problem}?",
        "Can [a|this] {name} that {problem} [be repaired|be fixed|be saved]?",
        "I [have|have got|own|bought] a {name} that {problem}. [What now?|What can I do?|Help!]",
        "[I'm stuck|I'm desperate|I give up]: my {name} {problem}.",
        "{state}[.|!]",
        "{state}. [What now?|Now what?|What do I do?|What can I do?|What should I do?]",
        "{state}. [Any idea?|Any tips?|Is there a fix?|Can you help?|Please help.|Help!]",
        "{state}, [any idea|any ideas|what now|what can I do|can you help]?",
        "[Help|Please help|Oh no|Ugh], {state}[.|!]",
        "What [do|should|can|could] I do [when|if] {state}?",
        "[Can you help?|Can you help me?|I need help.|Quick question.] {state}.",
        "How [do|can|should] I fix it [when|if] {state}?",
    ),
    clauses=(
        "how [to|I can|I could|you] [fix|repair] a {name} that {problem}",
        "how people [fix|repair] a {name} that {problem}",
        "how a {name} that {problem} can be [fixed|repaired|saved]",
        "what [to do|I can do|I should do|we could do] [if|when] my {name} {problem}",
        "what [to do|I can do|one does] about a {name} that {problem}",
        "what helps [if|when] [a|my|the] {name} {problem}",
        "what to try [if|when] [a|my|our] {name} {problem}",
        "what [to do|I should do|I can do] [if|when] {state}",
        "what helps [if|when] {state}",
        "what you would do if [this|the] {name} {problem}",
        "how to get rid of the problem [if|when] my {name} {problem}",
    ),
    phrases=(
        "[a|the|an easy|a quick] fix for a {name} that {problem}",
        "[a|the|a simple] solution for a {name} that {problem}",
        "[a cure|a remedy|a tip|first aid] for a {name} that {problem}",
        "[the best|the right|a good|a quick] way to [fix|repair] a {name} that {problem}",
        "the [trick|first step|first thing to do] [if|when] a {name} {problem}",
        "[a|the|a simple] remedy [if|when] my {name} {problem}",
        "[a|the] solution [if|when] {state}",
    ),
    notes=(
        "{name} {problem}",
        "{name} {problem} [help|what now|what to do|any ideas|any tips]",
        "{name} {problem} [fix|solution|repair|how to fix]",
        "[fix|repair|help with] {name} that {problem}",
        "how to [fix|repair] {name} that {problem}",
        "my {name} {problem} [help|pls help|what now|how to fix]",
        "what to do [if|when] {name} {problem}",
        "{state} [help|what now|what to do|how to fix]",
        "[help|pls help|please help|problem] {name} {problem}",
    ),
    contexts=(
        "There is [something wrong|a problem|trouble] with my {name}: it {problem}. "
        "[What now?|What can I do?|How do I fix it?]",
        "I [have|have got] a problem with my {name}. It {problem}. "
        "[What should I do?|Can you help me?|How can I solve it?]",
        "My [son|daughter|neighbor|wife|husband] says that the {name} {problem}. "
        "[How can I fix it?|What should we do?|How do we repair it?]",
        "I bought [a|this] {name} [last year|last week|second-hand] and it {problem}. "
        "[What now?|What can I do?|Can this be repaired?]",
        "I'm no expert, and my {name} {problem}. [How do I fix it?|Can you help me?|What now?]",
        "It's [my|our] {name} again. It {problem}. [Any ideas?|What can I try?|What do we do?]",
        "I have [no idea|no clue] what to do. My {name} {problem}.",
        "I [tried everything|can't work like this]. My {name} {problem}. "
        "[Help!|What else can I do?]",
        "Everything was fine yesterday, but now my {name} {problem}. [What now?|How can I fix it?]",
        "I don't want to buy a new {name}, but mine {problem}. [Can it be repaired?|What helps?]",
        "{state}. I have [no idea|no clue] what to do[.| about it.]",
        "{state}. I don't want to buy a new one. [Can it be repaired?|Is there a fix?]",
    ),
)

_CAUSE = Wording(
    questions=(
        "Why [is it that|do you think] [my|our|the] {name} {problem}?",
        "Why [could it be|can it be|does it happen] that [my|a|the] {name} {problem}?",
        "How come [my|our|the] {name} {problem}?",
        "How [is it possible|can it be] that [my|our|the] {name} {problem}?",
        "My {name} {problem}. [Why?|How come?|Why is that?|But why?|Why does this happen?]",
        "My {name} {problem}. What [is|could be|might be] the [cause|reason]?",
        "My {name} {problem}. What is [wrong with it|going on|the matter|the problem|broken]?",
        "My {name} {problem}. [What causes this?|Where does that come from?|Any idea why?]",
        "My {name} {problem}, [why|how come|any idea why|why is that|what is wrong with it]?",
        "What [is|could be|might be] the reason that [a|my|our] {name} {problem}?",
        "What is [wrong|the matter|going on|the cause] [when|if] [a|my|the] {name} {problem}?",
        "What [could|might|can] be wrong with [a|this] {name} that {problem}?",
        "What is [wrong|the matter|up|going on] with [my|our|the] {name}? It {problem}.",
        "What is [usually|normally|probably] [wrong|to blame] [when|if] a {name} {problem}?",
        "What does it mean [when|if] [a|my|the] {name} {problem}?",
        "What is [usually|often|probably] behind it [when|if] a {name} {problem}?",
        "What is the [usual|most likely|common|] [cause|reason] [when|if] a {name} {problem}?",
        "[Any idea|Any clue|Any guess] why my {name} {problem}?",
        "Explain why [a|my] {name} {problem}.",
        "{state}. [Why?|How come?|Why is that?|Any idea why?|What causes this?]",
        "{state}. What [is|could be|might be] the [cause|reason]?",
        "{state}, [why|how come|any idea why|why is that]?",
        "[Why is it that|How come|Any idea why|How can it be that] {state}?",
        "What is [wrong|the cause|the reason|going on] [when|if] {state}?",
    ),
    clauses=(
        "why [my|a|our|the] {name} {problem}",
        "why it [is|happens|can be] that [my|a|the] {name} {problem}",
        "how it can be that [my|our|the] {name} {problem}",
        "what is wrong [when|if] [a|my|the] {name} {problem}",
        "what is wrong with [a|this] {name} that {problem}",
        "what the [cause|reason] [is|could be|might be] [when|if] [a|my] {name} {problem}",
        "what it means [when|if] [a|my] {name} {problem}",
        "what [is|could be|might be] [behind it|to blame] [when|if] my {name} {problem}",
        "[why it is|how it can be] that {state}",
        "what the [cause|reason] is [when|if] {state}",
    ),
    phrases=(
        "the [reason|reason why|likely reason] [my|a|the] {name} {problem}",
        "the [cause|usual cause|likely cause] [when|if] a {name} {problem}",
        "[an|a simple|the] explanation of why my {name} {problem}",
        "the most [likely|common] reason [why|that] [a|my] {name} {problem}",
        "the reason [why|that] {state}",
        "the [cause|root] of the trouble [when|if] a {name} {problem}",
    ),
    notes=(
        "{name} {problem} why",
        "why {name} {problem}",
        "{name} {problem} [cause|reason|causes|what is wrong]",
        "[cause|reason] [if|when] {name} {problem}",
        "my {name} {problem} [why|how come|any idea why]",
        "reason why {name} {problem}",
        "{state} [why|how come|any idea why]",
    ),
    contexts=(
        "There is [something wrong|a problem] with my {name}: it {problem}. "
        "[Why?|What is the cause?|How come?]",
        "I [have|have got] a problem with my {name}. It {problem}. "
        "[Why is that?|What is the reason?|What could be wrong?]",
        "My [son|daughter|neighbor|wife|husband] says that the {name} {problem}. "
        "[Why does that happen?|What might be the reason?|Any idea why?]",
        "I bought [a|this] {name} [last year|last week|second-hand] and it {problem}. "
        "[Why?|How can that be?|What is wrong with it?]",
        "I want to understand my {name}. It {problem}. [Why?|What causes that?]",
        "I don't need it repaired, I just want to know why my {name} {problem}.",
        "Everything was fine yesterday, but now my {name} {problem}. [Why?|What has happened?]",
        "I [looked at|opened|checked] my {name} and found nothing, but it {problem}. "
        "[Why?|What is the cause?]",
        "{state}. I [wonder|really wonder|have no idea|would like to know] why[.| that is.]",
        "It's [my|our] {name} again. It {problem}. [Why is that?|What is wrong this time?]",
    ),
)

WORDINGS = {("fault", "remedy"): _REMEDY, ("fault", "cause"): _CAUSE}
