"""`export` as a verb: of what, where to, on which prompts, and that a failure leaves nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lora_magic import reading
from lora_magic.errors import (
    AdapterError,
    CommandError,
    ExportError,
    LoraMagicError,
    PromptError,
    StateError,
)
from lora_magic.export import process
from lora_magic.export.merged import Merged
from lora_magic.state.session import Session
from tests.conftest import Saver
from tests.export.shared import answer_briefly, changed, read_here
from tests.state.shared import snapshot
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture
def session(session: Session) -> Session:
    """A session with an active adapter `one`, changed."""
    session.attach("one", rank=2, targets="q_proj")
    changed(session, "one")
    return session


def merged(session: Session, *args: Any, **flags: Any) -> Any:
    return session.export(*args, to="merged", **{"unchecked": True, **flags})


# Of what, and where to


def test_the_active_adapter_goes_to_the_home_folder(session: Session) -> None:
    made = merged(session)
    assert made.folder == Path(".lora_magic/exports/one-merged")
    assert (made.name, made.format, made.check) == ("one", "merged", None)
    assert "not checked" in made.line
    assert (
        dict(made.files)["model.safetensors"] == (made.folder / "model.safetensors").stat().st_size
    )
    assert len(made.to_frame()) == 0
    assert merged(session, "base").folder == Path(".lora_magic/exports/base-merged")


def test_no_prompt_is_on_the_page(session: Session, tmp_path: Path) -> None:
    folder, prompts = tmp_path / "served", ["A secret of mine?"]
    made = session.export("one", folder, to="vllm", prompts=prompts, unchecked=True)
    assert prompts[0] in dict(made.commands)["ask it"]
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert "secret" not in page
    assert "PROMPT" in page


def test_the_receipt_is_in_the_ledger_and_no_prompt_is(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    made = merged(session, prompts=["A secret question?"], unchecked=False)
    line = Path(".lora_magic/ledger.jsonl").read_text().splitlines()[-1]
    entry = json.loads(line)
    assert (entry["verb"], entry["adapter"], entry["result"]) == ("export", "one", made.line)
    assert "1 of 1 prompts" in made.line
    assert "secret" not in Path(".lora_magic/ledger.jsonl").read_text()
    frame = made.to_frame()
    assert list(frame["prompt"]) == ["A secret question?"]
    assert list(frame["same"]) == [True]


WRONG: dict[str, tuple[Callable[[Session], object], type[LoraMagicError], str]] = {
    "no format": (lambda s: s.export("one"), CommandError, "needs a format; .*merged .*gguf"),
    "unknown format": (lambda s: s.export(to="gguv"), CommandError, "expected merged.*'gguf'"),
    "no text": (lambda s: s.export(to=5), CommandError, "--to 5: expected merged"),  # type: ignore[arg-type]  # a mistake
    "unknown adapter": (lambda s: merged(s, "ome"), AdapterError, "Did you mean 'one'"),
    "another format's flag": (
        lambda s: s.export(to="merged", quantise="f16"),
        ExportError,
        "does not use --quantise; omit it, or use --to gguf",
    ),
    "another format's rank": (lambda s: s.export(to="merged", rank=4), ExportError, "--to vllm"),
    "unknown numbers": (
        lambda s: s.export(to="gguf", quantise="q2"),
        CommandError,
        "--quantise q2: expected f32, f16, q8_0",
    ),
    "an adapter of base": (lambda s: s.export("base", to="peft"), ExportError, "--to merged"),
    "no prompts": (lambda s: merged(s, prompts=[]), LoraMagicError, "empty"),
    "a blank prompt": (lambda s: merged(s, prompts=[" "]), LoraMagicError, "empty|blank"),
    "a long prompt": (
        lambda s: merged(s, prompts=["x " * 400]),
        PromptError,
        "tokens, and the context is 128",
    ),
    "no folder": (lambda s: merged(s, "one", " "), CommandError, "blank"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_line_and_changes_nothing(case: str, session: Session) -> None:
    call, kind, told = WRONG[case]
    before = snapshot(session)
    with pytest.raises(kind, match=told) as error:
        call(session)
    assert "\n" not in str(error.value)
    assert snapshot(session) == before
    assert not Path(".lora_magic/exports").exists()


def test_without_an_adapter_or_with_several_the_way_out_is_named(session: Session) -> None:
    session.attach("two", rank=2, targets="q_proj")
    changed(session, "two")
    session.swap("one=0.5,two=0.5")
    with pytest.raises(StateError, match=r"name one .*or blend them"):
        merged(session)
    session.swap("base")
    with pytest.raises(StateError, match="no adapter is active"):
        merged(session)


# The folder


def test_a_folder_with_other_files_is_never_replaced(session: Session) -> None:
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("years of work")
    for flags in ({}, {"replace": True}):
        with pytest.raises(ExportError, match=r"files that no export wrote.* \(thesis\.txt\)"):
            merged(session, "one", "out", **flags)
    assert os.listdir("out") == ["thesis.txt"]


def test_a_foreign_folder_is_refused_without_reading_what_is_in_it(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Path, "rglob", never)
    with pytest.raises(ExportError, match=r"files that no export wrote.* more\)"):
        merged(session, "one", "/")
    with monkeypatch.context() as patch:
        Path("locked").mkdir()
        patch.setattr(Path, "iterdir", lambda _: (_ for _ in ()).throw(PermissionError(13, "no")))
        with pytest.raises(ExportError, match=r"locked cannot be written \(no\)"):
            merged(session, "one", "locked")


def test_an_earlier_export_is_replaced_only_if_asked(session: Session) -> None:
    merged(session, "one", "out")
    first = Path("out/model.safetensors").read_bytes()
    changed(session, "one", seed=1)
    with pytest.raises(ExportError, match=r"has an earlier export .*--replace"):
        merged(session, "one", "out")
    assert Path("out/model.safetensors").read_bytes() == first
    merged(session, "one", "out", replace=True)
    assert Path("out/model.safetensors").read_bytes() != first


def test_an_earlier_export_with_a_file_of_the_persons_own_is_not_replaced(
    session: Session,
) -> None:
    merged(session, "one", "out")
    Path("out/notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"no export wrote.* \(notes\.txt\)"):
        merged(session, "one", "out", replace=True)


def test_a_place_where_no_folder_can_be_is_refused(session: Session) -> None:
    Path("file").write_text("x")
    for place, told in (
        ("file", "is a file, not a folder"),
        ("file/out", "is a file, not a folder"),
        (".", "current folder|files that no export wrote"),
    ):
        with pytest.raises(ExportError, match=told):
            merged(session, "one", place)
    Path("empty").mkdir()
    os.chdir("empty")
    with pytest.raises(ExportError, match="is the current folder"):
        merged(session, "one", ".")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(session: Session) -> None:
    Path("locked").mkdir(mode=0o500)
    with pytest.raises(ExportError, match=r"cannot be written .*ermission"):
        merged(session, "one", "locked/out")


# Failures leave nothing


def failing(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Writing fails when most of the files are there."""
    written = Merged.write

    def write(self: Merged, job: Any, folder: Path) -> tuple[str, ...]:
        written(self, job, folder)
        raise error

    patch.setattr(Merged, "write", write)


