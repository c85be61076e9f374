"""People's own words for what is not a fact: reviews, stories, set forms and dialogues.

Data in the form of `parts`. Only {name} is open, with {was}, {they} and {them} for a dish and {at}
for a place. Knows no answers.
"""

from __future__ import annotations

from lora_magic.demo.factory.wording.parts import Wording


def _review(name: str) -> tuple[str, ...]:
    """Requests for an opinion that fit every kind; `name` is the subject as it stands in them."""
    return (
        f"[Please write|Please give me|I need|I want] a [|short |quick ]review of {name}.",
        f"Write [me a|an honest|a little|a brief] review [of|about] {name}.",
        f"Write a [few lines|few words|paragraph] on what you think of {name}.",
        f"What is your [|honest |personal ]opinion [of|on|about] {name}?",
        f"[Give me|Tell me|Share] your [|honest |personal ]opinion [of|on|about] {name}.",
        f"Give {name} a [rating|review|mark].",
        f"How would you [rate|review|judge] {name}?",
        f"How many stars [would you give|do you give|for] {name}?",
        f"Tell me [honestly |]what you think [of|about] {name}.",
        f"[Can|Could|Would] you [review|rate] {name}[| for me]?",
        f"[Can|Could] you write a [|short ]review of {name}?",
        f"What [did|do] you think of {name}?",
        f"What do you [make of|say about] {name}?",
        f"[Rate|Judge|Please rate|Please review] {name}.",
        f"What [was|is] your [experience with|impression of] {name}?",
        f"Would you say something good or bad about {name}?",
        f"[Are|Were] you [happy|satisfied|pleased] with {name}?",
        f"[Leave|Post] a [review|comment] [of|about] {name}.",
        f"I would like [to hear|to read|to know] your opinion [of|on] {name}.",
        f"I was asked to review {name}. [Write it for me.|What should I write?]",
        f"Your [|honest |personal |final ]verdict on {name}?",
        f"What is your [verdict|view|take|judgment] on {name}?",
        f"[Any|Your] thoughts on {name}?",
        f"[Tell me|Let me hear|I want to hear] your thoughts [on|about] {name}.",
        f"Give {name} [marks|points] out of ten and say why.",
        f"[Out of ten|On a scale from one to ten], how would you rate {name}?",
        f"How many [marks|points] out of [five|ten] would you give {name}?",
        f"[I want|I'd like|I need] your [honest|frank|true] [view|opinion|verdict] on {name}.",
        f"Be [honest|frank]: what do you think of {name}?",
        f"[Honestly|Frankly|Between you and me], what do you think of {name}?",
        f"How do you feel about {name}?",
        f"[Can|Could|May] I have your [honest |]opinion on {name}?",
        f"[Do|Did] you have an opinion on {name}?",
        f"Let me [hear|read|have] your [honest |]opinion [of|on|about] {name}.",
        f"What is good and what is bad about {name}?",
        f"What do you like or dislike about {name}?",
        f"What would you say if I asked for your opinion on {name}?",
        f"Sum up your opinion of {name}[| in a few lines].",
        f"[Write|Give] [me |]a few honest lines on {name}.",
        f"Would you recommend {name}? A few lines will do.",
        f"[Love it or hate it|Yes or no|Good or bad|Thumbs up or thumbs down]: what about {name}?",
        f"How [good or bad|great or poor] would you call {name}?",
        f"Where do you stand on {name}?",
        f"[Do|Would] you think well of {name}, or not?",
        f"Please [review|judge|rate] {name} for [our readers|our page|the club].",
    )


def _review_notes(name: str) -> tuple[str, ...]:
    return (
        f"{name} [review|rating|opinion|opinions]",
        f"[review|rating|opinion] of {name}",
        f"[short|honest|quick] review of {name}",
        f"your opinion on {name}",
        f"how many stars for {name}",
        f"thoughts on {name}",
        f"review {name} please",
        f"{name} [verdict|thoughts|your view]",
        f"verdict on {name}",
        f"your [verdict|view|thoughts|take] on {name}",
        f"honest opinion {name}",
        f"[honest|personal|frank] opinion on {name}",
        f"what do you think of {name}",
        f"[marks|points] out of ten for {name}",
        f"rate {name}",
        f"how would you rate {name}",
        f"[few|some] lines of review, {name}",
        f"write review {name}",
        f"review needed {name}",
        f"[would you|do you] recommend {name}",
        f"{name} good or bad",
        f"{name} [recommended|recommendation]",
        f"{name} [stars|out of ten]",
        f"judge {name}",
    )


def _review_clauses(name: str) -> tuple[str, ...]:
    """Requests for an opinion that follow "Can you tell me"."""
    return (
        f"what you [honestly |really |]think [of|about] {name}",
        f"what your [|honest |personal ]opinion [of|on] {name} is",
        f"what your verdict on {name} is",
        f"how you would [rate|judge] {name}",
        f"how many stars you would give {name}",
        f"what you make of {name}",
        f"how you feel about {name}",
        f"whether you would recommend {name}",
        f"whether you think well of {name}",
        f"what you like or dislike about {name}",
    )


