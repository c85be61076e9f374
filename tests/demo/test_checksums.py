"""A damaged file of the embedded model is found, and named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lora_magic.demo.checksums import NAME, verify_checksums, write_checksums
from lora_magic.errors import BaseModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.json").write_text("{}")
    (tmp_path / "two.safetensors").write_bytes(bytes(range(256)))
    write_checksums(tmp_path)
    return tmp_path


def test_untouched_files_are_accepted(folder: Path) -> None:
    verify_checksums(folder)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_the_listing_is_read_by_sha256sum(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", NAME], cwd=folder, check=True)


def test_one_changed_bit_is_found_and_the_file_named(folder: Path) -> None:
    path = folder / "two.safetensors"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(BaseModelError, match=r"two\.safetensors has sha256") as caught:
        verify_checksums(folder)
    assert "one.json" not in str(caught.value)


def test_all_faults_are_reported_at_once(folder: Path) -> None:
    (folder / "one.json").write_text("[]")
    (folder / "two.safetensors").unlink()
    with pytest.raises(BaseModelError, match=r"one\.json has sha256.*two\.safetensors is missing"):
        verify_checksums(folder)


def test_a_missing_listing_is_an_error_that_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="pip install"):
        verify_checksums(tmp_path)
