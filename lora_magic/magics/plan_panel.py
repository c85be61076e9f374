"""The controls of `plan`: a choice becomes a line of `%lora plan`, and its plan is shown.

Knows the verb's table and the session; imports no torch, unlike `panel`, since a plan needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython

from lora_magic.adapters.methods import METHODS, method_of
from lora_magic.errors import CommandError, near
from lora_magic.magics.parser import parse
from lora_magic.magics.verb import Call
from lora_magic.magics.verbs.looking import VIEWS
from lora_magic.magics.verbs.planning import PLAN
from lora_magic.magics.words import expand
from lora_magic.paths import quoted
from lora_magic.views.controls.outputs import outputs
from lora_magic.views.controls.plan import CONTROLS, PlanChoices, PlanControls
from lora_magic.views.controls.widgets import close
from lora_magic.views.ratio import to_type

if TYPE_CHECKING:
    from lora_magic.state.session import Session

_ARGUMENTS = {argument.key: argument for argument in PLAN.arguments if not argument.short_for}
_MODEL, _HERE = "model", "here"


class PlanPanel:
    """The controls below a plan, or a panel of them alone."""

    def __init__(self, session: Session, start: Mapping[str, Any]) -> None:
        odd = [name for name in start if name not in _ARGUMENTS]
        if odd:
            raise CommandError(
                f"panel: unknown panel option {odd[0]!r}; expected one of {', '.join(_ARGUMENTS)}."
                f"{near(odd[0], tuple(_ARGUMENTS))}"
            )
        self._session, self._start = session, dict(start)
        self._open()

    def _open(self) -> None:
        self._controls = controls_of(self._session, self._start)
        self.widget = self._controls.widget
        # Below a record, which shows the first plan, the page stays empty.
        if not self._start:
            self._controls.refresh()
        self._closed = False

    @property
    def title(self) -> str:
        """What the controls are for."""
        return VIEWS["plan"]

    def outputs(self) -> list[dict[str, Any]]:
        """The MIME bundles to display, one after the other. Closed controls are made again."""
        if self._closed:
            self._open()
        return outputs(self.widget, self.title)

    def __repr__(self) -> str:
        return f"{self.title} The controls need a notebook."

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """The controls alone, for a shell without the extension."""
        return {**self.outputs()[-1], "text/plain": repr(self)}

    def close(self) -> None:
        """Remove the controls. May be called twice."""
        self._closed = True
        close(self.widget)


def controls_of(session: Session, start: Mapping[str, Any]) -> PlanControls:
    """The controls over a session, which begin with these flags.

    Flags that have no control are kept, where the chosen method reads them.
    """
    begin = {name: _text(value) for name, value in start.items() if value not in (None, False)}
    choices = PlanChoices(
        models=_ARGUMENTS[_MODEL].words,
        methods=list(METHODS),
        ranked=[name for name, method in METHODS.items() if method.reads("rank")],
        bits=_ARGUMENTS["bits"].words,
        cards=tuple(dict.fromkeys((*_ARGUMENTS["gpu"].words, _HERE))),
    )

    hidden = {name: text for name, text in begin.items() if name not in CONTROLS}

    def replan(flags: Mapping[str, str]) -> str:
        method = method_of(flags["method"])
        read = {n: t for n, t in hidden.items() if n not in _OF_SPEC or method.reads(n)}
        return _page(session, {**flags, **read})

    return PlanControls(choices, begin, replan)


#: Flags that only some methods read.
_OF_SPEC = frozenset(name for method in METHODS.values() for name in method.takes)


def _text(value: Any) -> str:
    """A flag's value as it is typed; raises `CommandError` for one that cannot be typed."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    if not isinstance(value, (str, int, float)):
        raise CommandError(
            f"panel: expected the name of a model or the text of a flag, got "
            f"{type(value).__name__}; type session.plan(…) for an object."
        )
    return str(value)


def _page(session: Session, flags: Mapping[str, str]) -> str:
    """The plan of a line with these flags, and the line."""
    typed = " ".join(
        quoted(text) if name == _MODEL else _flag(name, text) for name, text in flags.items()
    )
    shell = get_ipython()
    variables = shell.user_ns if shell else {}
    parsed = parse(PLAN, typed, lambda text: expand(text, variables), cell=False)
    # The loaded base is not read while a verb changes it.
    with nullcontext() if _MODEL in flags else session._lock.locked():
        found: Any = PLAN(Call(session, parsed.words, parsed.flags, variables=variables))
    line = to_type("The same as a line", f"%lora plan {typed}")
    return f"{line}{found._repr_mimebundle_()['text/html']}"


def _flag(name: str, text: str) -> str:
    argument = _ARGUMENTS[name]
    return argument.name if argument.kind is None else f"{argument.name} {quoted(text)}"