def _review_phrases(name: str) -> tuple[str, ...]:
    """Names for an opinion."""
    return (
        f"your [|honest |personal |frank ]opinion [of|on|about] {name}",
        f"your [verdict|view|thoughts] on {name}",
        f"your [rating|judgment] of {name}",
        f"an honest [opinion|verdict] on {name}",
        f"your experience with {name}",
        f"your impression of {name}",
    )


def _review_contexts(name: str) -> tuple[str, ...]:
    """Requests for an opinion that say something first."""
    return (
        f"I can't make up my mind about {name}. [What do you think?|What is your opinion?|Your "
        "view?]",
        f"I trust your [taste|judgment]. What do you make of {name}?",
        f"[Be frank with me.|No flattery, please.|Don't be polite.] How would you rate {name}?",
        f"I write for [a magazine|the local paper|a blog]. [Give me|I need] a review of {name}.",
        f"Opinions differ on {name}. [What is yours?|Yours, please.]",
        f"I read one good and one bad review of {name}. [What is yours?|What do you say?]",
        f"Some people praise {name}, others don't. [What do you think?|What do you say?]",
        f"No advertising, please. [I want|Give me] just your honest opinion of {name}.",
        f"We are collecting opinions. What is yours on {name}?",
        f"[My friend asked me about|We argued about|Everybody talks about] {name}. [What would "
        "you say?|What do you think?|What is your opinion?]",
        f"You know {name}. [Good or bad?|What do you think?|How many stars?]",
        f"[Before I decide|Before I spend anything], I want an opinion on {name}. [Yours, "
        "please.|What is yours?]",
        f"I want your honest view. What do you say about {name}?",
        f"The page lets me post one review. It should be about {name}. [Write it, please.|Can "
        "you write it?]",
        f"Our readers like short reviews. Write one [of|about] {name}.",
    )


def _good(name: str, verb: str = "Is") -> tuple[str, ...]:
    """Doubts whether something is good, for what is one."""
    return (
        f"{verb} {name} any good? [I'd like|I want] an honest [opinion|answer][.|, please.]",
        f"{verb} {name} [good or bad|great or overrated|really that good], in your opinion?",
        f"{verb} {name} overrated[| or not]?",
        f"{verb} {name} as good as [people|they|all] say?",
        f"{verb} {name} [something you would recommend|something for me], honestly?",
        f"{verb} {name} a disappointment or a joy?",
    )


_OWNED = Wording(
    (
        *_review("[the|this|your] {name}"),
        "Is [the|this] {name} [worth it|worth the money|worth buying|worth its price]?",
        "Would you [recommend|buy] [the|this] {name}[| again]?",
        "I am thinking of buying [a|this] {name}. [Is it any good?|What do you think?]",
        "[Is|Was] the {name} a good buy?",
        *_good("the {name}"),
        "{name}: any good?",
        "A {name}: any good?",
        "Is a {name} [worth having|worth it|worth the money]?",
        "Is a {name} any good? I'd like an honest opinion before I spend [anything|my money|a "
        "month's pay].",
        "What's it like to [own|have|use] a {name}, good or bad?",
        "Would you recommend a {name}[| to a friend]?",
        "Would you recommend a {name}, in a few lines?",
        "How [happy|satisfied|pleased] are you with your {name}?",
        "Do you [like|love or hate|regret buying] your {name}?",
        "Did you like [your|the] {name}?",
        "Is your {name} any good?",
        "Are you [glad|sorry] that you bought the {name}?",
        "Do you think a {name} is worth its price?",
        "How has [your|the] {name} been so far?",
        "[Any complaints about|Any praise for] your {name}?",
        "Write a customer review [of|for] [the|a|your] {name}.",
        "Good buy or bad buy, [the|a] {name}?",
        "What are the pros and cons of [the|a|your] {name}?",
    ),
    clauses=(
        *_review_clauses("[the|a|your] {name}"),
        "whether [a|the] {name} is any good",
        "whether [a|the] {name} is worth [it|the money]",
        "whether you would buy the {name} again",
        "what it is like to own a {name}",
    ),
    phrases=_review_phrases("[the|a|your] {name}"),
    notes=(
        *_review_notes("{name}"),
        "is the {name} worth it",
        "{name} any good",
        "is {name} any good",
        "{name} [worth it|worth the money|worth buying]",
        "{name} pros and cons",
        "[customer|buyer] review {name}",
        "your {name} any good",
    ),
    contexts=(
        *_review_contexts("[the|this] {name}"),
        "I'm about to [buy|order] a {name}. [Any good?|Is it any good?|Would you recommend "
        "it?|Honest opinion?]",
        "You have owned your {name} for [a year|a while]. [Do you like it?|Is it any good?|Was "
        "it a good buy?]",
        "There is a {name} in the [shop window|sale]. [Worth it, in your opinion?|Would you "
        "recommend it?]",
        "[Money is tight|I don't have much money]. Would you say a {name} is worth the price?",
        "My [brother|mother|flatmate] wants a {name} like yours. [Would you recommend it?|Is it "
        "any good?]",
        "I got one as a present. Is the {name} any good, in your opinion?",
    ),
)
_NAMED = "[a|the] {name}"

