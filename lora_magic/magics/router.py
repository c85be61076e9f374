"""`%lora`, `%%lora` and `%%lora_train`: parse, one call on the session, show.

Knows the verbs' table; does not know what a verb does.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)

from lora_magic.errors import CommandError, Interrupted
from lora_magic.magics.aliases import verb_for
from lora_magic.magics.parser import Parsed, help_for, parse
from lora_magic.magics.places import Place, place_in
from lora_magic.magics.prompts import notes_on, prompts_of
from lora_magic.magics.shell import session_for
from lora_magic.magics.show import (
    Announcement,
    announced,
    has_person,
    keep,
    say,
    show,
    show_below,
)
from lora_magic.magics.verb import Call, Verb
from lora_magic.magics.verbs import VERBS
from lora_magic.magics.words import expand
from lora_magic.state.session_state import import_libraries, libraries_imported

#: The line above the first verb's result while the libraries are imported.
IMPORTING = "importing torch, transformers, peft …"


@magics_class
class LoraMagics(Magics):  # type: ignore[misc]  # IPython is read without types
    """The two magics of the extension."""

    @no_var_expand  # type: ignore[untyped-decorator]  # IPython is read without types
    @needs_local_scope  # type: ignore[untyped-decorator]  # likewise
    @line_cell_magic  # type: ignore[untyped-decorator]  # likewise
    def lora(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> Any:
        """Adapt a model in the notebook: `%lora --help` lists the verbs."""
        return run(self.shell, line, cell, local_ns or {})

    @no_var_expand  # type: ignore[untyped-decorator]  # likewise
    @needs_local_scope  # type: ignore[untyped-decorator]  # likewise
    @line_cell_magic  # type: ignore[untyped-decorator]  # likewise
    def lora_train(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> Any:
        """`%%lora_train NAME`: train an adapter on the rows below."""
        place, typed = Place.of(line)
        return run(self.shell, f"{place.value}train {typed}", cell, local_ns or {})


def run(shell: Any, marked: str, cell: str | None, local: Mapping[str, Any]) -> Any:
    """Run one line, with the cell below it if there is one.

    Raises a `LoraMagicError`, for an interrupt (■) too; IPython shows it as one line, and Run All
    stops.
    """
    try:
        return _run(shell, marked, cell, local)
    except KeyboardInterrupt:
        word = _first(Place.of(marked)[1])[0]
        raise Interrupted(
            f"%lora {word} was stopped; to see the session's state, type: %lora"
        ) from None


def _run(shell: Any, marked: str, cell: str | None, local: Mapping[str, Any]) -> Any:
    place, line = Place.of(marked)
    if place is Place.VALUE:
        place = place_in(shell, marked)
    line, silent = _without_semicolon(line)
    word, rest = _first(line)
    if word in ("help", "--help", "-h", "?", "??"):
        say(overview())
        return None
    verb = VERBS[verb_for(word.rstrip("?") or word, VERBS)]
    if word.endswith("?") and not rest.strip():
        say(help_for(verb))
        return None
    variables = ChainMap(dict(local), shell.user_ns)
    body = _body(verb, cell)
    parsed = parse(verb, rest, lambda text: expand(text, variables), cell=cell is not None)
    if parsed.help:
        say(help_for(verb))
        return None
    call = _call(shell, verb, parsed, body, variables, silent=silent)
    alone = bool(call.flags.keys() & verb.alone)
    if verb.imports and not libraries_imported() and not alone:
        with announced(shell, IMPORTING):
            import_libraries()
    try:
        value = verb(call)
        ended = getattr(value, "stopped", False)
        if parsed.out is not None:
            shell.user_ns[parsed.out] = value
            place = Place.VALUE
        if verb.answers and call.reporter and (ended or place is not Place.VALUE):
            call.reporter.finish(value)
    finally:
        if call.reporter is not None:
            call.reporter.close()
    if verb.controls and place is Place.LAST and not silent and has_person(shell):
        start = verb.controls(call)
        if start is not None:
            show_below(shell, lambda: call.session.panel(verb.name, **start))
    shown = call.reporter is not None and call.reporter.finished
    if ended:
        # An error assigns nothing and displays no value: what was computed would be lost.
        keep(shell, value)
        show(value, changes=verb.changes, place=Place.STATEMENT, silent=silent, shown=shown)
        where = "kept as _" if silent else "shown above, and kept as _"
        raise Interrupted(f"%lora {verb.name} was stopped; what it has so far is {where}.")
    if shown and not verb.changes and place is Place.LAST:
        keep(shell, value)
        return None
    kept = show(value, changes=verb.changes, place=place, silent=silent, shown=shown)
    return None if parsed.out is not None else kept


def _call(
    shell: Any,
    verb: Verb,
    parsed: Parsed,
    body: str | None,
    variables: Mapping[str, Any],
    *,
    silent: bool,
) -> Call:
    """The call that a line describes, with the objects it names; prints the notes on it."""
    prompts = prompts_of(verb, parsed.prompt, body, parsed.flags) if verb.prompt else []
    notes = [*parsed.notes, *(note for one in prompts for note in notes_on(one, verb, variables))]
    for note in notes if not silent else ():
        say(note)
    flags = dict(parsed.flags)
    known = {**session_for(shell).kept, **variables}
    for argument in verb.arguments:
        if argument.reads is not None and argument.key in flags:
            flags[argument.key] = argument.reads(flags[argument.key], known)
    reporter: Any = None
    if (verb.trains or verb.answers) and not silent:
        from lora_magic.magics.progress import AnswerReporter, reporter_for

        reporter = reporter_for(shell) if verb.trains else AnswerReporter(shell)
    elif verb.announces and not silent:
        reporter = Announcement(shell)
    return Call(session_for(shell), parsed.words, flags, prompts, body, variables, reporter)


def overview() -> str:
    """What `%lora --help` prints: every verb in one line."""
    width = max(len(name) for name in VERBS)
    lines = [f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS.values()]
    return "\n".join(
        [
            "%lora VERB …            adapt a model in this notebook",
            "%%lora_train NAME       train an adapter on the rows typed below it",
            "%lora VERB --help       its arguments and their defaults",
            "x = %lora VERB …        keep the value; a final ; shows nothing",
            "",
            *lines,
        ]
    )


# What `%lora?` shows. IPython's help reads a function's docstring, so it is set at import; the
# verbs' table is cheap.
LoraMagics.lora.__doc__ = overview()
LoraMagics.lora_train.__doc__ = help_for(VERBS["train"])


def _without_semicolon(line: str) -> tuple[str, bool]:
    line = line.strip()
    return (line[:-1].rstrip(), True) if line.endswith(";") else (line, False)


def _first(line: str) -> tuple[str, str]:
    """The verb's word and the rest; a line with nothing on it is `status`."""
    if not line or line.startswith("#"):
        return "status", ""
    word, *rest = line.split(None, 1)
    return word, "".join(rest)


def _body(verb: Verb, cell: str | None) -> str | None:
    """The cell's text; None if it is blank and the verb does not need it."""
    if cell is None or (not cell.strip() and not verb.trains):
        return None
    if not verb.body:
        takers = ", ".join(f"%%lora {name}" for name, other in VERBS.items() if other.body)
        raise CommandError(
            f"%%lora {verb.name} takes no text below it; {takers} do. Type %lora {verb.name} …"
        )
    return cell