@pytest.mark.parametrize("there", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ExportError, "the disk is full"),
        (OSError(errno.EACCES, "Permission denied"), ExportError, "Permission denied"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
        (ZeroDivisionError("a fault of ours"), ZeroDivisionError, "ours"),
    ],
    ids=["full", "denied", "interrupted", "fault"],
)
def test_what_fails_while_writing_leaves_no_file_and_no_folder(
    there: bool,
    error: BaseException,
    kind: type[BaseException],
    told: str,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if there:
        merged(session, "one", "new/out")
    before, files = snapshot(session), _files()
    failing(monkeypatch, error)
    with pytest.raises(kind, match=told or None):
        merged(session, "one", "new/out", replace=True)
    assert _files() == files
    assert there or not Path("new").exists()
    assert snapshot(session) == before
    assert session.verify()


def _files() -> dict[str, int]:
    """Every file but the ledger, with its time of change."""
    found = (path for path in Path().rglob("*") if path.name != "ledger.jsonl")
    return {str(path): path.lstat().st_mtime_ns for path in found if path.is_file()}


def test_a_disk_or_a_memory_that_is_too_small_is_told_before_anything_is_written(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Merged, "write", never)
    with monkeypatch.context() as patch:
        usage = shutil.disk_usage(".")
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(ExportError, match=r"needs about .* 1 kB is free on that disk"):
            merged(session, "one", "new/out")
    with monkeypatch.context() as patch:
        patch.setattr(reading, "free_memory", lambda *_: 50_000)
        with pytest.raises(ExportError, match=r"to read it back, and 50 kB is free; .*--unchecked"):
            merged(session, "one", "new/out", unchecked=False)
        patch.setattr(reading, "free_memory", lambda *_: 1000)
        with pytest.raises(ExportError, match=r"for the merged weights.*%lora save one"):
            merged(session, "one", "new/out")
    assert not Path("new").exists()


#: A reader that says who it is, and waits.
WAITING = "import os, sys, time; open({there!r}, 'w').write(str(os.getpid())); time.sleep(60)"


def test_an_interrupt_while_it_is_read_back_ends_the_reader_and_leaves_nothing(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = tmp_path / "pid"
    (tmp_path / "with_transformers.py").write_text(WAITING.format(there=str(there)))
    monkeypatch.setattr(process, "READERS", tmp_path)
    before = snapshot(session)

    def press() -> None:
        while not (there.exists() and there.read_text()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        merged(session, "one", "new/out", unchecked=False)
    with pytest.raises(ProcessLookupError):
        os.kill(int(there.read_text()), 0)
    assert not Path("new").exists()
    assert snapshot(session) == before


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ValueError('no such thing')", "could not be read back: ValueError: no such thing"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9, .* when memory runs out"),
        ("raise SystemExit(3)", "exit status 3"),
    ],
)
def test_a_reader_that_fails_is_told_in_one_line(
    code: str, told: str, session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "with_transformers.py").write_text(code)
    monkeypatch.setattr(process, "READERS", tmp_path)
    with pytest.raises(ExportError, match=told) as error:
        merged(session, "one", "new/out", unchecked=False)
    assert "\n" not in str(error.value)
    assert not Path("new").exists()


