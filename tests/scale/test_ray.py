"""Workers on a real Ray cluster: a group, works one by one, lost workers, and what is left."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.cloudpickle
from ray.exceptions import OutOfMemoryError

from lora_magic.errors import LoraMagicError, TrainingStopped, WorkerError
from lora_magic.scale.engines import started
from lora_magic.scale.process import ERROR, PeerLostError
from lora_magic.scale.ray import board, group, pool
from lora_magic.scale.ray import cluster as clusters
from lora_magic.scale.ray import engine as kernel_side
from lora_magic.scale.work import RAY, Engine, Note, Seat, Work, Workers
from lora_magic.training.world import Alone

from .conftest import RayCluster


class Sent:
    """A function that is sent itself: the cluster does not have the tests."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self._sent = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        function, arguments = self._sent

        def call(seat: Seat) -> Any:
            return function(*arguments, seat)

        return pickle.loads, (ray.cloudpickle.dumps(call),)


def work(function: Callable[..., Any], *arguments: object) -> Work:
    return Work("operator:call", Sent(function, *arguments))


def never() -> bool:
    return False


@pytest.fixture(scope="module", autouse=True)
def _functions_are_sent() -> Iterator[None]:
    module = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(module)
    yield
    ray.cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="class")
def engine(cluster: RayCluster, shared: Path) -> Iterator[Engine]:
    """For a class of tests, since it keeps its processors."""
    with started(Workers(2, RAY, cluster.address, shared=str(shared))) as found:
        yield found
    assert cluster.rests() == []
    assert list(shared.glob("**/*lora_magic-*")) == list(shared.glob(".*")) == []


# What workers do.


def once_killed(seat: Seat) -> dict[str, Any]:
    """The first time, worker 1 ends while worker 0 waits for it; then both wait for a stop."""
    import torch

    for number in range(3):
        seat.tell((seat.world.rank, seat.lost, number))
    sent = torch.tensor([seat.world.rank + 1.0, 10.0])
    if seat.lost == 0 and seat.world.rank == 1:
        # Worker 0's events are heard first.
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    seat.world.add([sent])
    seat.tell("ready")
    stopped = seat.stop.wait(60)
    return {
        "sum": sent.tolist(),
        "all stopped": seat.world.sums([float(stopped)]),
        "size": seat.world.size,
        "device": seat.device,
        "lost": seat.lost,
        "large": bytes(20_000_000),
    }


def refused(seat: Seat) -> None:
    """Worker 1 fails while worker 0 waits for it."""
    if seat.world.rank == 1:
        raise TrainingStopped("stopped at step 3")
    seat.world.sums([1.0])


def killed_once(folder: str, number: int, seat: Seat) -> tuple[int, int, int]:
    """The second work ends its worker the first time."""
    seat.tell(("began", number))
    begun = Path(folder, f"begun-{number}")
    first = not begun.exists()
    begun.touch()
    if number == 1 and first:
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    seat.tell(("ends", number))
    return number, seat.world.size, os.getpid()


