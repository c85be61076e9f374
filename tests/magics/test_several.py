"""`%lora train a,b,c` and `%%lora_train a,b,c` call the session with a list of names."""

from __future__ import annotations

import pytest

from lora_magic.errors import CommandError
from tests.magics.conftest import FakeSession, TestingShell


@pytest.mark.parametrize("names", ["a,b,c", "a, b, c", "a ,b , c", '"a, b, c"'])
def test_names_with_commas_are_a_list(
    shell: TestingShell, session: FakeSession, names: str
) -> None:
    shell.run(f"%%lora_train {names} --steps 3\nWhat? => Arr!")
    shell.run(f"rows = [1]\n%lora train {names} --data rows")
    (verb, cell, given), (_, line, _) = session.calls
    assert verb == "train"
    assert (cell, line) == ((["a", "b", "c"],), (["a", "b", "c"], [1]))
    assert (given["text"], given["steps"]) == ("What? => Arr!\n", 3)


def test_one_name_is_text_and_a_second_word_is_not_a_name(
    shell: TestingShell, session: FakeSession
) -> None:
    shell.run("%%lora_train pirate\nWhat? => Arr!")
    assert session.last[1] == ("pirate",)
    with pytest.raises(CommandError, match=r"unexpected argument 'mails\.csv'"):
        shell.run("%lora train pirate mails.csv")
    with pytest.raises(CommandError, match=r"Type %%lora_train a,b with rows below it"):
        shell.run("%lora train a,b")
