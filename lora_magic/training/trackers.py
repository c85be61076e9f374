"""Experiment trackers, through the Trainer's own callbacks: what they are told, and their errors.

An error of a tracker costs its reports, not the run. Knows the Trainer's callbacks; knows no rows
and no model.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from transformers import TrainerCallback

from lora_magic.errors import TrainingError, sentence

#: What a tracker is told: the last step's loss, and the held-out loss if it was measured there.
Tracked = Callable[[], dict[str, float]]


def run_name(name: str) -> str:
    """A run's name in a tracker: two runs of one name would be one curve in trackio."""
    return f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}"


def without_dashboard(project: str) -> None:
    """In a notebook trackio starts a web server with the first run of a project, which would stay;
    on Colab it is public. It does not for a project that it takes for the current one."""
    import trackio  # type: ignore[import-not-found,unused-ignore]  # optional

    trackio.context_vars.current_project.set(project)


class Guard:
    """Guards a tracker's callback; `failure` is why it got no more, or "".

    Before the first step an error refuses the run, since nothing is lost then.
    """

    def __init__(self, callback: Any, name: str | None) -> None:
        self.failure = ""
        for event in ("on_train_begin", "on_log", "on_train_end"):
            setattr(callback, event, self._guarded(getattr(callback, event), event, name))

    def _guarded(self, call: Callable[..., Any], event: str, name: str | None) -> Any:
        def guarded(*args: Any, **rest: Any) -> None:
            if self.failure:
                return
            try:
                call(*args, **rest)
            except Exception as error:
                self.failure = f"{name}: {sentence(error)}"
                if event == "on_train_begin":
                    raise TrainingError(
                        f"{self.failure}; nothing was trained. Correct it, or omit --report-to."
                    ) from error

        return guarded


def guards(trainer: Any, name: str | None) -> list[Guard]:
    """A guard on each callback that the Trainer made for `report_to`."""
    return [
        Guard(callback, name)
        for callback in trainer.callback_handler.callbacks
        if type(callback).__module__.startswith("transformers.integrations")
    ]


class BeforeFirst(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """Reports what was measured before the first step."""

    def __init__(self, trainer: Any, tracked: Tracked) -> None:
        self._trainer, self._tracked = trainer, tracked

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Called by the Trainer."""
        if found := self._tracked():
            self._trainer.log(found)