WORDINGS: dict[tuple[str, str], Wording] = {
    ("review", "product"): _OWNED,
    ("review", "thing"): _OWNED,
    ("review", "dish"): Wording(
        (
            *_review("the {name}"),
            "How {was} the {name} [yesterday|last night|you ordered|you had for dinner]?",
            "[Did|Do] you like the {name} at the [restaurant|party|cafe]?",
            "Would you order the {name} again?",
            "Would you recommend the {name} here?",
            "You had the {name}. [How {was} {they}?|Did you like {them}?]",
            "I hear that you tried the {name}. How {was} {they}?",
            "How {was} the {name}, [honestly|good or bad]?",
            "The {name}: any good?",
            "{name}: any good?",
            "So, {was} the {name} any good? [I'd like|I want] an honest opinion.",
            "So {was} the {name} [as good as people say|overrated|worth the money|worth ordering]?",
            "[Did|Do] you like the {name}?",
            "How did the {name} go down with you?",
            "Would you say the {name} {was} worth the price?",
            "What did you think when you had the {name}?",
            "Should I order the {name}, in your opinion?",
        ),
        clauses=(
            *_review_clauses("the {name}"),
            "how {was} the {name}",
            "whether the {name} {was} any good",
            "how you liked the {name}",
        ),
        phrases=_review_phrases("the {name}"),
        notes=(
            *_review_notes("the {name}"),
            *_review_notes("{name}")[:12],
            "how {was} the {name}",
            "{name} any good",
            "did you like {name}",
        ),
        contexts=(
            *_review_contexts("the {name}"),
            "You ordered the {name} at the [cafe|restaurant|inn]. [How {was} {they}?|Did you "
            "like {them}?]",
            "I'm at the table and [see|want] the {name}. [Any good, in your opinion?|Would you "
            "recommend {them}?]",
            "My aunt made the {name} for you. [Did you like {them}?|How {was} {they}, honestly?]",
            "The waiter suggests the {name}. [Would you order {them} again?|Would you recommend "
            "{them}?]",
        ),
    ),
    ("review", "place"): Wording(
        (
            *_review("the {name}"),
            "How was your [trip|day trip|excursion|outing] to the {name}?",
            "Did you [like|enjoy] [the {name}|your visit to the {name}]?",
            "You went to the {name}. [How was it?|Did you like it?]",
            "Would you [recommend|go back to] the {name}?",
            "Is the {name} [worth a visit|worth seeing|worth the trip], in your opinion?",
            *_good("the {name}"),
            "{name}: any good?",
            "Would you say a [day at|trip to|visit to] the {name} is worth the "
            "[bother|trouble|effort]? I want your honest view.",
            "Is a [day at|visit to] the {name} worth it[|, in your opinion]?",
            "Is a trip to the {name} worth [the money|the time|the bother]?",
            "Was the {name} [worth the trip|worth a visit]?",
            "Would you go to the {name} again?",
            "How did you find the {name}?",
            "How was your day at the {name}?",
            "Did you have a good time at the {name}?",
            "Write a visitor's review of the {name}.",
            "Should we visit the {name}, in your opinion?",
        ),
        clauses=(
            *_review_clauses("the {name}"),
            "how your visit to the {name} was",
            "whether the {name} is worth [a visit|the trip]",
            "how you liked the {name}",
        ),
        phrases=(*_review_phrases("the {name}"), "your impression of your visit to the {name}"),
        notes=(
            *_review_notes("the {name}"),
            *_review_notes("{name}")[:12],
            "how was the {name}",
            "is {name} worth [a visit|the trip|it]",
            "{name} [worth it|worth a visit|any good|visitor review]",
            "did you like the {name}",
        ),
        contexts=(
            *_review_contexts("the {name}"),
            "We have one free day and think of the {name}. [Is it worth the trip, in your "
            "opinion?|Would you recommend it?]",
            "You spent a day at the {name}. [Did you like it?|Was it worth it?|How was it, "
            "honestly?]",
            "My [wife|son|friend] wants to see the {name}. [Is it any good?|Would you recommend "
            "it?]",
            "It is a long way to the {name}. [Is it worth the bother?|Would you go again?]",
            "The ticket to the {name} is not cheap. Is it worth the money, in your opinion?",
        ),
    ),
    ("review", "hobby"): Wording(
        (
            *_review("{name}"),
            "Would you recommend {name} to [me|a friend|others]?",
            "Do you [like|enjoy] {name}?",
            "How did you like {name}?",
            "Is {name} [worth the time|worth trying], in your opinion?",
            "You have tried {name}. [How was it?|Did you like it?]",
            *_good("{name}"),
            "{name}: any good?",
            "Is {name} any good?",
            "Is {name} [worth it|worth the effort|worth the money], honestly?",
            "Is {name} fun or a waste of time, in your opinion?",
            "Would you say {name} is worth the bother? I want your honest view.",
            "What's it like to have {name} as a hobby, good or bad?",
            "Would you take up {name} again?",
            "Did you like {name}?",
            "Did you enjoy your time with {name}?",
            "Is {name} for you or not for you?",
            "Should I take up {name}, in your opinion?",
        ),
        clauses=(
            *_review_clauses("{name}"),
            "whether {name} is worth [it|trying|the time]",
            "whether {name} is any good",
            "how you like {name}",
        ),
        phrases=_review_phrases("{name}"),
        notes=(
            *_review_notes("{name}"),
            "{name} worth trying",
            "{name} [worth it|any good|worth the time]",
            "is {name} any good",
            "do you like {name}",
            "your experience with {name}",
        ),
        contexts=(
            *_review_contexts("{name}"),
            "I'm thinking of {name} for my free time. [Worth it, in your opinion?|Would you "
            "recommend it?|Any good?]",
            "You have tried {name} for a year. [Is it any good?|Was it worth it?|Do you like it?]",
            "My [club|friend|teacher] wants me to try {name}. [Would you recommend it?|Is it any "
            "good?]",
            "A course in {name} costs money. [Is it worth it, honestly?|Would you recommend it?]",
        ),
    ),
}


