"""Child processes: what they are sent, what they say, how they end, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lora_magic
from lora_magic.errors import DataError, LoraMagicError, TrainingStopped, WorkerError
from lora_magic.scale.process import Processes, processes
from tests.processes import is_there

ROOT = Path(__file__).parent.parent.parent
CHILD = "tests.scale.targets"

Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def _children_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def children(_children_find_the_tests: None) -> Iterator[Processes]:
    with processes() as two:
        for number in range(2):
            two.start(f"child {number}", CHILD, {"WHO": f"child {number}: "})
        yield two


def ask(children: Processes, *request: object, **options: Any) -> Any:
    said = options.get("said", [])
    return children.ask(request, said.append, options.get("stop", lambda: False))


def ends(process: int) -> bool:
    deadline = time.monotonic() + 20
    while is_there(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_there(process)


def test_the_first_child_answers_and_all_are_heard(children: Processes) -> None:
    said: list[Any] = []
    value = {"rows": ["é" * 3_000_000, b"\x00" * 3_000_000]}
    assert ask(children, "echo", value, said=said) == value
    assert sorted(part for part, _ in said) == ["first", "first", "second", "second"]
    by_child = {process: [part for part, of in said if of == process] for _, process in said}
    assert list(by_child.values()) == [["first", "second"]] * 2
    assert os.getpid() not in by_child
    # The same children do the next work.
    assert ask(children, "echo", None, said=said) is None
    assert {process for _, process in said} == set(by_child)


def test_what_a_child_prints_is_no_frame_and_its_input_no_command(children: Processes) -> None:
    read, torch_is_imported = ask(children, "noisy")
    assert read == ""
    assert not torch_is_imported


def test_children_are_asked_to_stop_once_and_for_this_work(children: Processes) -> None:
    said: list[Any] = []
    stop = lambda: said.count("ready") == 2  # noqa: E731
    assert ask(children, "wait_for_stop", said=said, stop=stop) == "stopped"
    assert ask(children, "stopped_already") is False


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("ours", TrainingStopped, "child [01]: stopped at step 3"),
        ("theirs", WorkerError, "child [01]: ValueError: no such thing"),
        ("bare", WorkerError, "child [01]: AssertionError"),
        ("exit", WorkerError, "child [01]: SystemExit: 3"),
        (
            "event",
            WorkerError,
            "child [01]: the event of the work cannot be sent: .*pickle.*lock.*",
        ),
        ("result", WorkerError, "child [01]: the result of the work cannot be sent: .*lock.*"),
        (
            "killed",
            WorkerError,
            "child [01] was ended by signal 9, which is how .* memory runs out",
        ),
        ("crashed", WorkerError, "child [01] was ended by signal 11"),
        ("ended", WorkerError, "child [01] ended with exit status 7: the last line"),
    ],
)
def test_an_error_is_one_line_that_names_the_child(
    children: Processes, how: str, kind: type[LoraMagicError], words: str
) -> None:
    with pytest.raises(kind, match=f"^{words}$") as raised:
        ask(children, "fail", how)
    assert type(raised.value) is kind
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_child_that_misses_another_waits_for_its_reason(children: Processes) -> None:
    with pytest.raises(DataError, match=r"^child 1: row 7$"):
        ask(children, "missed")


def test_a_child_that_misses_another_is_heard_in_the_end(children: Processes) -> None:
    with pytest.raises(WorkerError, match=r"^child 0: connection closed$") as raised:
        ask(children, "missed_only")
    assert type(raised.value) is WorkerError


def test_what_cannot_be_sent_is_named(children: Processes) -> None:
    with pytest.raises(WorkerError, match=r"^what the workers need cannot be sent: .*lock"):
        ask(children, "echo", threading.Lock())
    # The children were sent nothing.
    assert ask(children, "echo", 1) == 1


class Local:
    """A class as it is in a cell: a child has none of this name."""


def test_what_a_child_cannot_read_is_named(
    children: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "Local", Local, raising=False)
    monkeypatch.setattr(Local, "__module__", "__main__")
    with pytest.raises(WorkerError, match=r"^child \d: what the workers need cannot be sent: .*Lo"):
        ask(children, "echo", Local())


def test_a_child_that_cannot_be_started_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with (
        pytest.raises(WorkerError, match=r"^worker 0 cannot be started: No such file"),
        processes() as none,
    ):
        none.start("worker 0", CHILD, {})


def test_a_child_that_cannot_begin_is_named() -> None:
    with (
        pytest.raises(WorkerError, match=r"^worker 0 ended with exit status 1: .*no_such_module'$"),
        processes() as one,
    ):
        one.start("worker 0", "no_such_module", {})
        ask(one, "echo", 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_here_ends_all_children(error: type[BaseException]) -> None:
    found: list[int] = []

    def listen(process: object) -> None:
        assert isinstance(process, int)
        found.append(process)
        if len(found) == 2:
            raise error

    with pytest.raises(error), processes() as two:
        for number in range(2):
            two.start(f"child {number}", CHILD, {"WHO": ""})
        two.ask(("never",), listen, lambda: False)
    assert not any(map(is_there, found))
    assert not any(thread.is_alive() for child in two._all for thread in child._threads)
    two.close()  # again
    with pytest.raises(WorkerError, match=r"^child 0 was ended before$"):
        ask(two, "echo", 1)


#: A script without a `__main__` guard, whose child works for ever.
SCRIPT = """
from lora_magic.scale.process import processes
with processes() as one:
    one.start("child", "tests.scale.targets", {"WHO": ""})
    print(one.ask(("echo", 5), lambda event: None, lambda: False), flush=True)
    one.ask(("never",), lambda process: print(process, flush=True), lambda: False)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_children_end_with_a_kernel_however_it_ends(tmp_path: Path, number: int) -> None:
    (tmp_path / "script.py").write_text(f"import sys; sys.path.append({str(ROOT)!r})\n" + SCRIPT)
    kernel = subprocess.Popen(
        [sys.executable, "script.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert kernel.stdout is not None  # a pipe
    assert kernel.stdout.readline() == b"5\n"
    child = int(kernel.stdout.readline())
    assert is_there(child)
    kernel.send_signal(number)
    kernel.communicate()
    assert ends(child)
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_files_in_the_current_folder_replace_no_module(tmp_path: Path) -> None:
    for name in ("random", "lora_magic", "filelock", "only_here"):
        (tmp_path / f"{name}.py").write_text("")
    code = f"""
import random, sys
import lora_magic
sys.path[0:0] = [""]
sys.path.append({str(ROOT)!r})
from lora_magic.scale.process import processes
names = ["random", "lora_magic", "filelock", "only_here"]
with processes() as one:
    one.start("child", "tests.scale.targets", {{"WHO": ""}})
    print(*one.ask(("modules", names), print, lambda: False), sep="\\n")
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    found = [Path(line) for line in done.stdout.splitlines()]
    assert found[1] == Path(lora_magic.__file__)
    assert [path.parent == tmp_path for path in found] == [False, False, False, True]


def test_importing_the_room_imports_no_torch() -> None:
    names = "engines", "local", "process", "child", "work"
    code = f"import sys; {'; '.join(f'import lora_magic.scale.{name}' for name in names)}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
