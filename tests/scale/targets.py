"""What the tests' child processes do; torch is imported by the workers that need it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from lora_magic.errors import DataError, TrainingStopped
from lora_magic.scale.child import serve
from lora_magic.scale.process import PeerLostError
from lora_magic.scale.work import Seat

Tell = Callable[[object], None]


def main() -> None:
    """A child that does what a request names."""
    serve(lambda request, *rest: globals()[request[0]](*request[1:], *rest), os.environ["WHO"])


def echo(value: Any, stop: threading.Event, tell: Tell) -> Any:
    for part in ("first", "second"):
        tell((part, os.getpid()))
    return value


def noisy(stop: threading.Event, tell: Tell) -> tuple[str, bool]:
    print("printed by Python")
    os.system("echo printed by another program")
    os.write(1, b"\x00\x00\x00\x00\x00\x00\x00\x01no frame")
    return sys.stdin.read(), "torch" in sys.modules


def wait_for_stop(stop: threading.Event, tell: Tell) -> str:
    tell("ready")
    return "stopped" if stop.wait(60) else "not stopped"


def stopped_already(stop: threading.Event, tell: Tell) -> bool:
    return stop.is_set()


def never(stop: threading.Event, tell: Tell) -> None:
    tell(os.getpid())
    while True:
        time.sleep(1)


def fail(kind: str, stop: threading.Event, tell: Tell) -> object:
    if kind == "ours":
        raise TrainingStopped("stopped at step 3")
    if kind == "theirs":
        raise ValueError("no such thing.\nA second line")
    if kind == "bare":
        raise AssertionError
    if kind == "exit":
        raise SystemExit(3)
    if kind == "event":
        tell(threading.Lock())
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "crashed":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "ended":
        print("the first line", "the last line  ", sep="\n", file=sys.stderr)
        os._exit(7)
    return threading.Lock()


def missed(stop: threading.Event, tell: Tell) -> None:
    """The first child misses the second, which says why later."""
    if os.environ["WHO"] == "child 0: ":
        raise PeerLostError("connection closed")
    time.sleep(0.3)
    raise DataError("row 7")


def missed_only(stop: threading.Event, tell: Tell) -> None:
    if os.environ["WHO"] == "child 0: ":
        raise PeerLostError("connection closed")
    time.sleep(60)


def modules(names: list[str], stop: threading.Event, tell: Tell) -> list[str | None]:
    """Where modules are found."""
    return [getattr(__import__(name), "__file__", None) for name in names]


# What workers of an engine do.


def laws(request: dict[str, Any], seat: Seat) -> dict[str, Any]:
    """Sums over the workers, by each kind of call."""
    import torch
    from accelerate import Accelerator

    from lora_magic.scale import collective

    world = seat.world
    seat.tell(("worker", world.rank))
    collective.BUCKET = request["bucket"]
    tensors = drawn(world.rank)
    world.add(tensors)
    # Every worker compares its bits with the first one's.
    flat = [tensor.detach().flatten().contiguous().view(torch.uint8) for tensor in tensors]
    bits = [float(byte) for byte in torch.cat(flat).tolist()]
    differ = sum(a != b for a, b in zip(bits, world.first(bits), strict=True))
    return {
        "added": tensors,
        "differ": world.sums([differ]),
        "sums": world.sums([1e16, 1.0, float(world.rank), 0.1]),
        "empty": (world.sums([]), world.first([]), world.add([])),
        "nan": world.sums([float("nan") if world.rank else 1.0]),
        "first": world.first([world.rank + 0.1, float("inf")]),
        "size": (world.rank, world.size),
        "device": seat.device,
        "lost": seat.lost,
        "alone": Accelerator(cpu=True).num_processes,
        "threads": torch.get_num_threads(),
        "environment": [
            name for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE") if name in os.environ
        ],
    }


def drawn(rank: int) -> list[Any]:
    """A worker's gradients: of each type, of no and of one dimension, not contiguous, and none."""
    import torch

    generator = torch.Generator().manual_seed(rank)

    def draw(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        spread = torch.exp(4 * torch.randn(shape, generator=generator))
        return (torch.randn(shape, generator=generator) * spread).to(dtype)

    leaf = draw(3, 2).requires_grad_()
    return [
        *(draw(50, 4), draw(5, dtype=torch.bfloat16), draw(dtype=torch.float64), draw()),
        *(draw(4, 6).t(), draw(6, 4)[:, ::2], draw(0, 3), draw(7, 3, dtype=torch.float16)),
        *(draw(1, 40), leaf, draw(3, 5, dtype=torch.float64).t()),
    ]


def one_ends(how: str, seat: Seat) -> object:
    """Worker 1 ends, the other one waits for it in a sum."""
    seat.world.sums([1.0])
    if seat.world.rank == 1:
        fail(how, threading.Event(), seat.tell)
    return seat.world.sums([1.0])


def until_stopped(request: object, seat: Seat) -> float:
    """The workers that were asked to stop."""
    seat.tell("ready")
    return seat.world.sums([float(seat.stop.wait(60))])[0]


def littering(request: object, seat: Seat) -> None:
    """Leaves a temporary folder, as a run that is killed does."""
    seat.tell(tempfile.mkdtemp(prefix="lora_magic-"))
    time.sleep(600)
