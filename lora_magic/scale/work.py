"""What several workers are asked to do, and what each of them is told about itself.

Knows no engine: `engines` starts one. Does not import torch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lora_magic.training.world import World

#: The engines, the default first.
ACCELERATE, RAY = "accelerate", "ray"
ENGINES = (ACCELERATE, RAY)


@dataclass(frozen=True)
class Workers:
    """What was asked for: how many workers, by which engine, and on which cluster.

    `address` is a Ray cluster's, as "host:6379"; None for the one that runs on this machine, or
    that RAY_ADDRESS names. `cuda` says whether each worker needs a GPU of its own; on a cluster
    with one for each it gets one anyway. `shared` is a folder that all workers must read and
    write. With `fsdp` the base is split over the workers.
    """

    count: int
    engine: str = ACCELERATE
    address: str | None = None
    cuda: bool = False
    shared: str = ""
    fsdp: bool = False

    @property
    def named(self) -> str:
        """As "2 workers"."""
        return f"{self.count} worker{'s' * (self.count > 1)}"

    @property
    def recorded(self) -> dict[str, Any]:
        """What a run's records have of them; nothing of a single one, which is one process."""
        return {"workers": self.count, "engine": self.engine} if self.count > 1 else {}


@dataclass(frozen=True)
class Work:
    """A function of ours by its name ("package.module:function"), and what it is called with.

    The worker calls `function(request, seat)`; request and result can be pickled.
    """

    target: str
    request: Any

    def done(self, seat: Seat) -> Any:
        """Do it here; returns the result. The module is imported here and not before."""
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)(self.request, seat)


@dataclass(frozen=True)
class Note:
    """What an engine says while it works, such as that a worker was lost."""

    line: str


@dataclass(frozen=True)
class Seat:
    """What a worker knows of itself.

    `device` is where it computes ("cpu", "cuda:0"). `stop` is set when the person asks to stop.
    `tell` sends an event to the notebook: of a group, worker 0's; those of others are dropped.
    `lost` counts how often the group was started again after a worker was lost.
    """

    world: World
    device: str
    stop: threading.Event
    tell: Callable[[object], None]
    lost: int = 0


class Engine(Protocol):
    """Workers that are ready; `line` names them for the first line of a run."""

    line: str

    def group(self, work: Work, listen: Callable[[object], None], stop: Callable[[], bool]) -> Any:
        """Let all workers do one work together; returns worker 0's result.

        `listen` gets worker 0's events and the engine's `Note`s, in this thread. When `stop()`
        becomes true, every worker's `stop` is set once; the result is then what it returns. Any
        exception here, also `KeyboardInterrupt`, ends all workers at once.

        Raises the worker's own `LoraMagicError`, with the worker's number before its message, and
        `WorkerError` for any other error, and for a worker that was lost.
        """

    def each(
        self,
        works: Sequence[Work],
        listen: Callable[[int, object], None],
        stop: Callable[[], bool],
    ) -> list[Any]:
        """Let each worker do the next work that nobody does yet; returns their results in order.

        `listen` also gets the number of the work; −1 with the engine's notes. It has had all events
        when this returns. A work whose worker was lost is done again by another one, and may then
        tell the same again. An error of one work ends them all.
        """
