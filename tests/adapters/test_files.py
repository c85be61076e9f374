"""Folders that strangers wrote, and saves that were killed: bytes on disk and plain PEFT judge."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from lora_magic.adapters import files, replace
from lora_magic.errors import AdapterError, CommandError, LoraMagicError, StateError
from lora_magic.state.session import HOME, Session
from tests.conftest import perturb
from tests.tiny import tiny_model

#: Replace the folder p, killed at the given call of a rename, flush or removal.
KILLED = """
import os, signal, sys, pathlib
from lora_magic.adapters import replace
folder, step, exchange = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "exchange"
calls = 0
def counted(real):
    def call(*given, **named):
        global calls
        calls += 1
        if calls == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)
    return call
if not exchange:
    replace._exchanged = lambda *_: False
pathlib.Path.rename = counted(pathlib.Path.rename)
replace._flush, replace.shutil.rmtree = counted(replace._flush), counted(replace.shutil.rmtree)
with replace.locked(folder):
    replace.replace(folder, lambda new: [(new / n).write_text("new") for n in ("a", "b")])
"""


def names(folder: Path) -> list[str]:
    """What is in a folder, but the home folder with its ledger."""
    return [path.name for path in folder.iterdir() if path.name != HOME]


def test_the_current_folder_is_not_replaced_and_one_that_is_gone_is_named(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(AdapterError, match="is the current folder"):
        session.save("one", ".")
    assert os.getcwd() == str(tmp_path / "here")
    (tmp_path / "here").rmdir()
    with pytest.raises(CommandError, match="the current folder was removed"):
        session.save("one", "x")
    monkeypatch.chdir(tmp_path)


def test_a_save_that_fails_leaves_no_folders_and_names_the_file_in_its_way(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    (tmp_path / "file").write_text("x")
    with pytest.raises(AdapterError, match="file is a file, not a folder"):
        session.save("one", tmp_path / "file" / "x")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(AdapterError, match="No space left"):
        session.save("one", tmp_path / "a" / "b" / "c")
    assert names(tmp_path) == ["file"]


def test_a_folder_that_is_replaced_keeps_its_permissions(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")
    (tmp_path / "p").chmod(0o2770)
    expected = (tmp_path / "p").stat().st_mode
    session.save("one", tmp_path / "p")
    assert (tmp_path / "p").stat().st_mode == expected


def test_where_no_lock_can_be_made_the_reason_is_told_at_once(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    monkeypatch.setattr(replace, "WAIT", 0.0)

    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(AdapterError, match="No such file"):
        session.save("one", tmp_path / "p")


def test_weights_that_vanish_while_they_are_read_are_one_line(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")

    def gone(path: str) -> None:
        raise RuntimeError(f"unable to open file <{path}> in read-only mode")

    monkeypatch.setattr(files, "load_file", gone)
    with pytest.raises(AdapterError, match="unable to open file"):
        session.open(tmp_path / "p", "two")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new_one(
    way: str, tmp_path: Path
) -> None:
    found = set()
    for step in range(1, 9):
        folder = tmp_path / str(step) / "p"
        folder.mkdir(parents=True)
        for name in ("a", "b"):
            (folder / name).write_text("old")
        subprocess.run(
            [sys.executable, "-c", KILLED, str(folder), str(step), way],
            cwd=Path(files.__file__).parents[2],
            check=False,
        )
        if way == "exchange" and sys.platform == "linux":
            assert folder.is_dir()
        with replace.locked(folder):
            replace.settle(folder, lambda _: False)
        read = {file.name: file.read_text() for file in folder.iterdir()}
        assert read in ({"a": "old", "b": "old"}, {"a": "new", "b": "new"})
        assert names(folder.parent) == ["p"]
        found.add(read["a"])
    assert found == {"old", "new"}


def killed(session: Session, folder: Path) -> None:
    """The state of a folder after a kill between the two renames of a save."""
    session.save("one", folder)
    folder.rename(folder.parent / "old")
    perturb(session, "one")
    session.save("one", folder)
    work = folder.parent / f".{folder.name}-abcdefgh"
    work.mkdir()
    (folder.parent / "old").rename(work / "old")
    folder.rename(work / "new")


@pytest.mark.parametrize("verb", ["open", "save"])
def test_open_and_save_finish_a_killed_save(verb: str, session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    killed(session, tmp_path / "p")
    expected = (tmp_path / ".p-abcdefgh" / "new" / files.WEIGHTS_FILE).read_bytes()
    assert files.saved_in(tmp_path) == ["p"]
    if verb == "open":
        session.open(tmp_path / "p", "two")
    else:
        session.save("one", tmp_path / "p")
    assert (tmp_path / "p" / files.WEIGHTS_FILE).read_bytes() == expected
    assert names(tmp_path) == ["p"]


def test_a_first_save_that_was_killed_halfway_is_not_an_adapter(
    session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")
    (tmp_path / ".p-abcdefgh").mkdir()
    (tmp_path / "p").rename(tmp_path / ".p-abcdefgh" / "new")
    weights = tmp_path / ".p-abcdefgh" / "new" / files.WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-4])
    assert files.saved_in(tmp_path) == []
    with pytest.raises(AdapterError, match="no folder"):
        session.open(tmp_path / "p", "two")


def test_a_full_disk_is_one_line_and_the_old_adapter_stays(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")
    before = {file.name: file.read_bytes() for file in (tmp_path / "p").iterdir()}

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(AdapterError, match="No space left"):
        session.save("one", tmp_path / "p")
    assert {file.name: file.read_bytes() for file in (tmp_path / "p").iterdir()} == before
    assert names(tmp_path) == ["p"]


@pytest.mark.parametrize("name", files.ALL_FILES)
def test_a_file_that_somebody_else_wrote_is_never_replaced(
    name: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / name).write_text("the only copy")
    with pytest.raises(AdapterError, match="choose another folder"):
        session.save("one", tmp_path / "p")
    assert (tmp_path / "p" / name).read_text() == "the only copy"


@pytest.mark.parametrize("name", ["README.md", "lora_magic.json"])
def test_an_edited_page_and_a_foreign_card_are_never_replaced(
    name: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")
    (tmp_path / "p" / name).write_text('{"mine": 1}')
    with pytest.raises(AdapterError, match="choose another folder"):
        session.save("one", tmp_path / "p")
    assert (tmp_path / "p" / name).read_text() == '{"mine": 1}'


def test_an_unedited_folder_of_plain_peft_is_replaced(session: Session, tmp_path: Path) -> None:
    config = LoraConfig(r=2, target_modules=["q_proj"])
    plain: Any = get_peft_model(tiny_model("llama"), config)  # type: ignore[arg-type]  # a model
    plain.save_pretrained(tmp_path / "p")
    session.open(tmp_path / "p", "one")
    session.save("one", tmp_path / "p")
    assert (tmp_path / "p" / "lora_magic.json").is_file()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_saved_files_have_the_permissions_of_any_new_file(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    before = os.umask(0o027)
    try:
        session.save("one", tmp_path / "p")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "p").iterdir()}
    assert modes == {0o640}
    assert stat.S_IMODE((tmp_path / "p").stat().st_mode) == 0o750


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_is_followed_and_stays_a_link(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    (tmp_path / "link").symlink_to("there")
    for _ in range(2):  # it dangles at first
        session.save("one", tmp_path / "link")
        assert (tmp_path / "link").readlink() == Path("there")
        assert sorted(file.name for file in (tmp_path / "there").iterdir()) == sorted(
            files.ALL_FILES
        )


@pytest.mark.parametrize("name", ["a\0b", "n" * 300])
def test_an_impossible_name_is_one_line(name: str, session: Session) -> None:
    session.attach("one", rank=2)
    for verb in (session.save, session.open):
        with pytest.raises(LoraMagicError) as seen:
            verb(*(("one", name) if verb == session.save else (name, "two")))
        assert "\n" not in str(seen.value)


def overwrite(session: Session, folder: Path) -> None:
    shutil.rmtree(folder)
    session.attach("two", rank=2)
    session.save("two", folder)


def alter(session: Session, folder: Path) -> None:
    weights = folder / files.WEIGHTS_FILE
    save_file({key: tensor + 1 for key, tensor in load_file(weights).items()}, weights)


@pytest.mark.parametrize("change", [overwrite, alter, lambda _, folder: shutil.rmtree(folder)])
def test_a_folder_that_changed_is_no_save_any_more(
    change: Callable[[Session, Path], None], session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.train("one", text="Where? => Here.", steps=1)
    session.save("one", tmp_path / "p")
    for name in ("lora_magic.json", files.WEIGHTS_FILE):
        os.utime(tmp_path / "p" / name, ns=(1, 1))  # touched, but the same
    assert session._state.unsaved() == []
    change(session, tmp_path / "p")
    assert session._state.unsaved() == ["one"]
    with pytest.raises(StateError, match="would lose one"):
        session.load("demo")


def test_a_save_that_falls_into_a_read_is_never_mixed_with_it(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("pirate", rank=2, alpha=64)
    perturb(session, "pirate")
    session.save("pirate", tmp_path / "p")
    session.attach("pirate", rank=2, alpha=8, replace=True)
    later, real = [session.save], files.load_file

    def between(path: str) -> Any:
        found = real(path)
        while later:
            later.pop()("pirate", tmp_path / "p")
        return found

    monkeypatch.setattr(files, "load_file", between)
    session.open(tmp_path / "p", "read")
    read, saved = (dict(session._state.attached[n].tensors()) for n in ("read", "pirate"))
    assert session.adapters["read"].spec.alpha == 8
    assert all(bool((read[key] == saved[key]).all()) for key in saved)


def test_weights_of_another_save_are_named(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")
    alter(session, tmp_path / "p")
    with pytest.raises(AdapterError, match="is not the file that was saved with its lora_magic"):
        session.open(tmp_path / "p", "two")
    (tmp_path / "p" / "lora_magic.json").unlink()
    assert session.open(tmp_path / "p", "two").trained


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", [files.CARD_FILE, files.CONFIG_FILE, files.WEIGHTS_FILE])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "broken link", "sparse"])
def test_only_regular_files_that_fit_in_memory_are_read(
    kind: str, name: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")
    path = tmp_path / "p" / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 2**43)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "nowhere")
    with pytest.raises(AdapterError, match=f"{name} cannot be read") as seen:
        session.open(tmp_path / "p", "two")
    assert "\n" not in str(seen.value)


#: A config's field, and a value that it cannot have.
WRONG = {
    **dict.fromkeys(("r", "lora_dropout", "bias", "lora_alpha"), None),
    **dict.fromkeys(("target_modules", "modules_to_save", "exclude_modules", "lora_bias"), 5),
    **dict.fromkeys(("rank_pattern", "init_lora_weights", "layers_pattern"), 5),
    "alpha_pattern": {"q_proj": "x"},
    "layers_to_transform": ["x"],
    "r ": 10**9,
    "r  ": -1,
    "lora_alpha ": 10**400,
    "peft_type": ["LORA"],
    "base_model_name_or_path": "\ud83d",
}


@pytest.mark.parametrize("field", WRONG)
def test_a_config_of_wrong_values_is_one_line_and_makes_nothing(
    field: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")
    (tmp_path / "p" / files.CARD_FILE).unlink()
    path = tmp_path / "p" / files.CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), field.strip(): WRONG[field]}))
    with pytest.raises(AdapterError) as seen:
        session.open(tmp_path / "p", "two")
    assert "\n" not in str(seen.value)
    assert list(session.adapters) == ["one"]


SLOW = r"(\w|\w\w|\.)+[^\w.]"


@pytest.mark.parametrize(
    "change",
    [
        {"target_modules": SLOW},
        {"exclude_modules": SLOW},
        {"rank_pattern": {SLOW: 4}},
        {"alpha_pattern": {"((a{1000}){1000}){1000}": 4}},
        {"target_modules": "(((("},
    ],
)
def test_a_pattern_that_never_ends_is_one_line(
    change: dict[str, Any], session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")
    (tmp_path / "p" / files.CARD_FILE).unlink()
    path = tmp_path / "p" / files.CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(AdapterError, match=next(iter(change))):
        session.open(tmp_path / "p", "two")


@pytest.mark.parametrize("field", ["rank_pattern", "alpha_pattern"])
def test_a_pattern_of_adalora_that_never_ends_is_one_line(
    field: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", method="adalora", rank=2)
    session.save("one", tmp_path / "p")
    (tmp_path / "p" / files.CARD_FILE).unlink()
    value = [True] if field == "rank_pattern" else 4
    edited(tmp_path / "p", **{field: {SLOW: value}})
    with pytest.raises(AdapterError, match=field):
        session.open(tmp_path / "p", "two")


def edited(folder: Path, **fields: Any) -> None:
    path = folder / files.CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"arrow_config": {"top_k": 1}}, "it uses arrow_config"),
        ({"kasa_config": {"x": 1}}, "it uses kasa_config"),
        ({"use_newer": True}, "it uses use_newer"),
        ({"newer": True, "other": {"x": 1}}, "sets newer, other, which peft .* does not know"),
        ({"target_modules": []}, "target_modules is empty"),
    ],
)
def test_a_setting_that_would_be_misread_is_refused_by_name(
    fields: dict[str, Any], told: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")
    (tmp_path / "p" / files.CARD_FILE).unlink()
    edited(tmp_path / "p", **fields)
    with pytest.raises(AdapterError, match=told) as seen:
        session.open(tmp_path / "p", "two")
    assert "load the one" not in str(seen.value)


def test_settings_that_are_off_or_null_are_no_fault_and_plain_peft_reads_what_is_saved(
    session: Session, tmp_path: Path
) -> None:
    from peft import PeftModel

    get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(
        tmp_path / "p"
    )
    edited(tmp_path / "p", rank_pattern=None, alpha_pattern=None, newer=None, size=16, more=False)
    session.use(tiny_model(), None, replace=True)
    session.open(tmp_path / "p")
    session.save("p", tmp_path / "again")
    PeftModel.from_pretrained(tiny_model(), tmp_path / "again")


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": r".*layers\.0\..*(q|v)_proj"},
        {"target_modules": ["q_proj", "v_proj"], "exclude_modules": r".*\.1\..*q_proj"},
        {
            "target_modules": ["q_proj", "v_proj"],
            "layers_to_transform": [1],
            "layers_pattern": "l.yers",
        },
        {
            "target_modules": ["q_proj", "v_proj"],
            "rank_pattern": {r"(layers\.0\..*)q_proj": 3, "[qv]_proj": 5},
            "alpha_pattern": {"(q|x)_proj": 2},
        },
        {"target_modules": "all-linear", "exclude_modules": r".*mlp.*"},
    ],
)
def test_patterns_mean_what_they_mean_to_plain_peft_and_are_saved_as_they_were(
    fields: dict[str, Any], session: Session, tmp_path: Path
) -> None:
    plain: Any = get_peft_model(tiny_model("llama"), LoraConfig(r=2, **fields))  # type: ignore[arg-type]  # a model
    plain.save_pretrained(tmp_path / "p")
    expected = {
        path.removeprefix("base_model.model."): (m.r["default"], m.scaling["default"])
        for path, m in plain.named_modules()
        if hasattr(m, "lora_A")
    }
    session.open(tmp_path / "p", "one")
    found = {
        path: (layer.r["default"], layer.scaling["default"])  # type: ignore[index]  # PEFT's
        for path, layer in session._state.attached["one"].replacements.items()
    }
    assert found == expected
    session.save("one", tmp_path / "again")
    before, after = (
        json.loads((tmp_path / name / files.CONFIG_FILE).read_text()) for name in ("p", "again")
    )
    for field, value in fields.items():
        lists = isinstance(before[field], list)
        kept = sorted(after[field]) if lists else after[field]
        assert kept == (sorted(before[field]) if lists else value)


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"trainable_token_indices": [1, 2]}, "then type: %lora load OUT"),
        ({"peft_type": "LOKR"}, "then type: %lora load OUT"),
        ({"modules_to_save": ["embed_tokens"]}, "then type: %lora load OUT"),
        ({"init_lora_weights": "pissa"}, "then type: %lora load OUT"),
        ({"peft_type": "P_TUNING"}, "use it with PEFT"),
        ({"bias": None}, "save it again with PEFT"),
    ],
)
def test_a_refusal_names_its_own_cause_and_never_the_loaded_base(
    change: dict[str, Any], remedy: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "p")
    (tmp_path / "p" / files.CARD_FILE).unlink()
    path = tmp_path / "p" / files.CONFIG_FILE
    text = json.dumps({**json.loads(path.read_text()), **change})
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    with pytest.raises(AdapterError) as seen:
        session.open(tmp_path / "p", "two")
    assert remedy in str(seen.value)
    assert "trained on" not in str(seen.value)


@pytest.mark.parametrize("file", [files.CARD_FILE, files.CONFIG_FILE])
def test_a_wrong_value_in_a_file_suggests_no_flag_of_attach(
    file: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "one")
    path = tmp_path / "one" / file
    fields = json.loads(path.read_text())
    fields.get("spec", fields)["rank" if file == files.CARD_FILE else "r"] = 0
    path.write_text(json.dumps(fields))
    with pytest.raises(AdapterError, match="rank 0: expected a whole number from 1") as seen:
        session.open(tmp_path / "one", "two")
    assert "--rank" not in str(seen.value)
