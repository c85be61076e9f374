"""The oldest releases that are tested are the oldest that are allowed."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

TOP = Path(__file__).parent.parent
PINS = TOP / "tests" / "lower-bounds.txt"

#: Not pinned, with the reason.
FREE = {
    "torch": "the tests run on the build for the CPU that is at hand",
}


def allowed() -> dict[str, Requirement]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    every = [*project["dependencies"], *extras["gguf"], *extras["ray"]]
    return {found.name: found for found in map(Requirement, every)}


def pinned() -> dict[str, Requirement]:
    lines = PINS.read_text(encoding="utf-8").splitlines()
    found = (Requirement(line) for line in lines if line and not line.startswith("#"))
    return {requirement.name: requirement for requirement in found}


def bound(requirement: Requirement, operator: str) -> str:
    """The version after that operator; `==6.17.*` pins the series that `>=6.17` begins with."""
    (version,) = (part.version for part in requirement.specifier if part.operator == operator)
    return version.removesuffix(".*")


def test_every_lower_bound_is_pinned_or_free_for_a_reason() -> None:
    lowest = {name: bound(found, ">=") for name, found in allowed().items()}
    tested = {name: bound(found, "==") for name, found in pinned().items()}
    assert tested == {name: version for name, version in lowest.items() if name not in FREE}
    assert set(FREE) <= set(lowest)
