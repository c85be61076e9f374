"""Workers that do one work together, through Ray Train: joined by torch, started again if lost.

Knows Ray Train's trainer. A work's own error ends the group, a lost worker only restarts it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer

from lora_magic.errors import WorkerError, sentence
from lora_magic.scale.child import dropped
from lora_magic.scale.process import ERROR, EVENT, RESULT, PeerLostError
from lora_magic.scale.work import Note, Seat, Workers

from .board import LOST, Receiver, Said, Sender, done, raised

#: How often the workers are started again.
RESTARTS = 3

#: By default the workers of a node see one another's GPUs, too; the Trainer, which believes that it
#: is alone, would take the first. Ray reads this here and passes it on.
_OWN_GPU = {"TRAIN_ENABLE_SHARE_CUDA_VISIBLE_DEVICES": "0"}

#: The callbacks of Ray Train that start an actor which nobody asks.
_UNUSED = ("PlacementGroupCleanerCallback", "DatasetsCallback")


def run_group(
    work: bytes,
    workers: Workers,
    storage: str,
    stop: threading.Event,
    tell: Callable[[object], None],
) -> bytes:
    """Worker 0's result, as a frame. Raises a worker's error, and `WorkerError`."""
    receiver = Receiver(stop)
    ended: list[Exception | None] = []

    def fit() -> None:
        try:
            _trainer(work, workers, storage, receiver.board).fit()
        except Exception as error:  # noqa: BLE001  # its sentence is raised in the main thread
            ended.append(error)
        else:
            ended.append(None)

    # In the main thread, `fit` would replace the handler of interrupts.
    threading.Thread(target=fit, daemon=True).start()
    result = None
    while not ended:
        result = _passed_on(receiver.heard(), tell) or result
    result = _passed_on(receiver.rest(), tell) or result
    if result is None:
        raise WorkerError(_why(ended[0]))
    return result


def _trainer(work: bytes, workers: Workers, storage: str, board: Any) -> _Trainer:
    folder = Path(storage)
    os.environ.update(_OWN_GPU)
    return _Trainer(
        _loop,
        train_loop_config={"work": ray.put(work), "board": board, "cuda": workers.cuda},
        torch_config=TorchConfig(backend="nccl" if workers.cuda else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers.count, use_gpu=workers.cuda),
        run_config=RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            failure_config=FailureConfig(max_failures=RESTARTS, controller_failure_limit=1),
            callbacks=[_Losses(board)],
        ),
    )


def _loop(config: dict[str, Any]) -> None:
    """One worker of the group, in Ray's process for it."""
    from lora_magic.scale.collective import joined

    board = config["board"]
    rank = ray.train.get_context().get_world_rank()
    lost = ray.get(board.losses.remote())
    with Sender(board, rank) as sender:

        def seated() -> Seat:
            world, device = joined(config["cuda"])
            return Seat(world, device, sender.stop, sender.tell if rank == 0 else dropped, lost)

        kind, frame = done(ray.get(config["work"]), seated, f"worker {rank}: ")
        if rank == 0 or kind == ERROR:
            sender.say(kind, frame)


class _Trainer(TorchTrainer):  # type: ignore[misc]  # ray is not followed
    """Without two actors that a group does not need, each a process that takes seconds to start.

    One stays on the cluster when a driver is killed, to remove the places of the workers: Ray does
    so at the end of a job, too. The other one shares out Ray's data sets, of which there are none.
    """

    def _create_default_callbacks(self) -> list[Any]:
        every = super()._create_default_callbacks()
        return [one for one in every if type(one).__name__ not in _UNUSED]


class _Losses(UserCallback):  # type: ignore[misc]  # ray is not followed
    """In Ray's controller: says which workers were lost."""

    def __init__(self, board: Any) -> None:
        self._board = board

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Tell the board, before the workers are started again."""
        # The others only noticed it.
        ranks = [
            rank
            for rank, error in worker_exceptions.items()
            if PeerLostError.__name__ not in f"{type(error).__name__} {error}"
        ]
        ray.get(self._board.lose.remote(sorted(ranks)))


def _passed_on(said: list[Said], tell: Callable[[object], None]) -> bytes | None:
    """Tell events and lost workers; returns the result if it is there. Raises a worker's error."""
    result = None
    for _, kind, value in said:
        if kind == EVENT:
            tell(value)
        elif kind == RESULT:
            result = value
        elif kind == ERROR:
            raised(value)
        elif kind == LOST:
            tell(Note(_lost(value)))
    return result


def _lost(ranks: list[int]) -> str:
    who = " and ".join(f"worker {rank}" for rank in ranks) or "a worker"
    return f"{who} {'were' if len(ranks) > 1 else 'was'} lost; all go on from the last checkpoint"


def _why(error: Exception | None) -> str:
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for rank, failure in failures.items():
        return f"worker {rank} was lost, the {RESTARTS + 1}th worker: {sentence(failure)}"
    # What Ray Train's controller failed of, such as that another job took the processors.
    cause = getattr(error, "controller_failure", error)
    why = sentence(cause) if cause is not None else "worker 0 said nothing"
    return f"the workers ended without a result: {why}"