def meets(folder: str, number: int, seat: Seat) -> int:
    """Waits until the other worker is there, too."""
    Path(folder, str(number)).touch()
    end = time.monotonic() + 120
    while len(list(Path(folder).iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    return os.getpid()


def until_stopped(seat: Seat) -> bool:
    seat.tell(os.getpid())
    return seat.stop.wait(60)


def fails(seat: Seat) -> None:
    raise ValueError("no such thing.\nA second line")


def misses(seat: Seat) -> None:
    raise PeerLostError("connection closed")


# What comes of it.


class TestOneEngine:
    def test_a_lost_group_starts_again_and_stops_when_asked(
        self, engine: Engine, cluster: RayCluster
    ) -> None:
        said: list[Any] = []
        result = engine.group(work(once_killed), said.append, lambda: "ready" in said)
        assert result.pop("large") == bytes(20_000_000)
        assert result == {
            "sum": [3.0, 20.0],
            "all stopped": [2.0],
            "size": 2,
            "device": "cpu",
            "lost": 1,
        }
        lost = Note("worker 1 was lost; all go on from the last checkpoint")
        first, again = ([(0, lost, number) for number in range(3)] for lost in (0, 1))
        assert said == [*first, lost, *again, "ready"]
        port = cluster.address.rpartition(":")[2]
        assert engine.line.startswith("2 workers (Ray, ")
        assert engine.line.endswith(f":{port})")

    def test_works_are_done_one_by_one_and_again_if_their_worker_is_lost(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        said: list[tuple[int, Any]] = []
        works = [work(killed_once, str(tmp_path), number) for number in range(5)]
        results = engine.each(works, lambda *heard: said.append(heard), never)
        assert [result[:2] for result in results] == [(number, 1) for number in range(5)]
        heard: dict[int, list[Any]] = {number: [] for number in range(-1, 5)}
        for number, event in said:
            heard[number].append(event)
        assert heard.pop(-1) == [Note("a worker was lost; its work is done again")]
        for number, events in heard.items():
            again = [("began", number)] * (number == 1)
            assert events == [*again, ("began", number), ("ends", number)]

    def test_the_workers_stay_for_the_next_call(self, engine: Engine, tmp_path: Path) -> None:
        found = []
        for folder in (tmp_path / "first", tmp_path / "again"):
            folder.mkdir()
            works = [work(meets, str(folder), number) for number in range(2)]
            found.append(set(engine.each(works, lambda *heard: None, never)))
        assert len(found[0]) == 2
        assert found[0] == found[1]

    def test_works_that_nobody_has_begun_are_told_to_stop(self, engine: Engine) -> None:
        said: list[Any] = []
        works = [work(until_stopped)] * 3
        assert (
            engine.each(works, lambda *heard: said.append(heard), lambda: bool(said)) == [True] * 3
        )

    # The last one, since an error ends the engine.
    def test_an_error_of_one_worker_ends_all_and_starts_nothing_again(
        self, engine: Engine, cluster: RayCluster
    ) -> None:
        said: list[object] = []
        with pytest.raises(TrainingStopped, match=r"^worker 1: stopped at step 3$"):
            engine.group(work(refused), said.append, never)
        assert said == []
        assert cluster.rests() == []


def test_an_error_of_rays_controller_says_what_failed() -> None:
    from ray.train import ControllerError

    from lora_magic.scale.ray import group

    error = ControllerError(RuntimeError("The start timed out after 25 seconds. Causes: many"))
    why = "The start timed out after 25 seconds"
    assert group._why(error) == f"the workers ended without a result: {why}"


def interrupted(*heard: object) -> None:
    raise KeyboardInterrupt


def test_nothing_is_left_of_works_that_are_given_up(cluster: RayCluster) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        started(Workers(2, RAY, cluster.address)) as engine,
    ):
        engine.each([work(until_stopped)], interrupted, never)
    assert cluster.rests() == []


def test_an_error_of_a_work_is_sent_and_a_lost_peer_is_left_to_ray() -> None:
    def seated() -> Seat:
        return Seat(Alone(), "cpu", threading.Event(), print)

    kind, frame = board.done(pickle.dumps(work(fails)), seated, "worker 1: ")
    assert kind == ERROR
    with pytest.raises(WorkerError, match=r"^worker 1: ValueError: no such thing$"):
        board.raised(frame)
    with pytest.raises(PeerLostError):
        board.done(pickle.dumps(work(misses)), seated, "")


def test_a_worker_with_a_gpu_sees_no_other_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ray.train.v2._internal.callbacks import accelerators

    shown: list[object] = []
    monkeypatch.setenv("TRAIN_ENABLE_SHARE_CUDA_VISIBLE_DEVICES", "1")  # so that it is restored
    monkeypatch.setattr(accelerators, "_share_cuda_visible_devices", shown.append)
    monkeypatch.setattr(ray, "put", lambda value: value)
    made = group._trainer(b"", Workers(2, RAY, cuda=True), str(tmp_path / "run"), None)
    asked = made.backend_config, made.scaling_config
    assert asked[0].backend == "nccl"
    assert asked[1].use_gpu
    accelerators.AcceleratorSetupCallback(*asked)._maybe_share_cuda_visible_devices([])
    assert not shown


@pytest.mark.parametrize(
    ("gpus", "asked", "used"),
    [(0, False, False), (1, False, False), (2, False, True), (0, True, True)],
)
def test_the_gpus_of_a_cluster_are_used_also_from_a_notebook_without_one(
    monkeypatch: pytest.MonkeyPatch, gpus: int, asked: bool, used: bool
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": float(gpus)})
    assert clusters.on_gpus(Workers(2, RAY, cuda=asked)).cuda is used


def test_a_work_whose_worker_ran_out_of_memory_is_done_again_three_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[Any] = []
    schedule = pool._Schedule([b""], None, said.append)
    lost = OutOfMemoryError("Task was killed due to the node running low on memory. More of it")

    def ended(reference: object) -> None:
        raise lost

    monkeypatch.setattr(pool.ray, "get", ended)
    for _ in range(pool.AGAIN):
        schedule.doing["reference"] = None, 0
        assert schedule.take("reference") == []
    assert said == [(-1, Note("a worker was lost; its work is done again"))] * pool.AGAIN
    schedule.doing["reference"] = None, 0
    why = "Task was killed due to the node running low on memory"
    with pytest.raises(WorkerError, match=f"^the worker of work 0 was lost 4 times: {why}$"):
        schedule.take("reference")


def test_more_workers_than_processors_are_refused(cluster: RayCluster) -> None:
    words = "the cluster has 2 CPUs, . of them free; expected 3: .*"
    with pytest.raises(WorkerError, match=f"^{words}$"), started(Workers(3, RAY, cluster.address)):
        pass


@pytest.mark.parametrize(
    ("flag", "variable", "words"),
    [
        ("127.0.0.1:1", None, "--address 127.0.0.1:1: no Ray cluster answers there; .*--port=1"),
        (None, "127.0.0.1:1", "RAY_ADDRESS 127.0.0.1:1: no Ray cluster answers there; .*"),
        ("10.0.0.5", None, "--address 10.0.0.5: expected HOST:PORT, such as 10.0.0.5:6379"),
        ("ray://here:1", None, "--address ray://here:1: expected HOST:PORT, .*"),
        ("here:99999999", None, "--address here:99999999: no Ray cluster answers there; .*"),
        ("a..b:6379", None, r"--address a\.\.b:6379: no Ray cluster answers there; .*"),
    ],
)
def test_an_address_without_a_cluster_is_refused(
    flag: str | None, variable: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", variable or "")
    with pytest.raises(WorkerError, match=f"^{words}$"), started(Workers(2, RAY, flag)):
        pass


def test_a_port_of_another_program_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_side, "_CONNECT", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        words = f"the Ray cluster {address} did not answer within 1 s: another program .*"
        with (
            pytest.raises(WorkerError, match=f"^{words} --address={address} --num-cpus=0$"),
            started(Workers(2, RAY, address)),
        ):
            pass


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("auto", ConnectionError("none"), "no Ray cluster runs on this machine; .* --head"),
        (
            "10.0.0.5:6379",
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.0\n"),
            "the Ray cluster 10.0.0.5:6379: Version mismatch: The cluster was started with: "
            "Ray: 2.0; install the same versions on all machines",
        ),
        (
            "10.0.0.5:6379",
            ValueError("not a node. More of it"),
            "the Ray cluster 10.0.0.5:6379: not a node",
        ),
    ],
)
def test_what_ray_says_of_a_cluster_is_one_line(
    address: str, error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def init(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(clusters.ray, "init", init)
    with pytest.raises(WorkerError, match=f"^{words}$"):
        clusters.connect(address)


def test_a_folder_that_is_not_shared_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "_SEEN", 0.0)
    folder = tmp_path / "probe"
    why = clusters._probe(str(folder), "node")
    assert why is not None
    assert f"{tmp_path} does not have the file that the notebook's machine wrote" in why
    folder.mkdir()
    clusters._written(folder / "driver")
    assert clusters._probe(str(folder), "node") is None
    assert (folder / "node").stat().st_size == (folder / "driver").stat().st_size
    assert clusters._probe(str(folder), "no/node") is not None
    (folder / "full").symlink_to("/dev/full")
    why = clusters._probe(str(folder), "full")
    assert why is not None
    assert why.endswith(f"cannot write {tmp_path}: No space left on device")


def test_a_cluster_that_does_not_answer_three_times_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clusters, "_BEAT", 0.0)
    monkeypatch.setattr(clusters, "address_of", lambda: "127.0.0.1:1")
    heart = clusters.Heartbeat()
    heart.beat()
    heart.beat()
    with pytest.raises(LoraMagicError, match=r"^the Ray cluster at 127.0.0.1:1 was lost$"):
        heart.beat()