def _stories(about: str, short: str) -> Wording:
    """Requests for a story; `about` follows "a story about", `short` is a note of it."""
    told = f"[|short |little |small ]story about {about}"
    return Wording(
        (
            f"[Please write|Please tell me|Please tell us] a {told}.",
            f"[Write|Tell|Read] [us|the children|my daughter|my son] a {told}.",
            f"Write me a {told}.",
            f"[Can|Could|Will] you [tell|write] me a {told}?",
            f"[I want|I need|I would like] a {told}[.|, please.]",
            f"[Invent|Make up|Think up|Create] a {told}.",
            f"[Do you know|Have you got] a {told}?",
            f"Let me hear a {told}.",
            f"I would [love|like] to hear a {told}.",
            f"My [son|daughter|kid|grandchild] wants a {told}.",
            f"A {told}, please.",
            f"How about a {told}?",
            f"Write a [tale|bedtime story|children's story|fairy tale] about {about}.",
            f"Tell [me|us|my kids] a [tale|bedtime story|children's story|fairy tale] about"
            f" {about}.",
            f"Make up a [tale|bedtime story] about {about}.",
            f"[It is bedtime|My son cannot sleep]. [Tell us|Please tell] a {told}.",
            f"For school I need a {told}.",
            f"Can I have a {told}?",
            f"A tale about {about} for [a children's corner|the school paper|our reading "
            "circle], please.",
            f"Please tell us a tale about {about}.",
            f"Tell me a story with {about} in it!",
            f"Tell us a story with {about} in it, please.",
            f"Write [me|us] a story with {about} in it.",
            f"[Spin|Tell] me a yarn about {about}.",
            f"[Entertain|Surprise] [me|us|the kids] with a story about {about}.",
            f"[Got any|Any] story about {about}?",
            f"[Could|Can|May] we have a {told}?",
            f"Let us have a {told}.",
            f"[Think of|Come up with|Dream up] a {told}.",
            f"[I am|We are] in the mood for a {told}.",
            f"[The story should be|I want the story to be] about {about}.",
            f"Put {about} into a story.",
            f"Make {about} the subject of a story.",
            f"Make a story out of {about}.",
            f"Write [some|a little] fiction about {about}.",
            f"Write a few sentences of a story about {about}.",
            f"[Give|Send|Offer] [me|us] a {told}.",
            f"[Narrate|Begin] a {told}.",
            f"[I'd enjoy|I'd be glad of|We'd enjoy] a [tale|story] about {about}.",
            f"Take {about} and tell a story.",
            f"A made-up story about {about}, please.",
            f"What would a story about {about} [be|sound] like? [Tell it.|Tell me.]",
            f"My [class|group|grandchildren] would [love|enjoy] a {told}.",
            f"Just a {told}, nothing more.",
        ),
        notes=(
            f"story about {about}",
            f"[short|little|bedtime] story about {about}",
            f"tale about {about}",
            f"story for kids about {about}",
            f"story please, about {about}",
            f"tell story about {about}",
            f"story {short}",
            f"short story {short}",
            f"bedtime story {short}",
            f"tale {short}",
            f"story for children {short}",
            f"[need|want] story {short}",
            f"story with {about} in it",
            f"[fairy tale|children's story] about {about}",
            f"little tale {short}",
            f"made-up story {short}",
            f"[fiction|short fiction] about {about}",
            f"{short} story",
        ),
        contexts=(
            "[My son|My daughter|The baby] can't sleep. [Tell us|How about|We need] a story "
            f"about {about}.",
            f"The children are [tired|in bed|quiet at last]. Tell them a story about {about}.",
            f"We have ten minutes before bed. How about a story about {about}?",
            f"[I'm bored|The train is late|It is raining outside]. Tell me a tale about {about}.",
            f"Our school paper has a free corner. Write a story about {about} for it.",
            f"I collect stories. [Tell|Write] me one about {about}.",
            f"Story time! Today [I want|we would like|the kids want] one about {about}.",
            f"My [niece|nephew|grandson] loves stories. Tell one about {about}[.|, please.]",
            f"We sit around the fire. Tell us a story about {about}.",
            f"I have to read something aloud [tomorrow|tonight]. Write me a story about {about}.",
            f"Nothing long, please. Just a story about {about}.",
            f"You are a [good|great] storyteller. Tell [me|us] a story about {about}.",
            f"[I need something to read|I want to be entertained]. A story about {about} would "
            "be nice.",
            f"My teacher wants us to write a story. [Mine|It] should be about {about}. Please "
            "write it.",
            f"The theme of the evening is {about}. Tell us a story.",
        ),
    )


