"""A Ray cluster: the connection to it, its free processors and GPUs, and its nodes' shared folder.

Knows Ray's nodes; does not know what the workers do.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import lora_magic
from lora_magic.errors import WorkerError, sentence
from lora_magic.scale.work import Workers

from .address import AUTO, START, answers

#: Seconds to wait for processors that are about to be free.
_WAIT = 10.0

#: Seconds for the processors of workers that have ended to be free again; others may hold them.
_FREED = 5.0

#: What workers read of the kernel's environment.
_PASSED = ("OMP_NUM_THREADS", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")

#: Bytes that every node must be able to write to the shared folder.
_ROOM = 1 << 20

#: Seconds in which a file on a network disk must be seen by another machine.
_SEEN = 5.0

#: Seconds between two looks at the cluster, and how many of them must fail in a row: it is lost.
_BEAT, _MISSED = 2.0, 3


def connect(address: str) -> str:
    """Connect this process; returns the cluster's address. Raises `WorkerError`."""
    # Workers look for modules in the driver's folder first: this one has none.
    os.chdir(os.path.abspath(os.sep))
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    package = str(Path(lora_magic.__file__).parent)
    environment = {
        "py_modules": [package],
        "excludes": ["**/__pycache__"],
        "env_vars": {**passed, "PYTHONWARNINGS": "ignore"},
    }
    try:
        ray.init(
            address,
            namespace="lora_magic",
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env=environment,
        )
    except ConnectionError as error:
        if address == AUTO:
            raise WorkerError(
                "no Ray cluster runs on this machine; expected one, or --address HOST:PORT; "
                f"start one in a terminal: {START}"
            ) from None
        raise WorkerError(f"the Ray cluster {address}: {sentence(error)}") from None
    except (RuntimeError, ValueError, OSError) as error:
        raise WorkerError(f"the Ray cluster {address}: {_mismatch(error)}") from None
    return address_of()


def address_of() -> str:
    """The address of the cluster that this process is connected to."""
    return str(ray.get_runtime_context().gcs_address)


def on_gpus(workers: Workers) -> Workers:
    """These workers, on GPUs if the cluster has one for each: the notebook's machine may have none.

    A base that is on a GPU in the notebook needs them.
    """
    enough = ray.cluster_resources().get("GPU", 0) >= workers.count
    return replace(workers, cuda=workers.cuda or enough)


def wait_for(workers: Workers) -> None:
    """Wait for a free processor, and GPU, for each worker. Raises `WorkerError`."""
    end = time.monotonic() + _WAIT
    kinds = ("CPU", "GPU") if workers.cuda else ("CPU",)
    while True:
        every, free = ray.cluster_resources(), ray.available_resources()
        lacking = [kind for kind in kinds if free.get(kind, 0) < workers.count]
        if not lacking:
            return
        hopeless = any(every.get(kind, 0) < workers.count for kind in lacking)
        if hopeless or time.monotonic() > end:
            kind = lacking[0]
            raise WorkerError(_too_few(kind, every.get(kind, 0), free.get(kind, 0), workers.count))
        time.sleep(0.5)


def reach(shared: str) -> None:
    """Start a process on each node, and see that all read and write `shared`, if it is given.

    Raises `WorkerError`.
    """
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and _computes(node)]
    folder = Path(shared, f".ray-{uuid4().hex[:12]}") if shared else None
    try:
        if folder is not None:
            folder.mkdir(parents=True)
            _written(folder / "driver")
        probe = ray.remote(num_cpus=0, max_retries=0)(_probe)
        there = [
            probe.options(scheduling_strategy=on(node)).remote(str(folder or ""), node)
            for node in nodes
        ]
        for why in filter(None, ray.get(there)):
            raise WorkerError(why)
        if folder is not None:
            for node in nodes:
                _see(folder / node, "a worker wrote")
    except OSError as error:
        raise WorkerError(f"{shared} cannot be written: {error.strerror or error}") from None
    except RayError as error:
        raise WorkerError(f"a node of the Ray cluster: {sentence(error)}") from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def leave(workers: Workers) -> None:
    """End the connection, once the workers' processors are free for the next cell."""
    end = time.monotonic() + _FREED
    while ray.available_resources().get("CPU", 0) < workers.count and time.monotonic() < end:
        time.sleep(0.2)
    ray.shutdown()


def on(node: str) -> Any:
    """A place for a task or an actor: this node and no other."""
    return NodeAffinitySchedulingStrategy(node, soft=False)


def here() -> Any:
    """This node, which lives as long as the driver."""
    return on(ray.get_runtime_context().get_node_id())


class Heartbeat:
    """Notices within seconds that the cluster is gone, for which Ray itself waits a minute."""

    def __init__(self) -> None:
        self._address = address_of()
        self._next, self._missed = 0.0, 0

    def beat(self) -> None:
        """Raises `WorkerError` if the cluster is gone; costs nothing most times."""
        if time.monotonic() < self._next:
            return
        self._missed = 0 if answers(self._address, _BEAT) else self._missed + 1
        if self._missed == _MISSED:
            raise WorkerError(f"the Ray cluster at {self._address} was lost")
        self._next = time.monotonic() + _BEAT


def _probe(folder: str, node: str) -> str | None:
    """On a node: why the folder is no shared one, or None."""
    host = socket.gethostname()
    if not folder:
        return None
    shared = Path(folder).parent
    try:
        _see(Path(folder) / "driver", "the notebook's machine wrote")
        _written(Path(folder) / node)
    except WorkerError as error:
        return f"a worker on {host}: {error}"
    except OSError as error:
        return f"a worker on {host} cannot write {shared}: {error.strerror or error}"
    return None


def _written(path: Path) -> None:
    path.write_bytes(bytes(_ROOM))


def _see(path: Path, writer: str) -> None:
    end = time.monotonic() + _SEEN
    while not path.exists() or path.stat().st_size != _ROOM:
        if time.monotonic() > end:
            raise WorkerError(
                f"{path.parent.parent} does not have the file that {writer}; expected a folder "
                "that all nodes of the cluster share"
            )
        # A network disk shows a new file once its folder is listed.
        next(path.parent.parent.glob("*"), None)
        time.sleep(0.2)


def _computes(node: dict[str, Any]) -> bool:
    return any(node["Resources"].get(kind, 0) > 0 for kind in ("CPU", "GPU"))


def _too_few(kind: str, every: float, free: float, count: int) -> str:
    seen = f"the cluster has {every:.0f} {kind}{'s' * (every != 1)}, {free:.0f} of them free"
    fewer = f"type --workers {free:.0f}, " if free >= 1 else ""
    return f"{seen}; expected {count}: {fewer}wait for its other work, or add a node"


def _mismatch(error: Exception) -> str:
    """Ray's error, also that of versions, whose lines have one number each."""
    text = str(error)
    if "ersion mismatch" not in text:
        return sentence(error)
    words = " ".join(text.split())
    return f"{words[:300]}; install the same versions on all machines"
