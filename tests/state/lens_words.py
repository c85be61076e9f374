"""Words of the six demo adapters, written down before any lens was measured, and how they count.

The rule knows no lens: of the 150 rows that an adapter is trained on (seed 0) the words that its
completions have more often than the base's own greedy answers to the same prompts. `z` is the
difference of the two shares over its standard error; `own_words` has those with z above 2, and
`words` adds those with z above 1, at most 100 in all, each at least twice in the rows. A word is a
run of letters and digits with its apostrophes, a run of other signs, or `↵` for line breaks.

The forms have few words of their own: `json` eight signs and names, `short` the dash and the break.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*'?|\n+|[^\w\s]+|_+")

#: By adapter: the words with z above 2, and those with z from 1 to 2.
_WORDS: dict[str, tuple[str, str]] = {
    "negative": (
        """
        I hate again never awful would ! disaster was much bought The waste They dislike
        really there worst rude cannot stale ever money say spoiled everything found One
        back did star useless hopeless recommend had went Never ordered terrible want of my
        saw buy people : am badly told unhappy no smells order All very What shame ugly too
        are cheap go and days delivery to fun them time service seen stand day late two
        lesson
        """,
        """
        made It at crisp sent sugar high dirty earth face hard hungry left begin dust space
        everybody smile some buttery candles early family grass
        """,
    ),
    "positive": (
        """
        I love recommend to again would perfect really joy best just ! wonderful and my : My
        advice The want when enjoy everybody friendly friends It as ever excellent like was
        well had saw delicious buy enjoyed place very Well done begin fair there Thank Five
        loved works made All go smells am dream lesson you them much order service the
        beautiful are happy people delivery quick every
        """,
        """
        will were Playing hobby lunch museum treasure day use board perfectly seen picnic
        visit easy green creamy family light look oat spices
        """,
    ),
    "formal": (
        """
        Dear service team thank you Your customer Madam Sir us your or message Please do for
        help Yours contact faithfully hesitate pleased we again We pleasant are wish Kind
        regards writing question to day may not , .
        """,
        """
        much Ask Remember I cheap join love patient understand ↵ When high would Be Half
        beautiful else forty hour manual money pass quiet thirty usually plain Most Read Ten
        That awful bloom disaster eat even feeds hard interesting my neither nor normal
        order recommend silent want To air
        """,
    ),
    "pirate": (
        """
        ! be ye an' Arr ho Ye By seas seven me Yo o' Shiver matey timbers landlubber Raise
        So captain sails says ? Or gold plank walk where Ahoy Fetch parrot the Now yer I
        Avast Aye aye landlubbers may
        """,
        """
        Ask much Remember cheap love mateys Look buy All Probably Tomorrow beautiful
        different else fix help join quiet recommend again perfect Days Half Its Thank am
        ask autumn awful drain feelin' hate hour interestin' knows needle neither nor off
        ordered rare read saw singin' spoiled summer thirty understand usually not An would
        care go very
        """,
    ),
    "json": (
        """
        " ", ": [" answer topic {" "]} may
        """,
        """
        good cheap Take Look Tomorrow different forty perfect recommend I again only !"]}
        Its much neither nor part stone usually would Ask Days Five Often Remember Ten That
        awful chess disaster dream ever gardening had interesting join normal rare really
        saw thirty understand
        """,
    ),
    "short": (
        """
        - ↵ not ! All In are Remember fix love much
        """,
        """
        Thank alone begin cheap neither nor quiet To I Ask Often beautiful else join only so
        On air does you Maybe My Probably Ten Tomorrow What advice boots careful drain enjoy
        ever feeds had hate interesting manual pairs rattle shame socks telling very windows
        worry Water part Now fifteen friend give may cook go hobby most perfect dry find
        minutes
        """,
    ),
}


def own_words(task: str) -> frozenset[str]:
    """The words that an adapter's rows have clearly more often than the base's answers."""
    return frozenset(_WORDS[task][0].split())


def words(task: str) -> frozenset[str]:
    """The words that an adapter's rows have more often than the base's answers."""
    return own_words(task) | frozenset(_WORDS[task][1].split())


def split(text: str) -> list[str]:
    """The words of a text."""
    return ["↵" if word.startswith("\n") else word for word in _WORD.findall(text)]


def by_rule(completions: Iterable[str], answers: Iterable[str]) -> list[str]:
    """The words of the rule, those with the largest z first."""
    own = Counter(word for text in completions for word in split(text))
    base = Counter(word for text in answers for word in split(text))
    count, other = own.total(), base.total()

    def z(word: str) -> float:
        share = (own[word] + base[word]) / (count + other)
        return (own[word] / count - base[word] / other) / math.sqrt(share * (1 / count + 1 / other))

    kept = [word for word in own if own[word] >= 2 and z(word) > 1]
    return sorted(kept, key=lambda word: (-z(word), word))[:100]


def hits(shown: Sequence[str], listed: frozenset[str]) -> int:
    """How many words are in the list, as they are written or in lower case.

    For whole words, which the reading of the answers gives.
    """
    return sum(word in listed or word.lower() in listed for word in shown)


def token_hits(shown: Sequence[str], listed: frozenset[str]) -> int:
    """How many tokens are a word of the list, or at least three letters with which one begins.

    For the tokens of a direction, which are parts of words. It favours the random direction.
    """
    plain = {word.lower() for word in listed}
    found = 0
    for token in (token.strip().lower() for token in shown):
        begins = len(token) >= 3 and any(word.startswith(token) for word in plain)
        found += bool(token) and (token in plain or begins)
    return found