# The prompts


def checked_on(session: Session, **flags: Any) -> list[str]:
    return list(merged(session, "one", unchecked=False, replace=True, **flags).to_frame()["prompt"])


def test_the_last_ten_prompts_of_the_session_are_the_ones(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    answer_briefly(monkeypatch)
    # Nothing was asked: one general prompt.
    assert len(checked_on(session)) == 1
    session.ask("First?", max_new_tokens=1)
    session.compare(["Second?", "Third?"], max_new_tokens=1)
    session.evaluate("one", text="Fourth? => Yes.", max_new_tokens=1)
    session.ask("First?", max_new_tokens=1)
    asked = ["First?", "Fourth?", "Third?", "Second?"]
    assert checked_on(session) == asked
    session.ask(data=[f"Number {n}?" for n in range(9)], max_new_tokens=1)
    assert checked_on(session) == [f"Number {n}?" for n in reversed(range(9))] + ["First?"]
    assert checked_on(session, prompts=["Mine?", "Mine?"]) == ["Mine?"]
    # Those that no longer fit are left out.
    session._state.remember(["x " * 400])
    assert len(checked_on(session)) == 9
    with suppress(LoraMagicError):
        session.ask("Too long? " * 400)
    session.use(tiny_model(), tiny_tokenizer(), replace=True)
    assert not session._state.asked


def test_the_embedded_models_suggestions_and_an_adapters_example_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_here(monkeypatch)
    answer_briefly(monkeypatch)
    session = Session()
    session.load("demo")
    session.attach("one", rank=2)
    session.train("one", text="Where is the treasure? => Arr!", steps=2)
    prompts = checked_on(session)
    assert len(prompts) == 10
    assert prompts[0] == "Where is the treasure?"
    session.reset()


def test_an_unverified_adapter_with_nan_is_refused(session: Session, saved_model: Saver) -> None:
    changed(session, "one", size=float("nan"))
    with pytest.raises(LoraMagicError, match="NaN"):
        merged(session, "one", "new/out", unchecked=False)
    assert not Path("new").exists()
