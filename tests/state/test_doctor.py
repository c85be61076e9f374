"""`doctor` says what is wrong with an installation, and leaves the notebook's session alone."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import lora_magic
from lora_magic import versions
from lora_magic.adapters import store
from lora_magic.adapters.methods import METHODS
from lora_magic.errors import AdapterError
from lora_magic.state import doctor_machine, doctor_methods, merging
from lora_magic.state.doctor import Examination, Finding
from lora_magic.state.session import Session
from tests.conftest import perturb
from tests.state.shared import snapshot

VARIANTS = {"dora", "rslora", "pissa", "olora", "eva"}
FOUR_BITS = {"lora on 4 bits", "loftq on 4 bits"}


def found(examination: Examination, check: str) -> Finding:
    return next(f for f in examination.findings if f.check == check)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods are enough where the methods are not the subject."""
    monkeypatch.setattr(doctor_methods, "names", lambda: ["lora", "ia3", "houlsby"])


@pytest.fixture(scope="module")
def whole() -> Examination:
    return Session().doctor()


def test_every_method_is_tried_on_the_embedded_model(whole: Examination) -> None:
    assert whole, repr(whole)
    tried = {f.check: f for f in whole.findings if f.part == "methods"}
    assert tried.keys() == {"embedded model", *METHODS, *VARIANTS, *FOUR_BITS}
    states = {name: finding.state for name, finding in tried.items()}
    assert states.pop("bitfit") == "not tried"  # it trains biases, and a Llama has none
    assert set(states.values()) == {"ok"}
    for name, method in METHODS.items():
        if name == "bitfit":
            continue
        assert ("merged" in tried[name].found) == (not method.not_merged)
        assert "saved and opened" in tried[name].found


def test_every_tested_library_is_listed_with_what_was_tested(whole: Examination) -> None:
    for library, (oldest, newest) in versions.TESTED.items():
        line = found(whole, library).found
        assert {metadata.version(library), oldest, newest} <= set(
            line.replace("(", " ").replace(")", " ").split()
        )


def test_the_machine_is_described(whole: Examination) -> None:
    checks = [f.check for f in whole.findings if f.part == "machine"]
    assert checks == ["device", "number formats", "threads", "memory", "home folder"]
    assert f"torch uses {torch.get_num_threads()} of" in found(whole, "threads").found


def shown(examination: Examination) -> str:
    return str(examination._repr_mimebundle_()["text/plain"])


@pytest.mark.parametrize("state", ["no base", "loaded", "unsaved", "merged", "several active"])
def test_the_notebooks_session_is_untouched(
    state: str, session: Session, few: None, tmp_path: Path
) -> None:
    if state == "no base":
        session.reset()
    elif state != "loaded":
        for name in ("one", "two"):
            session.attach(name, rank=2)
            perturb(session, name)
        session.train("one", text="What? => That.", steps=1)
    if state == "merged":
        session.merge("one")
    if state == "several active":
        session.swap("one=0.5,two=0.5")
    before = None if state == "no base" else snapshot(session)
    files = sorted(tmp_path.rglob("*"))
    numpy.random.seed(1)
    generators = (random.getstate(), torch.get_rng_state(), numpy.random.get_state()[1].tolist())
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            assert session.doctor()
            assert not torch.is_grad_enabled()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert random.getstate() == generators[0]
    assert torch.equal(torch.get_rng_state(), generators[1])
    assert numpy.random.get_state()[1].tolist() == generators[2]
    assert sorted(tmp_path.rglob("*")) == files
    if before is not None:
        assert snapshot(session) == before
        assert session.verify()


# What is wrong is named, and stops nothing else


def raises(error: BaseException, when: str) -> Callable[..., Any]:
    """`store.save`, which raises for adapters of one method."""
    save = store.save

    def instead(base: Any, slots: Any, attached: Any, folder: Path) -> int:
        if attached.method.name == when:
            raise error
        return save(base, slots, attached, folder)

    return instead


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AdapterError("no room for it"), "no room for it"),
        (RuntimeError("first sentence. Second sentence."), "RuntimeError: first sentence (in "),
        (ModuleNotFoundError("No module named 'x'", name="x.y"), "needs x"),
    ],
)
def test_a_failing_method_is_one_line_and_the_others_are_tried(
    error: Exception, expected: str, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "save", raises(error, "ia3"))
    examination = Session().doctor()
    assert not examination
    problem = found(examination, "ia3")
    assert examination.problems == (problem,)
    assert expected in problem.found
    assert "\n" not in problem.found
    advice = "%pip install x" if isinstance(error, ImportError) else "%lora doctor --report"
    assert advice in problem.advice
    assert found(examination, "lora").state == found(examination, "houlsby").state == "ok"


