"""People's own words for hobbies, other names for them, and what one does in them.

Data in the form of `parts`; {verb} is a word of `HOBBY_VERB`. Knows no answers.
"""

from __future__ import annotations

from lora_magic.demo.factory.wording import parts

# Other names for a subject, as "family/name".
NAMES: dict[str, tuple[str, ...]] = {
    "hobby/painting": ("watercolor painting", "watercolour painting"),
    "hobby/gardening": ("growing plants", "home gardening"),
    "hobby/baking": ("home baking", "baking at home"),
    "hobby/running": ("jogging",),
    "hobby/reading": ("reading books",),
    "hobby/knitting": ("hand knitting",),
    "hobby/fishing": ("angling",),
    "hobby/hiking": ("trekking", "hill walking"),
    "hobby/singing": ("singing songs",),
    "hobby/photography": ("taking photos", "taking pictures"),
    "hobby/chess": ("playing chess",),
    "hobby/cycling": ("biking", "bike riding", "riding a bike"),
    "hobby/writing": ("creative writing", "writing stories"),
    "hobby/pottery": ("making pottery", "ceramics"),
    "hobby/astronomy": ("stargazing", "watching the stars"),
    "hobby/bird watching": ("birding", "birdwatching"),
    "hobby/sewing": ("sewing clothes",),
    "hobby/carving": ("wood carving", "whittling"),
    "hobby/climbing": ("rock climbing",),
    "hobby/camping": ("going camping", "camping out"),
    "hobby/juggling": ("juggling balls",),
    "hobby/playing the guitar": ("guitar", "guitar playing", "playing guitar"),
}
# What one does in a hobby: follows "to", "how to" and "I want to".
HOBBY_VERB: dict[str, str] = {
    "painting": "paint",
    "gardening": "grow plants",
    "baking": "bake",
    "running": "run",
    "swimming": "swim",
    "reading": "read more",
    "knitting": "knit",
    "fishing": "fish",
    "hiking": "hike",
    "singing": "sing",
    "dancing": "dance",
    "photography": "take photos",
    "chess": "play chess",
    "cycling": "cycle",
    "writing": "write",
    "pottery": "make pottery",
    "astronomy": "look at the stars",
    "bird watching": "watch birds",
    "sewing": "sew",
    "carving": "carve wood",
    "climbing": "climb",
    "camping": "camp",
    "juggling": "juggle",
    "playing the guitar": "play the guitar",
}

WORDINGS = parts.read("hobby")
