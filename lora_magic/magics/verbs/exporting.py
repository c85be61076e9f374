"""The verb that writes what leaves the notebook: export."""

from __future__ import annotations

from lora_magic.adapters.spec import BASE_NAME
from lora_magic.export import FORMATS, QUANTISATIONS
from lora_magic.export.formats import KINDS
from lora_magic.magics.variables import data
from lora_magic.magics.verb import AN_ADAPTER, Argument, Call, Thing, Verb, text, whole


def _export(call: Call) -> object:
    """The export; a line says what is being done."""
    watch = None if call.reporter is None else call.reporter.tell
    return call.session.export(**call.words, **call.flags, watch=watch)


EXPORT = Verb(
    "export",
    "write an adapter for other programs, and read it back in another process",
    (
        Argument(
            "NAME", text, "an adapter, or base", "the active one", (BASE_NAME,), AN_ADAPTER, "?"
        ),
        Argument(
            "FOLDER",
            text,
            "the folder to write",
            ".lora_magic/exports/NAME-FORMAT",
            (),
            (Thing.FOLDER,),
            "?",
        ),
        Argument("--to", text, "the format, always needed", "none", FORMATS, shape="FORMAT"),
        Argument(
            "--quantise",
            text,
            "gguf: the numbers' format",
            "as the base's",
            QUANTISATIONS,
            shape="TYPE",
        ),
        Argument("--adapter-only", None, "gguf: write the adapter without the base"),
        Argument("--rank", whole, "pad an adapter's factors with zeros to rank N", "not padded"),
        Argument(
            "--prompts",
            text,
            "a variable or a file with the prompts to check it on",
            "the last ten asked",
            (),
            (Thing.VARIABLE, Thing.FILE),
            shape="VAR|PATH",
            reads=lambda source, variables: data(source, variables, "--prompts"),
        ),
        Argument("--unchecked", None, "do not read it back"),
        Argument("--replace", None, "replace an earlier export in that folder"),
        Argument("--push", text, "upload it to the hub", "not uploaded", shape="OWNER/NAME"),
        Argument("--public", None, "push: let everyone read it"),
        Argument("--yes", None, "push without asking"),
    ),
    (
        "%lora export pirate --to merged",
        "%lora export pirate out/pirate --to peft",
        "%lora export base --to gguf --quantise q8_0",
    ),
    changes=True,
    announces=True,
    run=_export,
    notes=("formats:", *(f"  {name:7} {kind.about}" for name, kind in KINDS.items())),
)
