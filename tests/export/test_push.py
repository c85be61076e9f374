"""Pushing to a hub: a stand-in for its HTTP interface, reached by huggingface_hub's own client."""

from __future__ import annotations

import builtins
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_magic.errors import CommandError, ExportError
from lora_magic.export import push as pushing
from lora_magic.export.folder import is_export
from lora_magic.export.push import Planned, Upload, ask, plan, upload
from lora_magic.state.session import Session
from tests.adapters.shared import moved
from tests.export import hub as stand_in
from tests.export.hub import Hub

NAME = "someone/pirate"


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub that this process uses; patched apart, so that what an error suggests can be tried."""
    with stand_in.running() as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        patch.setattr("huggingface_hub.constants.ENDPOINT", found.url)
        patch.setenv("HF_TOKEN", stand_in.TOKEN)
        # The client waits between its tries.
        patch.setattr(time, "sleep", lambda seconds: None)
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my exports" / "pirate-peft"
    (made / "inner").mkdir(parents=True)
    (made / "README.md").write_text('---\nbase_model: "org/base"\n---\n# pirate\n')
    (made / "adapter_config.json").write_text("{}\n")
    (made / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 300)
    (made / "model.gguf").write_bytes(b"GGUF" * 1000)
    (made / "inner" / "note.txt").write_text("Größe\n", encoding="utf-8")
    return made


def push(
    folder: Path,
    repository: str,
    *,
    public: bool = False,
    yes: Any = False,
    replace: bool = False,
    remarks: tuple[str, ...] = (),
) -> str:
    return upload(Planned(repository, public, yes, remarks), folder, replace)


def job(format: str = "peft", source: str = "org/base", adapter_only: bool = False) -> Any:
    base = SimpleNamespace(source=source, name=source)
    options = SimpleNamespace(adapter_only=adapter_only)
    return SimpleNamespace(format=format, base=base, options=options)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def without_attributes(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name != ".gitattributes"}


# What arrives


@pytest.mark.parametrize("public", [False, True])
def test_the_bytes_that_arrive_are_the_folders_in_one_commit(
    public: bool, hub: Hub, folder: Path
) -> None:
    before = contents(folder)
    address = push(folder, NAME, public=public, yes=True)
    there = hub.repositories[NAME]
    assert address == f"{hub.url}/{NAME}"
    assert there.private is not public
    assert len(there.commits) == 1
    arrived = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in without_attributes(there.files).items()
    }
    assert arrived == {name: hashlib.sha256(data).hexdigest() for name, data in before.items()}
    assert len(hub.uploads) == 2
    assert contents(folder) == before


def test_a_person_sees_what_would_be_uploaded_first(hub: Hub, folder: Path) -> None:
    seen: list[Upload] = []

    def confirm(upload: Upload) -> bool:
        assert hub.written == []
        seen.append(upload)
        return True

    push(folder, NAME, yes=confirm, remarks=("nobody else has its base",))
    (upload,) = seen
    assert dict(upload.files) == {name: len(data) for name, data in contents(folder).items()}
    assert upload.question == (
        f"Upload 5 files (80.9 kB) to {hub.url}/{NAME} (new, private); nobody else has its base?"
    )
    assert len(hub.repositories[NAME].commits) == 1


def test_what_is_declined_is_not_uploaded(hub: Hub, folder: Path) -> None:
    with pytest.raises(ExportError, match="not uploaded, as you answered"):
        push(folder, NAME, yes=lambda upload: False)
    assert hub.written == []
    assert hub.repositories == {}
    assert folder.is_dir()


def test_a_repository_with_files_is_not_overwritten_unless_asked(hub: Hub, folder: Path) -> None:
    push(folder, NAME, yes=True)
    (folder / "model.gguf").unlink()
    (folder / "adapter_config.json").write_text('{"r": 8}\n')
    with pytest.raises(ExportError, match=r"has README.md, .* add --replace") as refused:
        push(folder, NAME, yes=True)
    assert "\n" not in str(refused.value)
    assert len(hub.repositories[NAME].commits) == 1
    questions: list[str] = []
    push(folder, NAME, replace=True, yes=lambda one: not questions.append(one.question))
    assert "replacing README.md" in questions[0]
    assert "removing model.gguf?" in questions[0]
    assert len(hub.repositories[NAME].commits) == 2
    assert without_attributes(hub.repositories[NAME].files) == contents(folder)
    # As it was, it is still in the history.
    assert "model.gguf" in hub.repositories[NAME].commits[0][2]


def test_an_empty_repository_is_used_as_it_is(hub: Hub, folder: Path) -> None:
    hub.repositories[NAME] = stand_in.Repository(private=True)
    push(folder, NAME, yes=True)
    assert without_attributes(hub.repositories[NAME].files) == contents(folder)
    assert "POST create" not in hub.asked


@pytest.mark.parametrize(("public", "told"), [(True, "add --public"), (False, "omit --public")])
def test_an_upload_makes_nothing_public_or_private(
    public: bool, told: str, hub: Hub, folder: Path
) -> None:
    hub.repositories[NAME] = stand_in.Repository(private=not public)
    with pytest.raises(ExportError, match=f"which an upload does not change.*{told}"):
        push(folder, NAME, public=not public, yes=True)
    assert hub.written == []
    push(folder, NAME, public=public, yes=True)
    assert hub.repositories[NAME].private is not public


def test_other_bytes_on_the_hub_are_an_error(hub: Hub, folder: Path) -> None:
    hub.tamper = lambda name, data: data + b" " * (name == "adapter_config.json")
    with pytest.raises(ExportError, match=r"but adapter_config\.json differ there"):
        push(folder, NAME, yes=True)


def test_somebody_elses_commit_meanwhile_is_not_overwritten(hub: Hub, folder: Path) -> None:
    push(folder, NAME, yes=True)
    there = hub.repositories[NAME]

    def confirm(upload: Upload) -> bool:
        there.commits.append(("1" * 40, "theirs", {}))
        return True

    (folder / "adapter_config.json").write_text('{"r": 8}\n')
    with pytest.raises(ExportError, match="somebody changed someone/pirate meanwhile"):
        push(folder, NAME, replace=True, yes=confirm)
    assert there.files["adapter_config.json"] == b"{}\n"


def test_an_interrupt_makes_no_commit(hub: Hub, folder: Path) -> None:
    before = contents(folder)

    def interrupt(what: str) -> None:
        if what == "batch":
            import signal

            signal.raise_signal(signal.SIGINT)

    hub.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        push(folder, NAME, yes=True)
    assert hub.repositories[NAME].commits == []
    assert "POST commit" not in hub.asked
    assert contents(folder) == before
    # Once more, without the interrupt, it is complete.
    hub.during = lambda what: None
    push(folder, NAME, yes=True)
    assert without_attributes(hub.repositories[NAME].files) == before


# What the hub refuses

REFUSALS = [
    ("whoami", 401, r"does not accept the token.*hf auth login"),
    ("whoami", 500, "fails with status 500"),
    ("info", 403, "the token may not write to someone"),
    ("create", 401, r"does not accept the token.*hf auth login"),
    ("create", 402, "the storage of someone is full"),
    ("create", 403, r"may not write to someone \(the reason of several lines\).*hf auth login"),
    ("create", 404, "the hub knows no someone"),
    ("create", 409, "another upload to it is running"),
    ("create", 429, "too many requests"),
    ("create", 500, "fails with status 500"),
    ("preupload", 403, "the token may not write to someone"),
    ("preupload", 429, "too many requests"),
    ("batch", 413, "larger than the hub takes"),
    ("upload", 503, "fails with status 503"),
    ("commit", 403, "the token may not write to someone"),
    ("commit", 409, "another upload to it is running"),
    ("commit", 500, "fails with status 500"),
    ("commit", 418, "the hub answers 418"),
]


@pytest.mark.parametrize(("where", "status", "told"), REFUSALS)
def test_a_refusal_is_one_line_that_says_where_the_export_is(
    where: str, status: int, told: str, hub: Hub, folder: Path
) -> None:
    before = contents(folder)
    hub.failures[where] = (status, {}, "the reason\n of several lines")
    with pytest.raises(ExportError, match=told) as seen:
        push(folder, NAME, yes=True)
    line = str(seen.value)
    assert "\n" not in line
    assert line.startswith(f"{NAME} was not uploaded: ")
    assert f'type: !hf upload {NAME} "{folder}" . --private' in line
    assert contents(folder) == before
    assert all(not there.commits for there in hub.repositories.values())


def test_an_owner_that_is_not_ours(hub: Hub, folder: Path) -> None:
    with pytest.raises(ExportError, match=r"may not write to other.*the rights to create"):
        push(folder, "other/pirate", yes=True)


def test_a_wrong_token_is_no_missing_repository(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(ExportError, match=r"does not accept the token.*hf auth login"):
        push(folder, NAME, yes=True)
    assert hub.written == []


def test_a_hub_that_is_not_there(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ExportError, match=r"the hub cannot be reached \(ConnectError\)") as seen:
        push(folder, NAME, yes=True)
    assert "\n" not in str(seen.value)


def test_a_page_that_the_hub_refuses_is_one_line(hub: Hub, folder: Path) -> None:
    (folder / "README.md").write_text("---\nname: [\n---\n# pirate\n")
    with pytest.raises(ExportError, match=r"Invalid metadata in README\.md") as seen:
        push(folder, NAME, yes=True)
    assert "\n" not in str(seen.value)
    assert "POST commit" not in hub.asked


# Before anything is written


@pytest.mark.parametrize("name", ["pirate", "a/b/c", "a b/c", "/c", "a/", "", 5, ["a/b"]])
def test_a_name_that_no_repository_can_have(name: Any, hub: Hub) -> None:
    with pytest.raises(CommandError, match=r"expected OWNER/NAME"):
        plan(job(), name, public=False, yes=False)


@pytest.mark.parametrize(("public", "yes"), [(True, False), (False, True)])
def test_flags_of_a_push_need_one(public: bool, yes: bool) -> None:
    with pytest.raises(CommandError, match=r"needs the repository: --push OWNER/NAME"):
        plan(job(), None, public=public, yes=yes)
    plan(job(), None, public=False, yes=False)


def test_without_a_token_or_offline_nothing_begins(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan(job(), NAME, public=True, yes=True)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ExportError, match=r"no token of the hub; type: !hf auth login"):
        plan(job(), NAME, public=False, yes=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ExportError, match="HF_HUB_OFFLINE is set"):
        plan(job(), NAME, public=False, yes=False)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("format", "alone", "source", "told"),
    [
        ("peft", False, "folder", True),
        ("vllm", False, "folder", True),
        ("gguf", True, "folder", True),
        ("gguf", False, "folder", False),
        ("merged", False, "folder", False),
        ("peft", False, "org/base", False),
    ],
)
def test_an_adapter_for_a_base_that_nobody_else_has(
    format: str, alone: bool, source: str, told: bool, hub: Hub, tmp_path: Path
) -> None:
    where = str(tmp_path) if source == "folder" else source
    planned = plan(job(format, where, alone), NAME, public=False, yes=False)
    assert planned is not None
    assert bool(planned.remarks) is told
    assert all("export --to merged" in one for one in planned.remarks)


# Whoever is at the keyboard

UPLOAD = Upload(NAME, "https://hub.invalid", False, False, Path("out"), (("a", 5),))


@pytest.mark.parametrize(
    ("typed", "sure"), [("y", True), (" YES ", True), ("", False), ("n", False), ("yy", False)]
)
def test_only_yes_is_yes(typed: str, sure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return typed

    monkeypatch.setattr(builtins, "input", answer)
    assert ask(UPLOAD) is sure
    assert asked == [
        "Upload 1 file (5 bytes) to https://hub.invalid/someone/pirate (new, private)? [y/N] "
    ]


def test_where_nobody_can_answer_the_error_names_yes(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from IPython.core.error import StdinNotImplementedError

    def nobody(question: str) -> str:
        raise StdinNotImplementedError("raw_input was called")

    monkeypatch.setattr(builtins, "input", nobody)
    with pytest.raises(
        ExportError, match=r"nobody can confirm here: Upload 5 files.*peft; .*--yes"
    ):
        push(folder, NAME)
    monkeypatch.undo()
    # Not even in a pipe with a "y" in it.
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(ExportError, match="add --yes"):
        pushing.ask(UPLOAD)
    assert hub.written == []


# The whole verb


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """The embedded model with an adapter whose numbers are noise."""
    monkeypatch.chdir(tmp_path)
    found = Session()
    found.load("demo")
    found.attach("pirate", rank=2)
    moved(found._state.attached["pirate"])
    return found


PROMPT = "What does a fox eat?"


def test_what_is_exported_is_pushed_and_answers_as_its_page_says(
    hub: Hub, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = session.ask(PROMPT, max_new_tokens=64).text
    made = session.export(to="merged", unchecked=True, push=NAME, yes=True)
    assert made.pushed == f"{hub.url}/{NAME}"
    assert f"pushed to {hub.url}/{NAME}" in made.line
    there = hub.repositories[NAME]
    assert len(there.commits) == 1
    assert without_attributes(there.files) == contents(made.folder)
    # The page's own program, with a prompt, on the folder that was uploaded.
    program = there.files["README.md"].decode().partition("```python\n")[2].partition("```")[0]
    capsys.readouterr()
    exec(program.replace("FOLDER", str(made.folder)).replace("PROMPT", PROMPT), {})
    assert capsys.readouterr().out.strip() == answer.strip()


def test_without_a_yes_the_export_stays_here(hub: Hub, session: Session, tmp_path: Path) -> None:
    options: dict[str, Any] = {"to": "merged", "unchecked": True, "push": NAME}
    with pytest.raises(ExportError, match="not uploaded, as you answered"):
        session.export("pirate", tmp_path / "out", yes=lambda upload: False, **options)
    assert is_export(tmp_path / "out")
    # Nobody is here to be asked.
    with pytest.raises(ExportError, match=r"nobody can confirm here.*add --yes"):
        session.export("pirate", tmp_path / "out", replace=True, **options)
    assert is_export(tmp_path / "out")
    assert hub.written == []
    with pytest.raises(CommandError, match="expected OWNER/NAME"):
        session.export("pirate", tmp_path / "more", **{**options, "push": "pirate"})
    with pytest.raises(CommandError, match="--yes needs the repository"):
        session.export("pirate", tmp_path / "more", yes=True, **{**options, "push": None})
    assert not (tmp_path / "more").exists()
    assert session.active == "pirate"


def test_an_export_that_names_a_folder_of_this_computer_is_not_uploaded(
    hub: Hub, folder: Path
) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/home/bob/m"}')
    planned = Planned(NAME, yes=True, places=("/home/bob",))
    with pytest.raises(ExportError, match=r"adapter_config\.json names a folder of this computer"):
        upload(planned, folder)
    assert hub.asked == []
