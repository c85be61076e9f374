"""How people ask for help with a broken product, and why it is broken.

`{problem}` is a verb phrase and `{state}` a clause of `problems`, `{does}` the problem in the order
of a question: "won't my phone charge". Knows no answer.
"""

from __future__ import annotations

from lora_magic.demo.factory.wording.parts import Wording
from lora_magic.demo.factory.wording.problems import PROBLEMS, STATES, asked

__all__ = ["PROBLEMS", "STATES", "WORDINGS", "asked"]

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
        "My {name} {problem}. What's the [cure|remedy|fix|solution|trick]?",
        "My {name} {problem}. How do I [sort it out|put it right|get it going again|get it "
        "right|deal with it]?",
        "My {name} {problem}. [Can it be mended?|Is it beyond repair?|Can it be saved?|Is there "
        "a cure?]",
        "[My|Our] {name} {problem}, how do I [sort it out|put it right|fix it]?",
        "How do I [sort out|mend|cure|rescue|deal with] a {name} that {problem}?",
        "How [does|would] one [mend|repair|put right] a {name} that {problem}?",
        "How do I [stop|change|end] it [if|when] my {name} {problem}?",
        "What would [you|an expert|a repairman] do [if|when] a {name} {problem}?",
        "What's the [cure|remedy|trick] [if|when] a {name} {problem}?",
        "What's the first thing to do [if|when] a {name} {problem}?",
        "What can be done about a {name} that {problem}?",
        "Can I do something [if|when] my {name} {problem}?",
        "Do I need a new {name} if mine {problem}, or can it be mended?",
        "A {name} that {problem}: [what now|what to do|how do I fix it|what helps]?",
        "{state}. [How do I sort it out?|How do I put it right?|What's the cure?|Can it be "
        "mended?|Is there a remedy?]",
        "{state}. How [do|can|would] I [fix|repair|mend|solve] [this|that|it]?",
        "{state}. What [would you do|would you try|helps|do you suggest]?",
        "{state}, [how do I fix it|how do I sort it out|can it be mended|is there a fix]?",
        "How do I [sort it out|put it right|deal with it] [when|if] {state}?",
        "What [helps|is the cure|is the remedy|would you do] [when|if] {state}?",
        "The {name}, it {problem}. [What do I do?|How do I sort it out?|Can it be mended?]",
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
        "how [to|I can] [sort out|mend|deal with] a {name} that {problem}",
        "how I put it right [if|when] my {name} {problem}",
        "what the [cure|remedy|solution] is [if|when] a {name} {problem}",
        "what I [could|should] try [if|when] my {name} {problem}",
        "what the cure is [when|if] {state}",
        "how I [fix|solve|sort out] it [when|if] {state}",
        "whether it can be mended [if|when] my {name} {problem}",
    ),
    phrases=(
        "[a|the|an easy|a quick] fix for a {name} that {problem}",
        "[a|the|a simple] solution for a {name} that {problem}",
        "[a cure|a remedy|a tip|first aid] for a {name} that {problem}",
        "[the best|the right|a good|a quick] way to [fix|repair] a {name} that {problem}",
        "the [trick|first step|first thing to do] [if|when] a {name} {problem}",
        "[a|the|a simple] remedy [if|when] my {name} {problem}",
        "[a|the] solution [if|when] {state}",
        "a cure [if|when] my {name} {problem}",
        "help with a {name} that {problem}",
        "the remedy for a {name} that {problem}",
        "[advice|first aid] [if|when] my {name} {problem}",
        "a [fix|remedy|cure] [if|when] {state}",
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
        "{name} {problem} [cure|remedy|mend|sort out|repair tips]",
        "{name} {problem} how [do i fix it|to sort it out|to mend]",
        "[cure|remedy|solution] for {name} that {problem}",
        "{name} {problem} what do i do",
        "{name} {problem} can it be [fixed|mended|repaired]",
        "my {name} {problem} [what do i do|cure|fix|solution]",
        "{state} [fix|cure|solution|can it be fixed]",
        "[sort out|mend|solve] {name} that {problem}",
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
        "I've [a deadline tonight|guests coming|a busy week ahead] and my {name} {problem}. "
        "[What do I do?|How do I sort it out?|Is there a quick fix?|Help!]",
        "The shop is closed [today|until Monday] and my {name} {problem}. [Can I mend it "
        "myself?|How do I fix it?|What can I do?]",
        "The repairman [costs a fortune|has no time]. My {name} {problem}. [Can I fix it "
        "myself?|What's the cure?|How do I sort it out?]",
        "I rely on my {name}, and now it {problem}. [How do I put it right?|What's the cure?|Is "
        "there a fix?]",
        "It's a nearly new {name} and already it {problem}. [How do I fix that?|What should I do?]",
        "You know about these things. My {name} {problem}. [What would you do?|How do I sort it "
        "out?]",
        "Other people have a {name} that works. Mine {problem}. [How do I fix it?|What's the "
        "remedy?]",
        "[This morning|Last night|Since Sunday] the trouble began: my {name} {problem}. [What "
        "now?|What can be done?]",
        "I like my old {name}, but it {problem}. [Can it be mended?|Is there a cure?|How do I "
        "save it?]",
        "I've a deadline tonight and {state}. [What do I do?|How do I fix it?|Is there a fix?]",
        "[Something is wrong|I have trouble]: {state}. [How do I sort it out?|Can it be "
        "mended?|What helps?]",
        "It has been like this for [days|a week]: {state}. [How do I put it right?|What's the "
        "cure?]",
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
        "Why [on earth|in the world|exactly] is it that my {name} {problem}?",
        "For what reason might it be that [my|a] {name} {problem}?",
        "My {name} {problem}. [For what reason?|What's behind it?|What's to blame?|Why would "
        "that be?|Why might that be?]",
        "My {name} {problem}. [What has gone wrong?|What makes it do that?|What's the "
        "explanation?|What could it be?]",
        "[My|Our] {name} {problem}, [for what reason|why on earth|why would that be|what is the "
        "cause]?",
        "What [makes|causes] a {name} behave like that? Mine {problem}.",
        "What [is|could be] to blame [when|if] [my|a] {name} {problem}?",
        "What [has|may have] gone wrong [when|if] a {name} {problem}?",
        "What [may|might|can] be the matter [when|if] a {name} {problem}?",
        "What [could|might] [explain|lie behind] it that [my|a] {name} {problem}?",
        "What's the explanation [when|if] a {name} {problem}?",
        "[What's up|What has gone wrong] with a {name} that {problem}?",
        "A {name} that {problem}: [why|what is the cause|what is the reason|how come]?",
        "Is there a reason why my {name} {problem}?",
        "Where does the trouble come from [when|if] a {name} {problem}?",
        "I [don't understand|don't see|can't explain] why my {name} {problem}.",
        "{state}. [For what reason?|Why would that be?|Why might that be?|What's behind "
        "it?|What's to blame?]",
        "{state}. [What has gone wrong?|What's the explanation?|What is wrong with it?|Why on "
        "earth?]",
        "{state}, [for what reason|why would that be|why on earth|what is the cause]?",
        "[For what reason can it be|Why on earth is it|Why would it be] that {state}?",
        "I [don't understand|can't explain] why {state}.",
        "Why {does}?",
        "Why {does}? [I don't get it.|I don't understand it.|It is a mystery to me.|Any idea?]",
        "Why [on earth|exactly|in the world] {does}?",
        "For what reason {does}?",
        "[But|And|Now] why {does}?",
        "[Tell me|Say|Please explain], why {does}?",
        "The {name}, it {problem}. [Why would that be?|For what reason?|Why is that?]",
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
        "why on earth [my|our] {name} {problem}",
        "for what reason [my|a] {name} {problem}",
        "what causes it [when|if] a {name} {problem}",
        "what has gone wrong [when|if] my {name} {problem}",
        "what lies behind it [when|if] a {name} {problem}",
        "what the explanation is [when|if] [a|my] {name} {problem}",
        "why {state}",
        "what is to blame [when|if] {state}",
    ),
    phrases=(
        "the [reason|reason why|likely reason] [my|a|the] {name} {problem}",
        "the [cause|usual cause|likely cause] [when|if] a {name} {problem}",
        "[an|a simple|the] explanation of why my {name} {problem}",
        "the most [likely|common] reason [why|that] [a|my] {name} {problem}",
        "the reason [why|that] {state}",
        "the [cause|root] of the trouble [when|if] a {name} {problem}",
        "the reason behind a {name} that {problem}",
        "the cause of the trouble with a {name} that {problem}",
        "a [reason|likely reason] why [a|our] {name} {problem}",
        "the thing that is wrong with a {name} that {problem}",
        "the explanation [when|if] {state}",
        "the cause [when|if] {state}",
    ),
    notes=(
        "{name} {problem} why",
        "why {name} {problem}",
        "{name} {problem} [cause|reason|causes|what is wrong]",
        "[cause|reason] [if|when] {name} {problem}",
        "my {name} {problem} [why|how come|any idea why]",
        "reason why {name} {problem}",
        "{state} [why|how come|any idea why]",
        "{name} {problem} [reasons|for what reason|why on earth|why is that]",
        "reason {name} {problem}",
        "[reasons|causes] when {name} {problem}",
        "{name} {problem} [explanation|what is the cause|possible reasons]",
        "why does it happen {name} {problem}",
        "what is wrong {name} {problem}",
        "{state} [reason|cause|for what reason|what causes it]",
        "how come {name} {problem}",
        "why {does}",
        "why on earth {does}",
        "for what reason {does}",
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
        "I've [a deadline tonight|guests coming|no time for this], and my {name} {problem}. [Why "
        "on earth?|For what reason?|What's behind it?]",
        "I treat my {name} well, and still it {problem}. [Why would that be?|For what "
        "reason?|What is the cause?]",
        "It's a nearly new {name} and already it {problem}. [Why?|How can that be?|What's the "
        "reason?]",
        "My [father|flatmate|neighbor] can repair things, but first he asks why the {name} "
        "{problem}. [What is the reason?|Any idea?]",
        "I'm not asking for a repair. Why is it that my {name} {problem}?",
        "I changed nothing on my {name}, yet it {problem}. [Why?|What has gone wrong?|What's to "
        "blame?]",
        "Other people have a {name} that works. Mine {problem}. [Why is that?|What is wrong with "
        "mine?]",
        "[Is it my fault?|Did I break something?] My {name} {problem}. [What is the reason?|Why "
        "might that be?]",
        "The [shop|seller] wants to know the cause. My {name} {problem}. [What could it be?|What "
        "is wrong?]",
        "Before I repair anything I want to understand it: {state}. [Why?|What's the cause?|For "
        "what reason?]",
        "It has been like this for [days|a week]: {state}. [Why would that be?|What's behind it?]",
        "I've a deadline tonight and {state}. [Why on earth?|What could be the reason?]",
        "I've [a deadline tonight|guests coming|been careful with it]. Why {does}?",
        "[I am puzzled.|It worked yesterday.|It is nearly new.|I changed nothing.] Why {does}?",
        "I only want to understand it. Why {does}?",
    ),
)

WORDINGS = {("fault", "remedy"): _REMEDY, ("fault", "cause"): _CAUSE}
