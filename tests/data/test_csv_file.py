"""CSV as spreadsheets, databases and scripts write it, against what was written."""

from __future__ import annotations

import csv
import gzip
import io
import random
from pathlib import Path
from typing import Any

import pytest

from lora_magic.data.sources import read_data
from lora_magic.errors import DataError

SIGNS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}

PAIRS = [
    ("What is 1,5 + 2,5?", "4; exactly"),
    ("Pipe | and\ttab", 'He said "yes".'),
    ("two\nlines", "None"),
    ("007", "NA"),
    ("ünï ☃ 😀", "null"),
]


def written(sign: str, rows: list[tuple[str, str]] = PAIRS, **how: Any) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=sign, **how).writerows([("prompt", "completion"), *rows])
    return text.getvalue()


def pairs(path: Path, **flags: Any) -> list[tuple[str | None, str]]:
    return [(row.prompt, row.completion) for row in read_data(path, **flags)]


@pytest.mark.parametrize("ending", ["csv", "tsv", "txt", "CSV", "csv.gz", "tsv.gz"])
@pytest.mark.parametrize("sign", SIGNS)
def test_the_sign_between_fields_is_found_whatever_the_file_is_called(
    sign: str, ending: str, tmp_path: Path
) -> None:
    path, raw = tmp_path / f"a.{ending}", written(SIGNS[sign]).encode()
    path.write_bytes(gzip.compress(raw) if ending.endswith("gz") else raw)
    assert pairs(path, format="csv" if ending == "txt" else None) == PAIRS


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize(
    ("line_end", "quoting"),
    [
        ("\n", csv.QUOTE_ALL),
        ("\n", csv.QUOTE_MINIMAL),
        ("\r\n", csv.QUOTE_MINIMAL),
        ("\r", csv.QUOTE_ALL),
    ],
)
def test_every_way_of_quoting_and_ending_lines_gives_the_rows(
    sign: str, line_end: str, quoting: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(written(SIGNS[sign], lineterminator=line_end, quoting=quoting).encode())
    assert pairs(path) == PAIRS


def test_random_fields_come_back_as_they_were_written(tmp_path: Path) -> None:
    choice = random.Random(0)
    path = tmp_path / "a.csv"
    for sign in SIGNS.values():
        rows = [
            ("".join(choice.choices('ab,;|\t"\n é', k=9)) + "x", "y" + choice.choice(',;|"'))
            for _ in range(60)
        ]
        path.write_bytes(written(sign, rows).encode())
        assert pairs(path) == rows


@pytest.mark.parametrize("first", ["sep=;\n", "sep=;\r\n", '"sep=;"\n', "\ufeffSEP=;\n"])
def test_a_line_that_names_the_sign_is_no_row_but_is_counted(first: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes((first + "prompt;completion\na,b;c,d\n").encode())
    (row,) = read_data(path)
    assert (row.prompt, row.completion, row.line) == ("a,b", "c,d", 3)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(written(",").encode(encoding))
    assert pairs(tmp_path / "a.csv") == PAIRS
    (tmp_path / "a.csv").write_bytes(b"\xfe\xff" + written(";").encode("utf-16-be"))
    assert pairs(tmp_path / "a.csv") == PAIRS


def test_windows_bytes_are_named_as_they_would_read_and_how_to_read_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("prompt,completion\nq,café au lait\n".encode("cp1252"))
    with pytest.raises(DataError) as caught:
        read_data(tmp_path / "a.csv")
    told = str(caught.value)
    assert "a.csv: line 2 is not UTF-8 (byte 0xe9)" in told
    assert "'q,café au lait'" in told
    assert 'encoding="cp1252"' in told


def test_utf_16_without_its_mark_is_not_taken_for_text(tmp_path: Path) -> None:
    text = "prompt,completion\n" + "ä question,an answer\n" * 20
    (tmp_path / "a.csv").write_bytes(text.encode("utf-16-le"))
    with pytest.raises(DataError, match=r"a\.csv: .*"):
        read_data(tmp_path / "a.csv")


def test_a_field_of_megabytes_is_read_and_the_librarys_limit_is_as_before(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    long = "word " * 1_000_000
    (tmp_path / "a.csv").write_text(f'prompt,completion\nsummarise,"{long}"\n')
    assert pairs(tmp_path / "a.csv") == [("summarise", long)]
    assert csv.field_size_limit() == before


def test_one_error_names_every_line_at_fault_and_skip_bad_lists_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('prompt,completion\na,b,c\nd,e\n"f"g,h\ni\nj,k\0\nl,m\n')
    with pytest.raises(DataError) as caught:
        read_data(path)
    told = str(caught.value)
    for fault in ("line 2: 3 fields", "line 4: ',' expected", "line 5: 1 fields", "line 6: ch"):
        assert fault in told
    assert "NUL (U+0000)" in told
    assert "--skip-bad" in told
    rows = read_data(path, skip_bad=True)
    assert [(row.prompt, row.completion, row.line) for row in rows] == [
        ("d", "e", 3),
        ("l", "m", 7),
    ]
    assert [fault.partition(":")[0] for fault in rows.skipped] == [
        "line 2", "line 4", "line 5", "line 6",
    ]  # fmt: skip
    assert "4 rows skipped (line 2: 3 fields" in rows.note


def test_where_no_row_can_be_read_skipping_is_not_offered_and_does_not_help(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion\na,b,c\n")
    for skip in (False, True):
        with pytest.raises(DataError, match="line 2: 3 fields") as caught:
            read_data(path, skip_bad=skip)
        assert "--skip-bad" not in str(caught.value)


def test_a_quote_that_is_never_closed_says_that_it_takes_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('prompt,completion\na,b\nc,"d\ne,f\n')
    rows = read_data(path, skip_bad=True)
    assert [row.prompt for row in rows] == ["a"]
    assert "line 3" in rows.note
    assert "never closed" in rows.note


def test_a_frames_index_has_no_name_and_is_told_as_not_used(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",prompt,completion\n0,q,a\n")
    rows = read_data(tmp_path / "a.csv")
    assert [(row.prompt, row.completion) for row in rows] == [("q", "a")]
    assert rows.unused == ("column 1",)


def test_one_column_of_text_has_no_sign(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text\n"a, b; c"\nd | e\n')
    assert pairs(tmp_path / "a.csv") == [(None, "a, b; c"), (None, "d | e")]


def test_a_packed_file_is_unpacked_up_to_the_free_memory_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"prompt,completion\nq," + b"a" * 10_000_000))
    monkeypatch.setattr("lora_magic.reading.free_memory", lambda: 1_000_000)
    with pytest.raises(DataError, match=r"a\.csv\.gz: it unpacks to more than 1"):
        read_data(path)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"gzip cannot unpack it"):
        read_data(path)


@pytest.mark.parametrize("sign", SIGNS)
def test_a_text_file_with_a_header_of_known_columns_is_a_table(sign: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(written(SIGNS[sign]).encode())
    assert pairs(tmp_path / "a.txt") == PAIRS
    assert pairs(tmp_path / "a.txt", format="text")[0][0] is None


def test_a_file_without_a_header_is_told_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Hello,Hi there\nBye,See you\n")
    with pytest.raises(DataError, match=r"If line 1 is a row, add a line with the column names"):
        read_data(tmp_path / "a.csv")


@pytest.mark.parametrize(("first", "name"), [(b"PK\x03\x04", "zip"), (b"BZh9", "bzip2")])
def test_a_file_that_another_program_packed_is_told_by_its_first_bytes(
    first: bytes, name: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(first + b"\xff" * 20)
    with pytest.raises(DataError, match=f"packed by {name}: unpack it"):
        read_data(tmp_path / "a.csv")