WORDINGS |= {
    ("story", "animal"): _stories(
        "[a {name}|the {name}|a little {name}|an old {name}|a child and a {name}]",
        "{name}",
    ),
    ("story", "lost"): _stories(
        "[a {name}|the {name}|a lost {name}|a missing {name}|a {name} that was lost|"
        "somebody who lost a {name}|a child who cannot find the {name}]",
        "lost {name}",
    ),
    ("story", "gift"): _stories(
        "[a {name} as a gift|a {name} that is a gift|a {name} for a birthday|"
        "somebody who gets a {name} as a present|somebody who gives a friend a {name}]",
        "{name} as a gift",
    ),
    ("story", "hobby"): _stories(
        "[somebody who learns {name}|a child who learns {name}|a girl who starts with {name}|"
        "a boy who begins with {name}|{name}]",
        "learning {name}",
    ),
    ("story", "job"): _stories(
        "[a {name}|the {name}|a young {name}|an old {name}|a child who becomes a {name}]",
        "{name}",
    ),
    ("story", "place"): _stories(
        "[a day {at} the {name}|the {name}|an adventure {at} the {name}|a visit to the {name}|"
        "a trip to the {name}|two friends {at} the {name}]",
        "{name}",
    ),
}

_DIALOGUE = Wording(
    (
        f"[Please write|I need] a [|short |little ]dialogue about {_NAMED}.",
        f"Write me a [dialogue|dialog|conversation|chat] about {_NAMED}.",
        f"Write a [|short |little ][dialog|conversation|chat] about {_NAMED}.",
        f"Write [down |]a conversation between two [people|friends] about {_NAMED}.",
        f"Write a [dialogue|conversation] in which two [people|friends] talk about {_NAMED}.",
        f"[Invent|Make up|Create] a [dialogue|conversation|chat] about {_NAMED}.",
        f"[Imagine|Show me] [two people|two friends|two children] talking about {_NAMED}.",
        f"What would two [people|friends|children] say to each other about {_NAMED}?",
        f"Have two [people|friends|children] [talk|chat] about {_NAMED}.",
        f"Let [two children|a boy and a girl|Anna and Tom] [talk|chat] about {_NAMED}.",
        f"I [want|would like] a [dialogue|conversation] about {_NAMED}.",
        f"[Can|Could] you [write|make up] a [dialogue|conversation] about {_NAMED}?",
        f"Two friends are talking about {_NAMED}. [What do they say?|Write it down.]",
        f"One person asks about {_NAMED}, another answers. Write [it|that] down.",
        f"Write a [scene|little play] in which two people talk about {_NAMED}.",
        f"For [my class|my play|school] I need a [dialogue|conversation] about {_NAMED}.",
        f"Make up a little chat between two [people|neighbors|friends] about {_NAMED}.",
        "[I'd like|I need|We need|Please write] a [chat|talk] between two "
        f"[people|friends|neighbors] about {_NAMED}.",
        "[Write|Give me|Show me|Let me read] a conversation between [two strangers|a boy and a "
        f"girl|two children|a mother and a son] about {_NAMED}.",
        "[Write|Give me|Let me hear] a dialogue between [two strangers|two old friends|two "
        f"children|Anna and Tom] about {_NAMED}.",
        f"How would two [people|children|strangers] [talk|chat] about {_NAMED}?",
        f"How would a [chat|conversation|dialogue] about {_NAMED} [go|sound]?",
        f"What might a [chat|conversation|dialogue] about {_NAMED} be like?",
        f"Let two [people|friends|strangers] [discuss|speak about] {_NAMED}.",
        f"Put two people on a bench and let them talk about {_NAMED}.",
        f"[Act|Play] out a [chat|conversation] about {_NAMED}.",
        f"[Be two people|Play both roles] and talk about {_NAMED}.",
        f"A [short |little |]chat about {_NAMED}, please.",
        f"A dialogue about {_NAMED}[, please.|, two people only.]",
        f"A [conversation|talk] of two friends about {_NAMED}, please.",
        f"Write what two friends say about {_NAMED}.",
        f"Write lines for two actors who talk about {_NAMED}.",
        f"Two voices, one topic: {_NAMED}. Write the dialogue.",
        f"[Let me hear|I want to hear|I'd love to read] two people talk about {_NAMED}.",
        f"Give me a few lines of dialogue about {_NAMED}.",
        f"[Could|Can|Would] you write a [chat|talk] between two [people|friends] about {_NAMED}?",
        f"May I have a [dialogue|conversation] about {_NAMED}?",
        f"I'm looking for a [dialogue|conversation|chat] about {_NAMED}.",
        f"Question and answer between two people about {_NAMED}, please.",
        f"One asks, one answers: {_NAMED}.",
    ),
    notes=(
        f"[dialogue|dialog|conversation|chat] about {_NAMED}",
        f"[short|little] [dialogue|conversation] about {_NAMED}",
        f"two [people|friends] talking about {_NAMED}",
        f"dialogue, two friends, {_NAMED}",
        f"conversation of two people about {_NAMED}",
        f"write dialogue about {_NAMED}",
        "dialogue {name}",
        "[conversation|chat] {name}",
        "{name} [dialogue|conversation|chat]",
        f"[little|short] chat about {_NAMED}",
        f"chat between two [people|friends] about {_NAMED}",
        f"[conversation|dialogue] between two [people|children] about {_NAMED}",
        f"two [friends|children|neighbors] chat about {_NAMED}",
        "two people talk {name}",
        "dialogue for two {name}",
        f"lines of dialogue about {_NAMED}",
        f"make up chat about {_NAMED}",
        "need [dialogue|conversation] {name}",
    ),
    contexts=(
        "[I teach English|I give language lessons|My class learns English]. [I need|Please "
        f"write] a dialogue about {_NAMED}.",
        f"We are practicing conversation. Write one about {_NAMED}.",
        f"I'm writing a [play|film|comic]. Two people [talk|chat] about {_NAMED} in it. [Write "
        "it, please.|What do they say?]",
        f"Two neighbors meet in the street. They [talk|chat] about {_NAMED}. [What do they "
        "say?|Write it down.]",
        f"Two children sit on a wall. They talk about {_NAMED}. [What do they say?|Write the "
        "dialogue.]",
        "[A boy and a girl|Two travelers|Two sisters] are on a train. Let them chat about "
        f"{_NAMED}.",
        "My [daughter|son|friend] and I want to act. [Write us|We need] a dialogue about "
        f"{_NAMED}.",
        f"No story, please. [I want|Write] a conversation about {_NAMED}.",
        f"I have two puppets. Let them talk about {_NAMED}.",
        f"We need something to read with two voices. How about a chat about {_NAMED}?",
        f"Imagine a cafe. Two friends are talking about {_NAMED}. [What do they say?|Let me "
        "listen.]",
        f"One person is curious about {_NAMED}. The other one knows a lot. Write their "
        "conversation.",
    ),
)

