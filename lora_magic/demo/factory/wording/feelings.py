"""People's own words for feelings, and other names for them.

Data in the form of `parts`; {noun} is of `FEELING_NOUN`, {said} of `statements`. Knows no answers.
"""

from __future__ import annotations

from lora_magic.demo.factory.wording import parts

# Other adjectives for a feeling, as "family/name".
NAMES: dict[str, tuple[str, ...]] = {
    "feeling/sad": ("unhappy", "miserable", "heartbroken", "gloomy", "tearful", "downhearted"),
    "feeling/angry": ("mad", "furious", "cross", "enraged", "annoyed", "livid", "irritated"),
    "feeling/nervous": ("anxious", "on edge", "jittery"),
    "feeling/lonely": (
        "isolated",
        "lonesome",
    ),
    "feeling/tired": ("exhausted", "sleepy", "worn out", "weary", "drained", "fatigued"),
    "feeling/afraid": ("scared", "frightened", "terrified", "fearful", "petrified"),
    "feeling/jealous": ("envious",),
    "feeling/ashamed": ("embarrassed", "guilty"),
    "feeling/worried": ("concerned", "troubled"),
    "feeling/proud": ("full of pride",),
    "feeling/happy": ("glad", "joyful", "cheerful", "delighted", "overjoyed", "full of joy"),
    "feeling/excited": ("thrilled", "hyped up", "full of excitement"),
    "feeling/confused": ("puzzled", "baffled", "bewildered", "perplexed"),
    "feeling/grateful": ("thankful", "appreciative", "full of gratitude"),
    "feeling/disappointed": ("let down", "disillusioned"),
}
FEELING_NOUN: dict[str, str] = {
    "sad": "sadness",
    "angry": "anger",
    "nervous": "nervousness",
    "lonely": "loneliness",
    "tired": "tiredness",
    "bored": "boredom",
    "afraid": "fear",
    "jealous": "jealousy",
    "ashamed": "shame",
    "worried": "worry",
    "proud": "pride",
    "happy": "happiness",
    "excited": "excitement",
    "confused": "confusion",
    "grateful": "gratitude",
    "disappointed": "disappointment",
}

WORDINGS = parts.read("feeling")
