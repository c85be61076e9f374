"""The ledger: each verb that changed something is one line, whole after any kill."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lora_magic.errors import LoraMagicError, TrainingError, TrainingStopped
from lora_magic.magics.verbs import VERBS
from lora_magic.state import ledger as ledgers
from lora_magic.state.ledger import RECORDED, Entry, append, read
from lora_magic.state.session import Session
from lora_magic.training.reporter import SilentReporter, StepPoint
from tests.conftest import Saver, perturb
from tests.state.shared import ROWS
from tests.tiny import tiny_model, tiny_tokenizer

ROOT = Path(__file__).parents[2]
FILE = Path(".lora_magic") / "ledger.jsonl"


def lines(path: Path = FILE) -> list[dict[str, Any]]:
    """The file as plain JSON, read without the package."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_verb_that_prints_a_receipt_is_recorded_and_no_other() -> None:
    # `data` keeps rows that no model has read yet: the run that reads them records their hash.
    # `script` and `serve` change no adapter and no base.
    others = {"data", "script", "serve"}
    assert {verb.name for verb in VERBS.values() if verb.changes} == RECORDED | others


def prepare(session: Session) -> None:
    for seed, name in enumerate(("one", "two")):
        session.attach(name, rank=2)
        perturb(session, name, seed=seed)
    session.save("two", "there")
    session.swap("one")


#: Rows enough for two halves that are held out.
SWEPT = [(f"Where is number {n}?", "Here.") for n in range(12)]

CHANGING: dict[str, Callable[[Session], object]] = {
    "load": lambda s: s.load("demo", replace=True),
    "use": lambda s: s.use(tiny_model(), tiny_tokenizer(), replace=True),
    "attach": lambda s: s.attach("three", rank=2),
    "detach": lambda s: s.detach("two"),
    "train": lambda s: s.train("one", text=ROWS, steps=1),
    "sweep": lambda s: s.sweep("three", SWEPT, rank=[1, 2], steps=1, eval=8),
    "swap": lambda s: s.swap("two"),
    "merge": lambda s: s.merge(),
    "unmerge": lambda s: (s.merge(), s.unmerge()),
    "blend": lambda s: s.blend("three", "one=0.5 two=0.5"),
    "compress": lambda s: s.compress("one", rank=1),
    "save": lambda s: s.save(),
    "open": lambda s: s.open("there"),
    "export": lambda s: s.export(to="merged", unchecked=True),
    "reset": lambda s: s.reset(),
}


@pytest.mark.parametrize("verb", CHANGING)
def test_a_verb_that_changed_something_is_one_entry(verb: str, session: Session) -> None:
    assert set(CHANGING) == RECORDED
    prepare(session)
    before = lines()
    CHANGING[verb](session)
    added = [entry["verb"] for entry in lines()[len(before) :]]
    assert added == (["merge", "unmerge"] if verb == "unmerge" else [verb])
    assert [entry["number"] for entry in lines()] == list(range(1, len(lines()) + 1))


@pytest.mark.parametrize(
    "verb",
    [
        lambda s: s.load(s._state.base.name),
        lambda s: s.attach("one", rank=2),
        lambda s: s.swap("one"),
        lambda s: s.compress("one"),
        lambda s: s.ask("Hello", max_new_tokens=1),
        lambda s: s.compare("Hello", max_new_tokens=1),
        lambda s: s.spectrum("one"),
        lambda s: s.ratio("one"),
        lambda s: (s.status(), s.verify(), s.history(), s.adapters, s.active),
    ],
    ids=["load", "attach", "swap", "compress", "ask", "compare", "spectrum", "ratio", "looking"],
)
def test_a_verb_that_changed_nothing_is_no_entry(
    verb: Callable[[Session], object], session: Session
) -> None:
    prepare(session)
    before = FILE.read_bytes()
    verb(session)
    assert FILE.read_bytes() == before


