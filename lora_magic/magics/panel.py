"""Controls over a session: a choice becomes a call on the session, and its result is shown.

Knows the session and what can be chosen in it; how controls look and behave is up to the views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.spec import ALL_LINEAR, ATTENTION, BASE_NAME, AdapterSpec
from lora_magic.adapters.targets import leaf_names, resolve
from lora_magic.errors import AdapterError, CommandError, listed, near
from lora_magic.evaluation.board import FALLING, Board
from lora_magic.lowrank.spectrum import MEASURES, Spectrum
from lora_magic.magics.plan_panel import controls_of
from lora_magic.magics.prompts import blocks_of
from lora_magic.magics.verbs.looking import VIEWS
from lora_magic.paths import quoted
from lora_magic.state.queries import adapter_names, compared, prompt_of, spec_of
from lora_magic.state.resolve import resolve_spec
from lora_magic.views import spectrum as spectrum_view
from lora_magic.views.board import columns, table_html
from lora_magic.views.comparison import progress_bundle
from lora_magic.views.controls.board import BoardControls
from lora_magic.views.controls.compare import CompareControls, Follow, Request
from lora_magic.views.controls.outputs import outputs
from lora_magic.views.controls.plan import PlanControls
from lora_magic.views.controls.ratio import Choices, Plan, RatioControls
from lora_magic.views.controls.spectrum import SpectrumControls
from lora_magic.views.controls.widgets import PanelControls, close
from lora_magic.views.ratio import to_type

if TYPE_CHECKING:
    from lora_magic.compare.comparison import Unfinished
    from lora_magic.state.session import Session

#: Up to this Σ d·k·min(d, k) the singular values of dense ΔW are computed at once: about a second.
AT_ONCE = 4e9
#: What the spectrum's heat map shows at first, and how many σ its picker offers.
EFFECTIVE, SIGMAS = "effective_rank", 16
TITLE = "Ratio, spectrum, comparison, board and plan of this session."


class Panel:
    """The controls of one verb, or those of all five in tabs under the session's status.

    After every verb they are updated to the session's state.
    """

    def __init__(self, session: Session, view: str | None, start: Mapping[str, Any]) -> None:
        if view is not None and view not in VIEWS:
            raise CommandError(
                f"panel {view!r}: expected one of {', '.join(VIEWS)}, or no view for all of them."
                f"{near(str(view), VIEWS)}"
            )
        odd = [name for name in start if name not in _STARTS]
        if odd:
            raise CommandError(
                f"panel: unknown panel option {odd[0]!r}; expected one of {', '.join(_STARTS)}."
                f"{near(odd[0], _STARTS)}"
            )
        self._session, self._view, self._start = session, view, dict(start)
        self._busy = False
        self._base: object = None
        self._histories: object = None
        self._merged: str | None = None
        self._ratio: RatioControls | None = None
        self._spectrum: SpectrumControls | None = None
        self._spectra: Spectrum | None = None
        self._compare: CompareControls | None = None
        self._board: BoardControls | None = None
        self._open()
        session._lock.listen(self._changed)

    def _open(self) -> None:
        self._plan: PlanControls | None = None
        if self._view is None:
            self._panel = PanelControls()
            self._refresh()
            self.widget = self._panel.widget
        else:
            self.widget = self._make(self._view)
            if not self._start or self._view == "spectrum":
                self._fill()
            self._remember()
        self._closed = False

    @property
    def title(self) -> str:
        """What the controls are for."""
        return TITLE if self._view is None else VIEWS[self._view]

    def outputs(self) -> list[dict[str, Any]]:
        """The MIME bundles to display, one after the other. Closed controls are made again."""

        if self._closed:
            self._open()
        record = self._session.status()._repr_mimebundle_() if self._view is None else None
        return outputs(self.widget, self.title, record)

    def __repr__(self) -> str:
        status = "" if self._view else f"{self._session.status()!r}\n"
        return f"{status}{self.title} The controls need a notebook."

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """The controls alone, for a shell without the extension."""
        return {**self.outputs()[-1], "text/plain": repr(self)}

    def close(self) -> None:
        """Remove the controls, and stop following the session. May be called twice."""

        self._closed = True
        self._drop()()
        close(self.widget)

    # Following the session

    def _changed(self, doing: str) -> None:
        # A control's own call is a verb too, and would call this again.
        if self._busy or self._closed:
            return
        if self._compare is not None:
            self._compare.busy(doing)
        if doing:
            return
        self._busy = True
        try:
            self._refresh()
        finally:
            self._busy = False

    def _refresh(self) -> None:
        """Update the controls to the session's state."""
        session, planned = self._session, self._plan
        another = session._state.empty or self._base_now != self._base
        drop = self._drop() if another and self._view is None else None
        if self._view is None:
            self._panel.show(_page_of(session.status()), self._tabs())
        if drop is not None:
            drop()
        moved = another or self._histories != self._histories_now or self._merged != session.merged
        if self._spectrum is not None and moved:
            self._follow(self._spectrum)
        if self._compare is not None:
            self._compare.offer(self._answering())
        if self._board is not None and not another and self._board.page.html:
            self._show_board(self._board)
        if planned is not None and self._base_now != self._base and not planned.model.value:
            planned.refresh()
        self._remember()

    def _drop(self) -> Callable[[], None]:
        """Forget the controls; the returned function closes them."""

        every = (self._ratio, self._spectrum, self._compare, self._board)
        made = [one for one in every if one is not None]
        if self._compare is not None:
            self._compare.stop_answering()
        self._ratio = self._spectrum = self._compare = self._board = None
        self._spectra = None

        def closing() -> None:
            for one in made:
                close(one.widget)

        return closing

    def _remember(self) -> None:
        self._base, self._histories = self._base_now, self._histories_now
        self._merged = self._session.merged

    @property
    def _base_now(self) -> object:
        state = self._session._state
        return None if state.empty else (state.key, id(state.base.model))

    @property
    def _histories_now(self) -> object:
        return {name: record.history for name, record in self._session.adapters.items()}

    def _tabs(self) -> dict[str, Any]:
        # A plan needs no base, so its controls stay when another one is loaded.
        views = ("plan",) if self._session._state.empty else tuple(VIEWS)
        fresh = self._ratio is None
        tabs = {name.capitalize(): self._make(name) for name in views}
        if fresh and self._ratio is not None:
            self._ratio.refresh()
        if fresh and self._board is not None:
            self._show_board(self._board)
        return tabs

    def _make(self, view: str) -> Any:
        """The widget of one verb's controls, made on first use.

        Raises `StateError` if no base is loaded and it needs one.
        """
        if view == "plan":
            if self._plan is None:
                self._plan = controls_of(self._session, {})
                self._plan.refresh()
            return self._plan.widget
        _ = self._session._state.base
        if view == "ratio":
            self._ratio = self._ratio or self._ratio_controls()
            return self._ratio.widget
        if view == "spectrum":
            self._spectrum = self._spectrum or self._spectrum_controls()
            return self._spectrum.widget
        if view == "board":
            self._board = self._board or self._board_controls()
            return self._board.widget
        self._compare = self._compare or self._compare_controls()
        return self._compare.widget

    def _fill(self) -> None:
        """Show the initial choice, for controls without a record above that shows it."""
        if self._ratio is not None:
            self._ratio.refresh()
        if self._spectrum is not None:
            below = set(self._start) - {"adapters"}
            self._follow(self._spectrum)
            if below:
                self._spectrum.page.put("")
        if self._board is not None:
            self._show_board(self._board)

    def _initial_adapters(self) -> list[str]:
        """The adapters to begin with, from a list or comma-separated names."""
        given = self._start.get("adapters")
        return adapter_names(given) if given else []

    # Ratio

    def _ratio_controls(self) -> RatioControls:

        return RatioControls(self._choices(), self._recount)

    def _choices(self) -> Choices:

        state = self._session._state
        shapes, head = state.slots.shapes, state.base.task.head
        linear = resolve(shapes, ALL_LINEAR, head)
        begin = self._spec()
        usual = resolve_spec("plan", state.base.recipe, {}).targets
        sets: dict[str, Sequence[str]] = {}
        for name in dict.fromkeys((usual, ATTENTION, ALL_LINEAR, begin.targets)):
            try:
                sets[name] = leaf_names(resolve(shapes, name, head))
            except AdapterError:
                continue  # This base has no attention, or these targets take no low-rank layers.
        return Choices(
            methods=list(METHODS),
            largest_rank=max(min(shapes.modules[path].sides) for path in linear),
            kinds=leaf_names(linear),
            sets=sets,
            method=begin.method,
            rank=begin.rank or state.base.recipe.rank,
            targets=begin.targets if begin.targets in sets else usual,
        )

    def _spec(self) -> AdapterSpec:
        """The spec to begin with: the active adapter's, changed by the given options."""
        flags = {k: self._start.get(k) for k in ("method", "rank", "targets")}
        return spec_of(self._session._state, self._start.get("adapter"), flags)

    def _recount(self, method: str, rank: int, targets: str, matrix: str | None) -> Plan:

        reads = METHODS[method].takes
        flags: dict[str, Any] = {"method": method}
        flags |= {"rank": rank} if "rank" in reads else {}
        # (IA)³ and the bottlenecks have their own default modules.
        flags |= {"targets": targets} if "targets" in reads and method in _BY_MATRIX else {}
        tokens = self._start.get("virtual_tokens")
        flags |= {"virtual_tokens": tokens} if "virtual_tokens" in reads and tokens else {}
        found: Any = self._session.ratio(**flags)
        offered = frozenset(flags) - {"method"}
        typed = " ".join(f"--{k.replace('_', '-')} {quoted(v)}" for k, v in flags.items())
        command: str = to_type("To attach it, type", f"%lora attach NAME {typed}")
        if matrix is not None and matrix not in found.matrices and found.matrices:
            one: Any = self._session.ratio(matrix=matrix, rank=flags.get("rank"))
            command += to_type("This matrix alone", one.command)
            return Plan(f"{command}{found.bundle(one)['text/html']}", found.matrices, offered)
        drawn = found.largest(matrix)
        shape = (drawn.outputs, drawn.inputs) if drawn.rank else None
        page = f"{command}{found.bundle(matrix)['text/html']}"
        return Plan(page, found.matrices, offered, shape)

    # Spectrum

    def _spectrum_controls(self) -> SpectrumControls:
        return SpectrumControls(self._look, str(self._start.get("measure") or EFFECTIVE))

    def _with_spectrum(self) -> list[str]:
        """The adapters to show: the named ones, or, in the spectrum's own panel, the active ones
        (as the verb does), else all that have a ΔW."""
        state = self._session._state
        active = [] if self._view is None else list(state.active_names)
        chosen = self._initial_adapters() or active
        attached = state.attached
        return [
            name
            for name, one in attached.items()
            if (name in chosen or not chosen) and not one.method.no_spectrum
        ]

    def _follow(self, controls: SpectrumControls) -> None:
        """Show the current spectra; those of dense ΔW only if they are quick to compute."""
        names = self._with_spectrum()
        attached = self._session._state.attached
        merged = self._session.merged
        dense = [n for n in names if n == merged or attached[n].stackable() is None]
        sizes = [(c.outputs, c.inputs) for name in dense for c in attached[name].counts]
        slow = dense if sum(d * k * min(d, k) for d, k in sizes) > AT_ONCE else []
        quick = [name for name in names if name not in slow]
        controls.page.put("")
        if quick or not slow:
            controls.page.show(lambda: self._look_again(controls, quick))
        if slow:
            controls.page.say(
                f"ΔW of {listed(slow)} is dense, so its singular values take a while; type: "
                f"%lora spectrum {slow[0]}"
            )

    def _look_again(self, controls: SpectrumControls, names: Sequence[str]) -> str:
        """The page after a change of the session; the chosen module stays if it is there."""
        marked = bool(self._start.get("intruders"))
        with self._session._lock.at_once():
            found = self._session.spectrum(*names, intruders=marked)
        chosen = controls.chosen or self._started_with(names)
        self._spectra, self._start = found, {**self._start, "module": None}
        sigmas = [f"sigma_{n}" for n in range(1, 1 + max((r.index for r in found.rows), default=0))]
        now = str(controls.measure.value)
        measures = [*MEASURES, *sigmas[:SIGMAS], *({now} & {*sigmas[SIGMAS:]})]
        offered = [one for one in measures if one != "intruders" or marked]
        controls.offer(offered, found.modules, chosen)
        return self._look(controls.chosen, str(controls.measure.value))

    def _started_with(self, names: Sequence[str]) -> str | None:
        """The module that the panel begins with, if its option names one alone."""
        if self._start.get("module") is None:
            return None
        with self._session._lock.at_once():
            found = self._session.spectrum(*names, module=self._start["module"]).modules
        return found[0] if len(found) == 1 else None

    def _look(self, module: str | None, measure: str) -> str:
        """The page of one module, or of all by a measure."""
        found = self._spectra
        assert found is not None  # what can be chosen is offered with the spectra
        if module is not None:
            having = dict.fromkeys(row.adapter for row in found.rows if row.module == module)
            with self._session._lock.at_once():
                found = self._session.spectrum(*having, module=module)
            return str(spectrum_view.page(found, live=True))
        return str(spectrum_view.page(replace(found, measure=measure), live=True))

    # Board

    def _board_controls(self) -> BoardControls:
        sort = self._start.get("sort")
        return BoardControls(self._board_columns(), FALLING, self._sorted, sort)

    def _board_now(self) -> Board:
        names = [name for name in self._initial_adapters() if name in self._session.adapters]
        return self._session.board(*names)

    def _board_columns(self) -> list[str]:
        return columns(self._board_now())

    def _sorted(self, column: str | None, falling: bool) -> str:
        board = self._board_now()
        if column is None:
            return table_html(board)
        order = f"{column}, {'highest' if falling else 'lowest'} first"
        return table_html(board.sorted(column, falling), order)

    def _show_board(self, controls: BoardControls) -> None:
        """The table as it is now."""
        controls.offer(self._board_columns())
        controls.refresh()

    # Comparison

    def _compare_controls(self) -> CompareControls:

        given = {k: v for k, v in self._start.items() if k in _ANSWERS and v is not None}
        named = self._start.get("adapters") is not None
        state = self._session._state
        usual = {*compared(state), *([] if state.active in state.attached else [state.active])}
        chosen = self._initial_adapters() if named else [n for n in self._answering() if n in usual]
        adapters = tuple(name for name in chosen if name != BASE_NAME)
        prompt = self._start.get("prompt") or prompt_of(state.view())
        start = Request(prompt, adapters, **given)
        samples = not self._session._state.base.task.classifies
        return CompareControls(self._answering(), self._answer, start, samples=samples)

    def _answering(self) -> list[str]:
        """What can be compared with the base: each adapter, and several active together."""
        state = self._session._state
        return [*state.attached, *([state.active] if len(state.active_names) > 1 else [])]

    def _answer(self, request: Request, follow: Follow) -> str:
        names, prompts = [BASE_NAME, *(request.adapters or ())], blocks_of(request.prompt)
        if self._session._state.base.task.classifies:
            return _page_of(self._session.compare(prompts, adapters=names))
        found = self._session.compare(
            prompts,
            adapters=names,
            temperature=request.temperature,
            top_p=request.top_p,
            max_new_tokens=request.max_new_tokens,
            seed=request.seed,
            scores=request.scores,
            watch=lambda written: follow(lambda: _progress(written())),
        )
        return _page_of(found)


#: Options for the controls' initial values.
_STARTS = (
    *("adapter", "method", "rank", "targets", "virtual_tokens", "module", "measure", "intruders"),
    *("adapters", "sort", "prompt", "temperature", "top_p", "max_new_tokens", "seed", "scores"),
)
#: Options of the answers.
_ANSWERS = ("temperature", "top_p", "max_new_tokens", "seed", "scores")
#: The methods whose target matrices can be chosen.
_BY_MATRIX = ("lora", "adalora")


def _progress(found: Unfinished) -> str:
    """The page of the answers so far: finished, being generated, and pending."""
    return str(progress_bundle(found.begun, found.total)["text/html"])


def _page_of(result: Any) -> str:
    return str(result._repr_mimebundle_()["text/html"])