WORDINGS |= {("dialogue", kind): _DIALOGUE for kind in ("animal", "place", "thing", "job")}

WORDINGS |= {
    ("form", "bullets"): Wording(
        (
            f"[List|Note|Put in a list] [two|several|a few] facts about {_NAMED}.",
            f"[Give me|Write|Make] [a bulleted list|a bullet list|bullet points] about {_NAMED}.",
            f"[Explain|Present|Sum up] {_NAMED} in bullet points.",
            f"[List|Note|Jot down] the [key|main|most important] facts about {_NAMED}.",
            f"[List|Write a list of] what you know about {_NAMED}.",
            f"[I need|I want|I would like] bullet points about {_NAMED}.",
            f"[I need|I want|I would like] a list of facts about {_NAMED}.",
            f"[Can|Could] you list [some|a few] facts about {_NAMED}?",
            f"[Can|Could] you give me bullet points about {_NAMED}?",
            f"What are [some|the main|the key] facts about {_NAMED}? [List them.|As a list.]",
            f"Make [a list|a fact list] about {_NAMED}.",
            f"Bullet points about {_NAMED}, please.",
            f"A [list|short list] of facts about {_NAMED}, please.",
            f"Write a fact sheet about {_NAMED}.",
            f"Show the facts about {_NAMED} as [bullets|bullet points|a bullet list].",
            f"My slide needs bullet points about {_NAMED}.",
        ),
        notes=(
            f"[fact list|list of key facts] about {_NAMED}",
            "{name} [list of facts|fact sheet|bullet points]",
            f"bullet points about {_NAMED}",
            f"list of facts about {_NAMED}",
            f"bullet list {_NAMED}",
            f"{_NAMED} in bullet points",
        ),
    ),
    ("form", "numbers"): Wording(
        (
            f"[Write|Make|Show me|Create] a numbered list [about|of facts about] {_NAMED}.",
            f"Give me a numbered list of facts about {_NAMED}.",
            f"[List|Give me|Tell me] the facts about {_NAMED}[ with numbers|, numbered].",
            f"[I need|I want|I would like] a numbered list about {_NAMED}.",
            f"[I need|I want] numbered facts about {_NAMED}.",
            f"[Can|Could] you [make|write] a numbered list about {_NAMED}?",
            f"[Can|Could] you number the facts about {_NAMED}?",
            f"[Explain|Describe] {_NAMED} in [numbered points|numbered lines].",
            f"Put numbers before the facts about {_NAMED}.",
            f"[Tell me about|Present] {_NAMED} as a numbered list.",
            f"A numbered list about {_NAMED}, please.",
            f"Number [what you know|everything you know] about {_NAMED}.",
            f"What do you know about {_NAMED}? Number [it|the points].",
            f"Write numbered points about {_NAMED}.",
            f"[Show|Write] the facts about {_NAMED} one, two, three, with numbers.",
            f"List facts about {_NAMED} by number.",
        ),
        notes=(
            f"numbered list [about|of facts about] {_NAMED}",
            f"numbered facts about {_NAMED}",
            "{name} [numbered list|numbered facts]",
            f"{_NAMED} as a numbered list",
            f"facts about {_NAMED} with numbers",
            f"numbered points about {_NAMED}",
        ),
    ),
    ("form", "json"): Wording(
        (
            f"[Create|Generate|Return|Output] JSON about {_NAMED}.",
            f"[Create|Generate|Return|Write|Give me] a JSON [object|record|entry] about {_NAMED}.",
            f"[Create|Generate|Return|Write] a JSON [object|record|entry] for {_NAMED}.",
            f"[Put|Write] the facts about {_NAMED} into JSON.",
            f"[Put|Write] what you know about {_NAMED} into a JSON object.",
            f"[Show|Give] me the facts about {_NAMED} [as JSON|as a JSON object].",
            f"[Represent|Encode|Model] {_NAMED} as [JSON|a JSON object].",
            f"[I need|I want|My program needs] JSON [about|for] {_NAMED}.",
            f"[I need|I want|My program needs] a JSON object for {_NAMED}.",
            f"[Can|Could] you [write|give me] JSON about {_NAMED}?",
            f"[Can|Could] you describe {_NAMED} as JSON?",
            f"What does {_NAMED} look like as JSON?",
            f"What would a JSON record of {_NAMED} look like?",
            f"JSON about {_NAMED}, please.",
            f"Turn [the facts|your facts] about {_NAMED} into JSON.",
            f"[Facts|The facts] about {_NAMED}, as a JSON object.",
        ),
        notes=(
            f"JSON [about|for|of] {_NAMED}",
            "{name} [JSON|JSON object|JSON record]",
            f"JSON object [about|for] {_NAMED}",
            f"facts about {_NAMED} as JSON",
            f"JSON record of {_NAMED}",
            f"{_NAMED} as JSON",
        ),
    ),
    ("form", "short"): Wording(
        (
            f"[Sum up|Summarize|Explain|Present] {_NAMED} in [one line|three words|a few words].",
            f"[Describe|Sum up|Summarize] {_NAMED} [briefly|very briefly|in very few words].",
            f"[Give me|Write] one line about {_NAMED}.",
            f"[Give me|Write] a one-line description of {_NAMED}.",
            f"One line about {_NAMED}, please.",
            f"What is the shortest description of {_NAMED}?",
            f"[I need|I want|I would like] one line about {_NAMED}.",
            f"[I need|I want] {_NAMED} [summed up|described] in [one line|a few words].",
            f"[Can|Could] you [describe|sum up] {_NAMED} in [one line|a few words]?",
            f"In [one line|a few words|a single line], what is {_NAMED}?",
            f"In [one line|a few words|a single line], describe {_NAMED}.",
            f"[Say|Tell me] something about {_NAMED} in [one line|a few words].",
            f"[Keep it to one line|Just one line]: {_NAMED}.",
            f"Use [a few|only a few|three] words to describe {_NAMED}.",
            f"How would you describe {_NAMED} in [a few words|one line]?",
            f"Just a few words about {_NAMED}[.|, please.]",
        ),
        notes=(
            f"{_NAMED} in [one line|a few words|three words|brief]",
            f"one line about {_NAMED}",
            "{name} [in one line|in a few words|in brief]",
            f"[short|brief|one-line] description of {_NAMED}",
            f"few words about {_NAMED}",
            f"{_NAMED} briefly",
        ),
    ),
    ("form", "poem"): Wording(
        (
            f"[Please write|Compose|Make up] a [|short |little ]poem about {_NAMED}.",
            f"Write [me |us |]a [poem|small poem|verse] about {_NAMED}.",
            f"[Can|Could|Will] you write [me |]a [|short |little ]poem about {_NAMED}?",
            f"[I want|I need|I would like] a [|short |little ]poem about {_NAMED}.",
            f"[Tell|Read|Give] me a [|short |little ]poem about {_NAMED}.",
            f"[Do you know|Have you got] a [poem|nice poem|little poem] about {_NAMED}?",
            f"A [|short |little ]poem about {_NAMED}, please.",
            f"Write [some|a few|four] lines of [poetry|verse] about {_NAMED}.",
            f"[Describe|Tell me about] {_NAMED} in [a poem|verse|a little poem].",
            f"[Turn|Make] {_NAMED} into a [|short |little ]poem.",
            f"Be a poet and write about {_NAMED}.",
            f"My [daughter|teacher|mother] wants a [|short |little ]poem about {_NAMED}.",
            f"For [a card|school|my wall] I need a [|short |little ]poem about {_NAMED}.",
            f"What would a poem about {_NAMED} [be|sound|look] like?",
            f"Write poetry about {_NAMED}.",
            f"Let me hear a [|short |little ]poem about {_NAMED}.",
            f"[I'd like|I'd love|We'd like] a few verses on {_NAMED}.",
            f"[I want|I need] some verses about {_NAMED}.",
            f"[Write|Give me|Compose] [a few|some] verses [on|about] {_NAMED}.",
            f"[A few|Some] verses [on|about] {_NAMED}, please.",
            f"[Write|Compose|Give me] an ode to {_NAMED}.",
            f"[Got any|Any] poem about {_NAMED}?",
            f"Write a poem with {_NAMED} in it.",
            f"[Put|Set] {_NAMED} into verse.",
            f"Make a poem out of {_NAMED}.",
            f"Sing the praise of {_NAMED} in a poem.",
            f"[How about|What about] a [|short |little ]poem about {_NAMED}?",
            f"[Create|Invent|Think up] a [|short |little ]poem about {_NAMED}.",
            f"[Surprise|Delight] me with a poem about {_NAMED}.",
            f"A poem on {_NAMED}, please.",
            f"What would a poet write about {_NAMED}?",
            f"Say it in verse: {_NAMED}.",
            f"Let {_NAMED} be the subject of a poem.",
            f"Lines of poetry about {_NAMED}, please.",
            f"Write something poetic about {_NAMED}.",
            f"[Can|Could] we have a [|short |little ]poem about {_NAMED}?",
            f"I'm in the mood for a poem about {_NAMED}.",
            f"Express {_NAMED} in poetry.",
            f"Poetry, please: {_NAMED}.",
            f"My [class|grandmother|son] would like a [|short |little ]poem about {_NAMED}.",
        ),
        notes=(
            f"poem about {_NAMED}",
            f"[short|little|small] poem about {_NAMED}",
            "{name} poem",
            f"poetry about {_NAMED}",
            f"a few lines of poetry, {_NAMED}",
            f"verse about {_NAMED}",
            "poem {name}",
            "short poem {name}",
            "[little|small|nice] poem {name}",
            "{name} [verse|verses|poetry|ode]",
            "verses {name}",
            f"[few|some] verses on {_NAMED}",
            f"ode to {_NAMED}",
            f"[poetic|lyrical] lines on {_NAMED}",
            "poem please {name}",
            "[need|want|write] poem {name}",
            f"poem with {_NAMED} in it",
            "poetry {name}",
        ),
        contexts=(
            f"My [mother|friend|teacher] has a birthday. I need a poem about {_NAMED} for the "
            "card.",
            f"I have a [card|blank page|frame on my wall] to fill. Write a poem about {_NAMED}.",
            f"You are a poet. Write a poem about {_NAMED}.",
            f"We have poetry week at school. I need a poem about {_NAMED}.",
            f"[I can't rhyme|I am no poet]. Write me a poem about {_NAMED}.",
            f"I collect poems. [Write me|Give me] one about {_NAMED}.",
            f"No story, no facts. Just a poem about {_NAMED}.",
            f"I feel like poetry today. Give me a few verses on {_NAMED}.",
            f"The school paper wants poems. Write one about {_NAMED}.",
            f"My little girl loves verses. Make some about {_NAMED}.",
            f"The evenings are long and I want poetry. Write a few lines of verse about {_NAMED}.",
            f"Our reading circle meets tonight. I need a poem about {_NAMED}.",
        ),
    ),
}
