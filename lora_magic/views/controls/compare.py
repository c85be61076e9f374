"""A prompt, the adapters and settings of its answers, and the answers while they are generated.

They are generated in a separate thread, so that Stop works in every front end. Knows names and
HTML; a callback generates the answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets

from lora_magic.views.controls.widgets import Page, button, close, named, row, tick

PAUSE = 0.2  # seconds between two pages of the answers so far


@dataclass(frozen=True)
class Request:
    """A prompt or several with blank lines between them, the adapters that answer (None for all of
    them), and how tokens are sampled."""

    prompt: str
    adapters: tuple[str, ...] | None = None
    temperature: float = 0.0
    max_new_tokens: int | None = None
    seed: int = 0
    top_p: float = 1.0
    scores: bool = False


#: Called after each token with a function that renders the page, and shows it if an update is due;
#: True stops the answers.
Follow = Callable[[Callable[[], str]], bool]

#: From a request, and a callback for each token, to the page of the answers.
Answer = Callable[[Request, Follow], str]


class CompareControls:
    """A prompt box, a tick for each adapter, temperature, length and seed, and Generate.

    And whether the answers' tokens are scored. A classifier samples no tokens: without `samples`
    the controls of sampling and scores are omitted.
    """

    def __init__(
        self,
        adapters: Sequence[str],
        answer: Answer,
        start: Request,
        *,
        samples: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answer, self._clock = answer, clock
        self._stop = threading.Event()
        self._work: threading.Thread | None = None
        self._writing = threading.Lock()
        self._told = False
        self._top_p = start.top_p
        self.page = Page()
        self.prompt = named(
            ipywidgets.Textarea,
            "Prompts",
            "min(40rem, 100% - 4px)",
            value=start.prompt,
            rows=min(8, max(3, start.prompt.count("\n") + 1)),
            placeholder="One prompt, or several with a blank line between them",
        )
        self.temperature = named(
            ipywidgets.FloatSlider,
            "Temperature",
            "20rem",
            min=0.0,
            max=2.0,
            step=0.05,
            value=min(2.0, start.temperature),
            continuous_update=False,
        )
        self.length = named(
            ipywidgets.BoundedIntText,
            "New tokens, at most",
            "14rem",
            min=1,
            max=100_000,
            value=start.max_new_tokens or 200,
        )
        self.seed = named(
            ipywidgets.BoundedIntText, "Seed", "11rem", min=0, max=2**31 - 1, value=start.seed
        )
        self.scores = tick("Scores", start.scores)
        self.generate = button("Generate", button_style="primary")
        self.stop = button("Stop", disabled=True)
        self._ticks = row()
        self.boxes: dict[str, Any] = {}
        self.offer(adapters, start.adapters)
        drawn = (self.temperature, self.length, self.seed, self.scores)
        sampling = [row(*drawn)] if samples else []
        self.widget = ipywidgets.VBox(
            [self.prompt, self._ticks, *sampling, row(self.generate, self.stop), self.page.widget]
        )
        self.generate.on_click(lambda _: self._generate())
        self.stop.on_click(lambda _: self.stop_answering())

    def offer(self, adapters: Sequence[str], ticked: Sequence[str] | None = None) -> None:
        """Set the adapters to choose from: known ones keep their state, new ones are ticked."""
        known, selected = self.boxes, set(adapters if ticked is None else ticked)
        self.boxes = {name: known.get(name) or tick(name, name in selected) for name in adapters}
        self._ticks.children = tuple(self.boxes.values())
        for name in known.keys() - self.boxes.keys():
            close(known[name])

    def busy(self, doing: str) -> None:
        """Say that a cell uses the model, and what for; "" when it has finished.

        A front end may hold a click back until the cell has ended, which is then all that a user
        would see of it.
        """
        if self._writing.locked():
            return  # These answers wait for nobody.
        self.generate.disabled = bool(doing)
        if doing:
            self.page.say(f"Busy with {doing}; Generate works again when it has finished.")
        elif self._told:
            self.page.say("")
        self._told = bool(doing)

    @property
    def request(self) -> Request:
        """The current values of the controls; top-p, which has none, is that of the start."""
        temperature = float(self.temperature.value)
        return Request(
            str(self.prompt.value),
            tuple(name for name, box in self.boxes.items() if box.value),
            temperature,
            int(self.length.value),
            int(self.seed.value),
            self._top_p if temperature else 1.0,
            bool(self.scores.value),
        )

    def stop_answering(self) -> None:
        """Stop after the current token; without running answers, do nothing."""
        self._stop.set()

    def wait(self, seconds: float = -1) -> None:
        """Wait until the answers are complete."""
        if self._work is not None:
            self._work.join(None if seconds < 0 else seconds)
        if self._writing.acquire(timeout=seconds):
            self._writing.release()

    def _generate(self) -> None:
        # A daemon: a kernel that shuts down does not wait for the last token.
        work = threading.Thread(target=self._run, args=(self.request,), daemon=True)
        work.start()
        self._work = work

    def _run(self, request: Request) -> None:
        # In this thread, where no interrupt can prevent that the buttons are enabled again.
        if not self._writing.acquire(blocking=False):
            return  # Pressed twice.
        self._stop.clear()
        self.generate.disabled, self.stop.disabled = True, False
        shown = [self._clock() - PAUSE]

        def follow(page: Callable[[], str]) -> bool:
            now = self._clock()
            if now - shown[0] >= PAUSE:
                shown[0] = now
                self.page.put(page())
            return self._stop.is_set()

        try:
            self.page.show(lambda: self._answer(request, follow))
        finally:
            # Before the button is enabled, so that it works as soon as it can be pressed.
            self._writing.release()
            self.generate.disabled, self.stop.disabled = False, True