@pytest.mark.parametrize(
    "verb",
    [
        lambda s: s.swap("nobody"),
        lambda s: s.attach("one", rank=4),
        lambda s: s.train("one", text=" "),
        lambda s: s.train("one", text=ROWS, steps=-1),
        lambda s: s.open("nowhere"),
        lambda s: s.unmerge(),
        lambda s: s.load("no-such-folder", replace=True),
    ],
)
def test_a_failed_verb_is_no_entry(verb: Callable[[Session], object], session: Session) -> None:
    prepare(session)
    before = FILE.read_bytes()
    with pytest.raises(LoraMagicError):
        verb(session)
    assert FILE.read_bytes() == before


def test_an_entry_of_a_run_has_all_that_made_it(session: Session) -> None:
    session.attach("one", rank=2, alpha=3)
    began = datetime.now(UTC)
    summary = session.train("one", text=ROWS, steps=3, eval=1, seed=7, lr=1e-3)
    entry = lines()[-1]
    rows = [["Where is the library?", "Arr!", None], ["What is for dinner?", "Fish, matey!", None]]
    digest = hashlib.sha256(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    assert entry["data"] == {
        "sha256": digest.hexdigest(),
        **{"rows": 2, "trained": 1, "held_out": 1, "cut": 0, "empty": 0},
    }
    assert entry["seed"] == 7
    assert (entry["spec"]["rank"], entry["spec"]["alpha"], entry["spec"]["method"]) == (
        2,
        3,
        "lora",
    )
    assert (entry["settings"]["learning_rate"], entry["settings"]["steps"]) == (1e-3, 3)
    assert entry["outcome"]["steps"] == 3
    assert entry["outcome"]["last_loss"] == summary.losses[-1]
    assert entry["outcome"]["held_out_after"] == summary.held_out_after
    assert entry["result"] == summary.line
    assert entry["state"] == "done"
    assert entry["base"] == session.load(session._state.base.name).name
    assert entry["fingerprint"] == session._state.record().fingerprint
    assert began <= datetime.fromisoformat(entry["when"]) <= datetime.now(UTC)
    assert summary.seconds <= entry["seconds"]
    for library in ("torch", "transformers", "peft"):
        assert entry["versions"][library] == version(library)


def test_parents_lead_back_to_the_entries_that_made_them(session: Session) -> None:
    def added() -> tuple[int, dict[str, int]]:
        entry = lines()[-1]
        return entry["number"], {name: int(made.split("/")[1]) for name, made in entry["parents"]}

    session.attach("one", rank=2)
    attached, parents = added()
    assert parents == {}
    session.train("one", text=ROWS, steps=1)
    trained, parents = added()
    assert parents == {"one": attached}
    session.train("one", text=ROWS, steps=1, continue_=True)
    longer, parents = added()
    assert parents == {"one": trained}, "a continued run begins with the run before"
    session.train("one", text=ROWS, steps=1)
    again, parents = added()
    assert parents == {"one": attached}, "any other run begins with the adapter as it was made"
    session.attach("two", rank=2)
    other, _ = added()
    session.blend("mild", "one=0.5 two=0.5")
    blended, parents = added()
    assert parents == {"one": again, "two": other}
    session.compress("mild", "small", rank=1)
    assert added()[1] == {"mild": blended}
    session.merge("mild")
    assert added()[1] == {"mild": blended}
    assert longer < again


class Stopping(SilentReporter):
    """Stops after two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.stop = threading.Event()

    def step(self, point: Any) -> None:
        if point.step == 2:
            self.stop.set()


def test_a_resumed_run_is_one_entry_that_says_what_it_resumed(
    session: Session, saved_model: Saver
) -> None:
    session.attach("one", rank=2)
    with pytest.raises(TrainingStopped):
        session.train("one", text=ROWS, steps=4, reporter=Stopping())
    stopped = lines()[-1]
    assert (stopped["state"], stopped["outcome"]["steps"]) == ("stopped", 2)
    assert "resumed_after" not in stopped["outcome"]
    with pytest.raises(TrainingError):
        session.train("one", text=ROWS, steps=5, resume=True)
    assert lines()[-1] == stopped, "a run that was refused has not begun"
    with pytest.raises(LoraMagicError):
        session.train("one", text=ROWS, steps=4, lr="find", resume=True)
    session.train("one", text=ROWS, lr="find")
    assert lines()[-1] == stopped, "a search changes nothing"
    again = Session()
    again.load(str(saved_model()))
    count = len(lines())
    with pytest.raises(ZeroDivisionError):
        again.train("one", text=ROWS, steps=4, resume=True, reporter=Failing(ZeroDivisionError()))
    failed = lines()[-1]
    assert (failed["state"], failed["outcome"]) == ("failed", {"resumed_after": 2})
    session.train("one", text=ROWS, steps=4, resume=True)
    resumed = lines()[-1]
    assert len(lines()) == count + 2
    assert (resumed["state"], resumed["outcome"]["steps"]) == ("done", 4)
    assert resumed["outcome"]["resumed_after"] == 2
    assert resumed["result"].startswith("resumed after step 2: one: 4 steps")
    assert resumed["parents"] == [["one", f"{stopped['session']}/{stopped['number']}"]]


class Failing(SilentReporter):
    """Fails in the first step."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def step(self, point: Any) -> None:
        raise self.error


def test_a_stopped_run_is_recorded_as_stopped(session: Session) -> None:
    session.attach("one", rank=2)
    with pytest.raises(TrainingStopped):
        session.train("one", text=ROWS, steps=9, reporter=Stopping())
    entry = lines()[-1]
    assert (entry["verb"], entry["state"], entry["outcome"]["steps"]) == ("train", "stopped", 2)
    assert "stopped after 2 of 9 steps" in entry["result"]
    session.save("one")
    assert lines()[-1]["parents"] == [["one", f"{entry['session']}/{entry['number']}"]]


def test_a_failed_run_is_recorded_as_failed_and_changed_nothing(session: Session) -> None:
    session.attach("one", rank=2)
    with pytest.raises(TrainingError):
        session.train("one", text=ROWS, steps=2, reporter=Failing(TrainingError("too steep")))
    entry = lines()[-1]
    assert (entry["state"], entry["result"], entry["outcome"]) == ("failed", "too steep", {})
    with pytest.raises(RuntimeError):
        session.train("one", text=ROWS, steps=2, reporter=Failing(RuntimeError("row 1: Arr!")))
    assert lines()[-1]["result"] == "failed: RuntimeError"
    session.save("one")
    [[_, made]] = lines()[-1]["parents"]
    assert made.endswith("/2"), "it is still as attach made it"


def test_no_row_and_no_prompt_is_written(session: Session) -> None:
    session.attach("one", rank=2)
    session.train("one", text="Quokka? => Wombat!", steps=1, system="Numbat.")
    session.ask("Bilby?", max_new_tokens=1)
    session.compare("Potoroo?", max_new_tokens=1)
    with pytest.raises(LoraMagicError):
        session.train("one", text='{"prompt": "Bandicoot?"}')
    text = FILE.read_text(encoding="utf-8").lower()
    assert len(text.splitlines()) == 3
    for word in ("quokka", "wombat", "numbat", "bilby", "potoroo", "bandicoot"):
        assert word not in text


def test_the_doctors_trials_are_no_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_magic.state import doctor_methods

    with doctor_methods._session(None) as tried:
        tried.attach("one", rank=2)
        assert [entry.verb for entry in tried._ledger.entries] == ["load", "attach"]
    assert not FILE.exists()


def test_a_ledger_that_cannot_be_written_costs_one_warning_and_is_remembered(
    session: Session, tmp_path: Path
) -> None:
    written = len(lines())
    file = tmp_path / "file"
    file.write_text("in the way")
    session.home = file

    def work() -> None:
        session.attach("one", rank=2)
        session.attach("two", rank=2)

    with pytest.warns(RuntimeWarning) as seen:
        work()
    [line] = {str(warning.message) for warning in seen}
    assert len(seen) == 1
    assert "ledger.jsonl could not be written" in line
    assert "\n" not in line
    assert session.active == "two"
    assert [entry.verb for entry in session.history().entries[written:]] == ["attach", "attach"]
    session.home = FILE.parent
    session.swap("one")
    assert [entry["verb"] for entry in lines()[written:]] == ["attach", "attach", "swap"]


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_something_else_under_the_ledgers_name_costs_a_warning(
    kind: str, session: Session, tmp_path: Path
) -> None:
    import os

    session.home = tmp_path / "home"
    session.home.mkdir()
    path = session.home / "ledger.jsonl"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.warns(RuntimeWarning, match="could not be written"):
        session.attach("one", rank=2)
    assert "cannot be read" in session.history().line
    assert [entry.verb for entry in session.history().entries] == ["load", "attach"]


def test_where_warnings_are_errors_the_verb_is_still_done(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    session.home = file
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert session.attach("one", rank=2).name == "one"
    assert session.active == "one"


def test_what_is_remembered_is_what_is_read(session: Session) -> None:
    prepare(session)
    session.attach("three", rank=2, rank_pattern="q_proj=4")
    session.train("three", text=ROWS, steps=1)
    entries, bad = read(FILE)
    assert entries == list(session.history().entries)
    assert bad == []


def test_a_torn_last_line_is_said_and_costs_only_itself(session: Session) -> None:
    session.attach("one", rank=2)
    whole = FILE.read_bytes()
    FILE.write_bytes(whole[:-40])
    later = Session()
    found = later.history(all=True)
    assert [entry.verb for entry in found.entries] == ["load"]
    assert found.unreadable == (2,)
    assert "line 2 cannot be read" in found.line
    session.swap("base")
    entries, bad = read(FILE)
    assert [entry.verb for entry in entries] == ["load", "swap"]
    assert bad == [2]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"[]",
        b"{",
        b'{"session": 5, "number": 1, "when": "", "verb": "load"}',
        b'{"session": "a", "number": -1, "when": "", "verb": "load"}',
        b'{"session": "a", "number": 1, "when": "", "verb": "load", "seconds": NaN}',
        b"[" * 100_000,
        b'{"session": "a", "number": 1, "when": "", "verb": "load", "result": "\\ud800"}',
    ],
)
def test_a_line_that_is_no_entry_is_left_out_and_said(line: bytes, session: Session) -> None:
    append(FILE, line + b"\n")
    session.attach("one", rank=2)
    found = session.history(all=True)
    assert [entry.verb for entry in found.entries] == ["load", "attach"]
    assert found.unreadable == (2,)
    assert found.to_frame().shape[0] == 2


