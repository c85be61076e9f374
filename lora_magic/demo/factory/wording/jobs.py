"""People's own words for jobs, and other names for them.

Data in the form of `parts`; knows no answers.
"""

from __future__ import annotations

from lora_magic.demo.factory.wording import parts

# Other names for a subject, as "family/name".
NAMES: dict[str, tuple[str, ...]] = {
    "job/teacher": ("schoolteacher", "school teacher"),
    "job/doctor": ("physician", "medical doctor"),
    "job/nurse": ("hospital nurse",),
    "job/fisher": ("fisherman",),
    "job/sailor": ("mariner", "deckhand"),
    "job/captain": ("sea captain", "ship captain", "skipper"),
    "job/pilot": ("airline pilot", "airplane pilot", "plane pilot"),
    "job/carpenter": ("woodworker", "joiner"),
    "job/painter": ("artist", "portrait painter"),
    "job/musician": ("violinist",),
    "job/gardener": ("landscaper", "groundskeeper"),
    "job/librarian": ("library assistant",),
    "job/writer": ("author", "novelist"),
    "job/cook": ("chef",),
    "job/waiter": ("waitress", "server"),
    "job/driver": ("bus driver",),
    "job/mechanic": ("car mechanic", "auto mechanic"),
    "job/firefighter": ("fireman", "fire fighter"),
    "job/police officer": ("policeman", "policewoman", "cop"),
    "job/judge": ("magistrate", "court judge"),
    "job/scientist": ("researcher", "lab scientist"),
    "job/engineer": ("civil engineer",),
    "job/postman": ("mailman", "mail carrier", "letter carrier", "postal worker"),
    "job/shopkeeper": ("shop owner", "storekeeper", "store owner"),
    "job/tailor": ("dressmaker", "seamstress"),
    "job/dentist": ("dental surgeon",),
    "job/vet": ("veterinarian", "animal doctor", "veterinary surgeon"),
    "job/actor": ("actress", "stage actor"),
    "job/dancer": ("ballet dancer", "ballerina"),
    "job/beekeeper": ("bee keeper", "apiarist"),
    "job/lighthouse keeper": ("lighthouse attendant",),
    "job/miller": ("mill worker", "flour miller"),
    "job/blacksmith": ("smith", "metalsmith"),
    "job/programmer": ("coder", "software developer", "computer programmer", "developer"),
}

WORDINGS = parts.read("job")