def test_a_tensor_that_is_read_wrong_is_found(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    read = store.read

    def wrong(*args: Any, **kwargs: Any) -> Any:
        attached = read(*args, **kwargs)
        with torch.no_grad():
            first = next(iter(dict(attached.tensors()).values()))
            first.view(-1)[-1] += 1
        return attached

    monkeypatch.setattr(store, "read", wrong)
    examination = Session().doctor()
    assert [f.check for f in examination.problems] == ["lora", "ia3", "houlsby"]
    assert all("differs from the saved one" in f.found for f in examination.problems)


def test_an_unmerge_that_is_not_exact_is_found(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    unmerge = merging.unmerge

    def inexact(state: Any) -> Any:
        receipt = unmerge(state)
        with torch.no_grad():
            next(state.base.model.parameters()).view(-1)[0] += 1e-3
        return receipt

    monkeypatch.setattr(merging, "unmerge", inexact)
    examination = Session().doctor()
    assert [f.check for f in examination.problems] == ["lora", "ia3"]  # houlsby is not merged
    assert all("changed the base" in f.found for f in examination.problems)


def test_an_untested_release_is_a_note(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(library: str) -> str:
        return "0.99.0" if library == "peft" else metadata.version(library)

    monkeypatch.setattr(versions, "version", version)
    monkeypatch.setattr(doctor_machine, "version", version)
    examination = Session().doctor()
    assert examination
    note = found(examination, "peft")
    assert (note.state, note.found) == ("note", "0.99.0 is untested; tested: 0.20.0 to 0.21.2")
    assert '%pip install "peft==0.21.2"' in note.advice


def test_a_release_outside_the_bounds_is_a_problem(
    few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(library: str) -> str:
        return "5.23" if library == "plotly" else metadata.version(library)

    monkeypatch.setattr(doctor_machine, "version", version)
    problem = found(Session().doctor(), "plotly")
    assert (problem.state, problem.found) == ("problem", "5.23, expected >=5.24")
    assert problem.advice.startswith('%pip install "plotly>=5.24"')


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder that nobody can write to")
def test_a_working_folder_that_cannot_be_written(
    few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/proc")
    examination = Session().doctor()
    assert [f.check for f in examination.problems] == ["home folder"]
    assert "%lora save NAME FOLDER" in examination.problems[0].advice


def test_without_a_temporary_folder_no_method_is_tried(
    few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor_methods.tempfile, "mkdtemp", full)
    examination = Session().doctor()
    assert [f.check for f in examination.problems] == ["temporary folder"]
    assert "No space left on device" in examination.problems[0].found
    assert "TMPDIR" in examination.problems[0].advice
    lora = found(examination, "lora")
    assert (lora.state, lora.found) == ("not tried", "needs a temporary folder; see above")


@pytest.mark.parametrize("free", [None, 1])
def test_little_memory_is_a_problem(
    free: int | None, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_machine, "free_memory", lambda: free)
    line = found(Session().doctor(), "memory")
    assert line.state == ("ok" if free is None else "problem")


BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {library!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Blocked())
import lora_magic
from lora_magic.state import doctor_methods
doctor_methods.names = lambda: ["embedded model", "lora", "lora on 4 bits"]
examination = lora_magic.Session().doctor()
assert not examination
for f in examination.findings:
    if f.state != "ok":
        print(f.check, f.state, f.found, f.advice, sep="|")
"""

AGAIN = "%pip install --force-reinstall"


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        ("bitsandbytes", [f'bitsandbytes|problem|cannot be imported|{AGAIN} "bitsandbytes']),
        ("ipywidgets", [f'ipywidgets|problem|cannot be imported|{AGAIN} "ipywidgets']),
        (
            "torch",
            [
                f'torch|problem|cannot be imported|{AGAIN} "torch<',
                'peft|problem|cannot be imported: it needs torch|%pip install "torch<',
                "lora|not tried|needs torch, transformers, peft, accelerate; see above|",
            ],
        ),
    ],
)
def test_a_library_that_cannot_be_imported_is_named(library: str, expected: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(library=library)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(lora_magic.__file__).parents[1],
    )
    assert ran.returncode == 0, ran.stderr
    lines = {line.partition("|")[0]: line for line in ran.stdout.splitlines()}
    for wanted in expected:
        seen, parts = lines[wanted.partition("|")[0]].split("|"), wanted.split("|")
        assert all(s.startswith(p) for s, p in zip(seen, parts, strict=True)), seen
    if library == "ipywidgets":
        assert "lora" not in lines
    if library == "bitsandbytes":
        assert lines["lora on 4 bits"] == "lora on 4 bits|not tried|needs bitsandbytes; see above|"


# Interrupts


@pytest.mark.parametrize("where", ["_train", "_save"])
@pytest.mark.parametrize("presses", [1, 2])
def test_an_interrupt_ends_it_and_shows_what_was_done(
    where: str, presses: int, few: None, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = getattr(doctor_methods, where)
    handler = signal.getsignal(signal.SIGINT)
    calls: list[object] = []

    def interrupted(*args: Any) -> str:
        calls.append(args)
        if len(calls) == 2:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)
        return str(work(*args))

    monkeypatch.setattr(doctor_methods, where, interrupted)
    examination = session.doctor()
    assert not examination
    assert examination.stopped
    assert "stopped by you" in examination.line
    assert found(examination, "lora").state == "ok"
    second = found(examination, "ia3")
    assert (second.state == "ok") == (presses == 1)
    assert found(examination, "houlsby").found == "stopped by you"
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(calls) == 2
    assert session.verify()


def test_an_interrupt_within_a_step_is_not_lost(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_magic.training import loop

    passes, calls = loop.Loop._passes, []

    def interrupted(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        return passes(*args)

    monkeypatch.setattr(loop.Loop, "_passes", interrupted)
    examination = Session().doctor()
    assert examination.stopped
    assert found(examination, "lora").state == "ok"
    assert found(examination, "ia3").found == "stopped by you"


# The report


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A user, a machine, a home, a working folder and an environment with names to be found."""
    home = tmp_path / "Zaphod Beeblebrox"
    (home / "secret plans").mkdir(parents=True)
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "zbeeblebrox")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("API_TOKEN", "tok-42-xyz")
    monkeypatch.setenv("OMP_NUM_THREADS", "trillian")
    monkeypatch.setattr("socket.gethostname", lambda: "heart-of-gold.galaxy.example")
    monkeypatch.chdir(home / "secret plans")
    monkeypatch.setattr("getpass.getuser", lambda: "zb")
    return [
        *("Zaphod", "Beeblebrox", "zbeeblebrox", "tok-42-xyz", "trillian", "heart-of-gold"),
        *("secret", "galaxy", " zb ", "@", str(tmp_path), "site-packages", "/"),
    ]


def test_the_report_holds_no_path_and_no_name(
    person: list[str], few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"zb and zbeeblebrox on heart-of-gold.galaxy.example wrote tok-42-xyz to {Path.cwd()}"
    other = "but to secret plans, secret plans/a.bin or mail zaphod@galaxy.example"
    error = RuntimeError(f"{words}, not to '{Path.home()}'/x {store.__file__} {other}")
    monkeypatch.setattr(store, "save", raises(error, "ia3"))
    examination = Session().doctor(report=True)
    report = shown(examination)
    assert [name for name in person if name.lower() in report.lower()] == []
    assert list(examination._repr_mimebundle_()) == ["text/plain"]
    assert repr(examination) == report
    # What a maintainer needs is there.
    assert f"versions | torch | ok | {metadata.version('torch')}" in report
    assert "methods | ia3 | problem | RuntimeError: " in report
    assert "wrote" in report
    assert f"in {raises.__module__}" in report or "in lora_magic.state.session, line " in report
    assert "methods | lora | ok | 1 step, merged and unmerged, saved and opened" in report


def test_a_folder_named_as_the_package_leaves_the_place_of_an_error(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lora_magic" / "state").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "lora_magic" / "state")
    monkeypatch.setattr(store, "save", raises(RuntimeError("in state"), "ia3"))
    report = shown(Session().doctor(report=True))
    assert "RuntimeError: in … (in lora_magic.state.session, line " in report


def test_it_is_a_frozen_value_with_a_frame_and_two_forms(whole: Examination) -> None:
    with pytest.raises(AttributeError):
        whole.seconds = 0.0  # type: ignore[misc]
    frame = whole.to_frame()
    assert list(frame.columns) == ["part", "check", "state", "found", "advice"]
    assert len(frame) == len(whole.findings)
    bundle = whole._repr_mimebundle_()
    for finding in whole.findings:
        assert finding.check in str(bundle["text/plain"])
        assert finding.check in str(bundle["text/html"])
    assert whole.line in shown(whole)