def test_an_entry_of_a_later_version_is_read(session: Session) -> None:
    entry = {"session": "later", "number": 1, "when": "2027-01-01", "verb": "sweep", "arms": [1, 2]}
    append(FILE, json.dumps(entry).encode() + b"\n")
    found = session.history(all=True)
    assert ("later", "sweep") in [(one.session, one.verb) for one in found.entries]
    assert found.unreadable == ()


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python of its own with this checkout, in the current folder."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
    )


def train_until_killed(base: str, writing: int) -> None:
    """In a copy of this process: two runs, of which the second tells its steps and has no end."""

    class Telling(SilentReporter):
        def step(self, point: StepPoint) -> None:
            os.write(writing, f"step {point.step}\n".encode())

    try:
        session = Session()
        session.load(base)
        session.attach("one", rank=2)
        session.train("one", text="Where? => Here.", steps=1)
        session.train("one", text="Where? => Here.", steps=100_000, reporter=Telling())
    finally:
        os._exit(1)


def test_a_history_is_whole_after_a_kill_in_the_middle_of_a_run(saved_model: Saver) -> None:
    base = str(saved_model())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        train_until_killed(base, writing)
    os.close(writing)
    with os.fdopen(reading) as told:
        while "step 3" not in (line := told.readline()):
            assert line, "the run ended before step 3"
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    session = Session()
    assert [entry.verb for entry in session.history(all=True).entries] == [
        "load",
        "attach",
        "train",
    ]
    assert session.history(all=True).unreadable == ()
    assert "3 of other sessions: %lora history --all" in session.history().line
    assert [entry.verb for entry in session.history("one").entries] == ["attach", "train"]


