"""Files that a stranger may have written: refused by what they are, in no time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lora_magic.reading import (
    UnreadableError,
    bytes_of,
    free_memory,
    parse_json,
    read_bytes,
    read_json,
)


def test_a_regular_file_is_read_with_its_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_bytes(tmp_path / "b") == b"abc"
    assert bytes_of(tmp_path / "b") == 3


@pytest.mark.parametrize("read", [read_bytes, bytes_of, read_json])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("pipe", "a named pipe"),
        ("folder", "a folder"),
        ("zero", "a device"),
        ("missing", "No such file"),
        ("loop", "symbolic links"),
        ("nul", "null"),
        ("long", "too long"),
    ],
)
def test_anything_else_is_refused_by_what_it_is(
    kind: str, words: str, read: object, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "zero":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case "nul":
            path = tmp_path / "a\0b"
        case "long":
            path = tmp_path / ("x" * 300)
    assert callable(read)
    with pytest.raises(UnreadableError, match=f"(?i){words}"):
        read(path)


def test_a_file_larger_than_the_memory_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(UnreadableError, match=r"it has .* expected at most"):
        read_bytes(tmp_path / "sparse")
    with pytest.raises(UnreadableError, match="expected at most 200 MB"):
        read_json(tmp_path / "sparse")


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"r": 4}).encode())
    assert read_json(tmp_path / "a.json") == {"r": 4}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 20_000,
        "NaN",
        "[-Infinity]",
        "1e999",
        "9" * 5_000,
        '{"a": 1} 2',
    ],
)
def test_json_that_is_invalid_deep_or_not_finite_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        parse_json(text)


def test_bytes_that_are_not_text_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{\n"a": "\xff"}')
    with pytest.raises(UnreadableError, match=r"line 2 is not UTF-8 \(byte 0xff\)"):
        read_json(tmp_path / "a.json")


def machine(root: Path, files: dict[str, str]) -> Path:
    """A system whose memory is described by these files, with 8,000 kB available."""
    for name, text in {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group(path: str, most: str, used: int, idle: int = 0) -> dict[str, str]:
    """A control group of the second version."""
    at = f"sys/fs/cgroup/{path}"
    return {
        f"{at}/memory.max": most,
        f"{at}/memory.current": str(used),
        f"{at}/memory.stat": f"anon 1\ninactive_file {idle}\n",
    }


OLD = {
    "proc/self/cgroup": "5:cpu:/a\n4:memory:/a",
    "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4000",
    "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "3000",
    "sys/fs/cgroup/memory/a/memory.stat": "total_inactive_file 500",
}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 8_192_000),
        ({"proc/self/cgroup": "0::/a", **group("a", "max", 3000)}, 8_192_000),
        ({"proc/self/cgroup": "0::/a", **group("a", "4000", 3000)}, 1000),
        ({"proc/self/cgroup": "0::/a", **group("a", "4000", 3000, 2000)}, 3000),
        ({"proc/self/cgroup": "0::/a/b", **group("a/b", "max", 1), **group("a", "90", 9)}, 81),
        ({"proc/self/cgroup": "0::/of/the/host", **group("", "4000", 3900)}, 100),
        ({"proc/self/cgroup": "0::/a", **group("a", "4000", 5000)}, 0),
        ({"proc/self/cgroup": "0::/a", **group("a", "90000000", 0)}, 8_192_000),
        (OLD, 1500),
    ],
)
def test_a_container_has_no_more_free_than_its_groups_leave(
    files: dict[str, str], free: int, tmp_path: Path
) -> None:
    assert free_memory(machine(tmp_path, files)) == free


def test_a_system_that_does_not_tell_has_an_unknown_memory(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None
