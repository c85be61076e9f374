"""The locked versions: complete, universal, within pyproject.toml's bounds, and used everywhere.

Resolving needs the registry, so it is not tested; binder/constraints.txt names its command.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lora_magic.versions import TESTED
from tests.test_bounds import PINS

TOP = Path(__file__).parent.parent
LOCK = TOP / "binder" / "constraints.txt"
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]

PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"},
    "macOS": {"sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix"},
    "Windows": {"sys_platform": "win32", "platform_machine": "AMD64", "os_name": "nt"},
}


def environment(python: str, system: str) -> dict[str, str]:
    """The variables of a marker on that platform."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "platform_system": system.replace("macOS", "Darwin"),
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "extra": "",
        **SYSTEMS[system],
    }


def pins() -> list[Requirement]:
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned(name: str, where: dict[str, str]) -> list[str]:
    """The pinned versions of a library on a platform: one, or none if it is not needed."""
    return [
        next(iter(found.specifier)).version
        for found in pins()
        if canonicalize_name(found.name) == canonicalize_name(name)
        and (found.marker is None or found.marker.evaluate(where))
    ]


def named() -> Iterator[Requirement]:
    """Every requirement of pyproject.toml, with the extras."""
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for requirement in map(Requirement, group):
            if requirement.name != PROJECT["name"]:
                yield requirement


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_one_version_within_its_bounds(python: str, system: str) -> None:
    where = environment(python, system)
    for requirement in named():
        found = pinned(requirement.name, where)
        assert len(found) == 1, f"{requirement.name}: {found}"
        assert found[0] in requirement.specifier, requirement.name


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_their_dependencies_are_pinned_too(python: str, system: str) -> None:
    where = environment(python, system)
    loose = {
        f"{library} needs {requirement}"
        for library in (
            "transformers",
            "peft",
            "accelerate",
            "bitsandbytes",
            "ipywidgets",
            "plotly",
        )
        for requirement in map(Requirement, requires(library) or [])
        if requirement.marker is None or requirement.marker.evaluate(where)
        if len(pinned(requirement.name, where)) != 1
    }
    assert loose == set()


def test_every_line_of_the_lock_is_one_exact_version() -> None:
    assert all(str(found.specifier).startswith("==") for found in pins())
    assert all(len(found.specifier) == 1 and "*" not in str(found.specifier) for found in pins())


def test_the_lock_names_its_command_and_no_path_of_the_machine_that_made_it() -> None:
    text = LOCK.read_text(encoding="utf-8")
    command = "uv pip compile pyproject.toml --extra test --universal --python-version 3.11"
    assert command in text
    assert command in (TOP / "README.md").read_text(encoding="utf-8")
    assert "://" not in text
    assert " /" not in text


def test_the_tested_releases_are_those_of_the_lock_and_of_the_lower_bounds() -> None:
    where = environment("3.11", "Linux")
    lines = PINS.read_text(encoding="utf-8").splitlines()
    lowest = {r.name: r.specifier for r in map(Requirement, filter(_is_pin, lines))}
    for library, (oldest, newest) in TESTED.items():
        assert pinned(library, where) == [newest], library
        assert library not in lowest or oldest in lowest[library], library


def _is_pin(line: str) -> bool:
    return bool(line) and not line.startswith("#")


def test_every_command_that_sets_the_project_up_is_locked() -> None:
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    commands = [line for line in readme.splitlines() if line.startswith("python -m pip install")]
    assert len(commands) == 3
    assert all("-c binder/constraints.txt" in command for command in commands)
    binder = (TOP / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert "-c constraints.txt" in binder


def test_every_path_that_ci_names_is_there() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (TOP / ".ci").iterdir())
    named = {path.rstrip("/.") for path in re.findall(r"(?<!\S)tests/[\w./-]+", text)}
    assert len(named) > 5
    assert [path for path in sorted(named) if not (TOP / path).exists()] == []
