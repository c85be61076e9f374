"""Mutations of a folder: what lies in place of a file, and beside the files; and of data."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from .scene import (
    ADDED,
    CODE,
    EVIL,
    NAME,
    VALUES,
    WEIGHTS,
    Scene,
    adapter,
    base,
    data,
    edit,
    everywhere,
    model,
)


@everywhere
def pipe_in_place(s: Scene) -> None:
    """A named pipe in place of a file."""
    os.mkfifo(s.replaced())


@everywhere
def zeros_in_place(s: Scene) -> None:
    """A link to /dev/zero in place of a file."""
    s.replaced().symlink_to("/dev/zero")


@everywhere
def folder_in_place(s: Scene) -> None:
    """A folder in place of a file."""
    s.replaced().mkdir()


@everywhere
def dangling_link(s: Scene) -> None:
    """A link to nothing."""
    s.replaced().symlink_to(s.work / "own" / "nothing")


@everywhere
def looping_link(s: Scene) -> None:
    """A link to itself."""
    path = s.replaced()
    path.symlink_to(path.name)


@everywhere
def link_of_ones_own(s: Scene) -> None:
    """A link to a good file elsewhere, as a person makes to save space."""
    path = s.replaced()
    path.symlink_to(s.work / "own" / path.name)


@everywhere
def sparse(s: Scene) -> None:
    """A file of 1 TB that takes no space."""
    os.truncate(s.file(), 2**40)


@everywhere
def unreadable(s: Scene) -> None:
    """A file without permissions; root reads it all the same."""
    s.file().chmod(0)


@everywhere
def empty(s: Scene) -> None:
    """A file of no bytes."""
    s.file().write_bytes(b"")


@everywhere
def pointer(s: Scene) -> None:
    """A git-lfs pointer in place of a file."""
    s.file().write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    )


@everywhere
def bits_flipped(s: Scene) -> None:
    """Some bytes of a file are others."""
    raw = bytearray((path := s.file()).read_bytes())
    for _ in range(s.rng.randint(1, 20)):
        raw[s.rng.randrange(min(len(raw), 4000))] ^= 1 << s.rng.randrange(8)
    path.write_bytes(raw)


@adapter
def base_beside(s: Scene) -> None:
    """A whole base lies beside the adapter."""
    shutil.copytree(s.work / "good" / "bases" / "llama", s.folder, dirs_exist_ok=True)


@base
def adapter_beside(s: Scene) -> None:
    """An adapter lies beside the base, sometimes as a pickle with a payload."""
    shutil.copytree(s.work / "good" / "adapters" / "lora", s.folder, dirs_exist_ok=True)
    if s.rng.random() < 0.5:
        (s.folder / WEIGHTS).unlink()
        (s.folder / "adapter_model.bin").write_bytes(s.payload())


@base
def code_beside(s: Scene) -> None:
    """Python files that create the canary when they are imported, and a config that names them."""
    for name in ("evil.py", "x.py", "__init__.py", "transformers.py", "torch.py"):
        (s.folder / name).write_text(CODE.format(str(s.work / "canary")))
    path = s.folder / s.rng.choice(
        ["config.json", "tokenizer_config.json", "generation_config.json"]
    )
    edit(path, lambda c: c.update(auto_map=ADDED["auto_map"], custom_generate="x"))


@base
def template_hostile(s: Scene) -> None:
    """A chat template that raises, escapes, prints too much, or reaches for Python's objects."""
    pool = ["{{ raise_exception(x) }}", "{% for", "{{ ''.__class__.__mro__[1].__subclasses__() }}"]
    pool += [EVIL.encode("utf-8", "replace").decode(), "{{ 'x' * 10**7 }}", "{{ 1/0 }}", ""]
    pool += ["{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"]
    pool += [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 'x' %}",
        "{{ messages[9].x }}",
    ]
    (s.folder / "chat_template.jinja").unlink(missing_ok=True)
    (s.folder / "chat_template.jinja").write_text(s.rng.choice(pool))


@model
def files_in_great_number(s: Scene) -> None:
    """Thousands of other files, and folders in folders."""
    for number in range(3000):
        (s.folder / f"{number}.safetensors.tmp").touch()
    (s.folder.joinpath(*["deep"] * 200)).mkdir(parents=True)


@model
def names_hostile(s: Scene) -> None:
    """Files with control characters, spaces and bytes that are not UTF-8 in their names."""
    for name in (
        NAME.replace("/", "_"),
        " ",
        "a b",
        "-rf",
        "$(id)",
        "%s",
        "\u202e.json",
        "ü" * 100,
    ):
        (s.folder / name).write_text("x")
    Path(os.fsdecode(os.fsencode(s.folder) + b"/\xff\xfe.safetensors")).write_text("x")
    if s.rng.random() < 0.5:
        s.weights().unlink()


@model
def leftovers(s: Scene) -> None:
    """What a killed save leaves: temporary folders beside and within, and locks."""
    for place in (s.folder, s.folder.parent):
        shutil.copytree(
            s.work / "good" / "adapters" / "lora", place / f".{s.folder.name}-x1" / "old"
        )
    for name in (".lock", ".lora_magic.lock", f".{WEIGHTS}.tmp", f"{WEIGHTS}.incomplete"):
        (s.folder / name).write_text("1")


@model
def folder_nested(s: Scene) -> None:
    """Everything lies one folder deeper."""
    shutil.move(s.folder, kept := s.folder.parent / "moved")
    s.folder.mkdir()
    shutil.move(kept, s.folder / "inner")


@data
def rows_hostile(s: Scene) -> None:
    """Rows of wrong types, with unsafe text, of one huge line, or nested."""
    path = s.file()
    pool = [json.dumps({EVIL: EVIL}), *VALUES, '{"prompt": 1, "completion": NaN}', "\x00" * 99]
    pool += ["a,a,a\n1,2,3", f'"{"x" * 300_000}",1', '{"prompt": "x"}\n' * 3 + "{", "a\n\x1b[31m,b"]
    text = s.rng.choice(pool)
    path.write_bytes(text.encode("utf-8", "surrogatepass") * s.rng.choice([1, 1, 50]))


@data
def rows_in_another_encoding(s: Scene) -> None:
    """UTF-16, a byte order mark, or bytes that are no text."""
    raw = s.file().read_bytes()
    forms = [raw.decode().encode("utf-16"), b"\xef\xbb\xbf" + raw, raw + b"\xff\xfe", b"PAR1" + raw]
    s.file().write_bytes(s.rng.choice(forms))


@data
def another_ending(s: Scene) -> None:
    """The ending promises another format."""
    path = s.file()
    path.rename(
        path.with_suffix(s.rng.choice([".parquet", ".csv", ".jsonl", ".json", ".tsv", ".txt"]))
    )
