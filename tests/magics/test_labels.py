"""`%lora load … --labels`: names, a number, or a variable of the notebook."""

from __future__ import annotations

from typing import Any

import pytest

from lora_magic.errors import CommandError
from tests.magics.conftest import FakeSession, TestingShell


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("negative,positive", "negative,positive"),
        ('"very bad,very good"', "very bad,very good"),
        ("3", "3"),
        ("moods", ["sad", "glad"]),
        ("kept.moods", ["sad", "glad"]),
    ],
)
def test_labels_are_as_typed_or_what_a_variable_holds(
    typed: str, given: Any, shell: TestingShell, session: FakeSession
) -> None:
    shell.run("import types; moods = ['sad', 'glad']; kept = types.SimpleNamespace(moods=moods)")
    shell.run(f"%lora load a/b --task classification --labels {typed}")
    assert session.last == ("load", ("a/b",), {"task": "classification", "labels": given})


def test_a_variable_that_is_not_there_is_told_with_the_near_one(
    shell: TestingShell, session: FakeSession
) -> None:
    shell.run("moods = ['sad', 'glad']")
    with pytest.raises(CommandError, match=r"'mods' is not defined.*Did you mean 'moods'"):
        shell.run("%lora load a/b --task classification --labels mods")
    with pytest.raises(CommandError, match="is an expression"):
        shell.run('%lora load a/b --task classification --labels "set(moods)"')
    assert session.calls == []


def test_the_flags_of_load_are_arguments_of_the_method(
    shell: TestingShell, session: FakeSession
) -> None:
    shell.run("%lora load demo --task causal")
    assert session.last == ("load", ("demo",), {"task": "causal"})