APPENDING = """
import sys
from pathlib import Path
from lora_magic.state.ledger import append
for number in range(1, 201):
    entry = '{"session": "%s", "number": %d, "when": "", "verb": "%s"}'
    append(Path("ledger.jsonl"), (entry % (sys.argv[1], number, "x" * 3000)).encode() + b"\\n")
"""


def test_entries_that_two_processes_append_at_once_are_all_whole() -> None:
    both = [run(APPENDING, name) for name in ("first", "second")]
    for child in both:
        assert child.wait() == 0, child.communicate()[1]
    entries, bad = read(Path("ledger.jsonl"))
    assert bad == []
    assert sorted((entry.session, entry.number) for entry in entries) == sorted(
        (name, number) for name in ("first", "second") for number in range(1, 201)
    )


def test_on_a_full_disk_the_entries_are_written_when_there_is_room_again(
    session: Session,
) -> None:
    """A limit on a file's size ends a write in its middle, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    session.attach("zero", rank=2)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE.stat().st_size + 100, before[1]))
        with pytest.warns(RuntimeWarning, match=r"ledger.jsonl could not be written"):
            session.attach("one", rank=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert session.active == "one"
    session.swap("base")
    entries, bad = read(FILE)
    assert [entry.verb for entry in entries] == ["load", "attach", "attach", "swap"]
    assert bad == [3]


def test_an_interrupt_while_a_verb_is_recorded_comes_after_it(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, presses = ledgers.append, [signal.SIGINT]

    def pressed(path: Path, data: bytes) -> None:
        while presses:
            signal.raise_signal(presses.pop())
        real(path, data)

    monkeypatch.setattr(ledgers, "append", pressed)
    with pytest.raises(KeyboardInterrupt):
        session.attach("one", rank=2)
    assert session.active == "one"
    assert [entry["verb"] for entry in lines()] == ["load", "attach"]


def test_an_entry_names_itself_by_session_and_number() -> None:
    assert Entry("3f2a9c1b", 4, "2026-11-29T06:44:58.000+00:00", "swap").id == "3f2a9c1b/4"


@pytest.fixture
def trained(session: Session) -> Session:
    """Two adapters trained on the same rows, and one on other rows."""
    for name, rank, rows in (("one", 2, ROWS), ("two", 4, ROWS), ("other", 2, "Who? => Me.")):
        session.attach(name, rank=rank, seed=0)
        session.train(name, text=rows, steps=2)
    return session


def test_two_runs_differ_in_what_was_given_and_in_what_came_out(trained: Session) -> None:
    found = trained.history("one,two")
    assert found.same_data
    rows = {(part, field): values for part, field, *values in found.rows}
    assert rows[("spec", "rank")] == [2, 4]
    assert {part for part, _ in rows} == {"spec", "result"}
    assert {field for part, field in rows if part == "spec"} == {"rank"}
    one, two = (trained._state.attached[name].run["last_loss"] for name in ("one", "two"))
    assert rows[("result", "last_loss")] == [one, two]
    assert "same data" in found.line


def test_other_rows_are_other_data(trained: Session) -> None:
    found = trained.history("one", "other")
    assert not found.same_data
    assert "other data" in found.line
    assert ("data", "rows", 2, 1) in found.rows
    assert not any(part == "spec" for part, *_ in found.rows)


def test_the_last_run_of_a_name_is_compared(trained: Session) -> None:
    trained.train("one", text=ROWS, steps=3)
    assert ("run", "steps", 3, 2) in trained.history("one,two").rows


def test_one_name_leaves_what_is_about_that_adapter(trained: Session) -> None:
    trained.blend("mild", "one=0.5 two=0.5")
    entries = trained.history("two").entries
    assert [(entry.verb, entry.adapter) for entry in entries] == [
        *(("attach", "two"), ("train", "two"), ("blend", "mild"))
    ]


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        ("on", "Did you mean 'one'"),
        ("one,nobody", "no run of 'nobody' is recorded; there are runs of one, other, two"),
        ("one,two,other", "expected one adapter, or two to compare; got 3"),
    ],
)
def test_a_wrong_name_is_one_line(names: str, hint: str, trained: Session) -> None:
    with pytest.raises(LoraMagicError) as seen:
        trained.history(names)
    assert hint in str(seen.value)
    assert "\n" not in str(seen.value)
