"""The table of verbs, in the order in which help lists them; one file per subject."""

from __future__ import annotations

from lora_magic.magics.verb import Verb
from lora_magic.magics.verbs.adapters import ATTACH, DETACH, OPEN, SAVE, SWAP
from lora_magic.magics.verbs.base import LOAD, RESET, USE, VERIFY
from lora_magic.magics.verbs.combining import BLEND, COMPRESS, MERGE, UNMERGE
from lora_magic.magics.verbs.evaluating import EVALUATE
from lora_magic.magics.verbs.exporting import EXPORT
from lora_magic.magics.verbs.inside import LENS, RATIO, SIMILARITY, SPECTRUM
from lora_magic.magics.verbs.looking import (
    ASK,
    BOARD,
    COMPARE,
    DOCTOR,
    HISTORY,
    PANEL,
    STATUS,
)
from lora_magic.magics.verbs.planning import PLAN
from lora_magic.magics.verbs.scripting import SCRIPT
from lora_magic.magics.verbs.serving import SERVE
from lora_magic.magics.verbs.training import DATA, PREVIEW, SWEEP, TRAIN

_WORK = (PLAN, LOAD, USE, ATTACH, DETACH, DATA, PREVIEW, TRAIN, SWEEP, SWAP)
_LOOK = (
    ASK,
    COMPARE,
    EVALUATE,
    BOARD,
    STATUS,
    HISTORY,
    DOCTOR,
    RATIO,
    SPECTRUM,
    SIMILARITY,
    LENS,
    PANEL,
)
_KEEP = (MERGE, UNMERGE, BLEND, COMPRESS, SAVE, OPEN, EXPORT, SCRIPT, SERVE, VERIFY, RESET)

VERBS: dict[str, Verb] = {verb.name: verb for verb in (*_WORK, *_LOOK, *_KEEP)}
