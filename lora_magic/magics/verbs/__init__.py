"""The verbs, in the order in which help lists them: one file each, one call on the session each."""

from __future__ import annotations

from lora_magic.magics.verb import Verb
from lora_magic.magics.verbs import (
    ask,
    attach,
    blend,
    compare,
    compress,
    detach,
    load,
    merge,
    open,  # the verb's name; the builtin is not used here
    panel,
    ratio,
    reset,
    save,
    spectrum,
    status,
    swap,
    train,
    unmerge,
    use,
    verify,
)

VERBS: dict[str, Verb] = {
    module.VERB.name: module.VERB
    for module in (
        load,
        use,
        attach,
        detach,
        train,
        swap,
        ask,
        compare,
        status,
        ratio,
        spectrum,
        panel,
        merge,
        unmerge,
        blend,
        compress,
        save,
        open,
        verify,
        reset,
    )
}
