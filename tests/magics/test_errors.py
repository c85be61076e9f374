"""A mistake on a line is one line, says what to type, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from lora_magic.errors import AdapterError, CommandError, Interrupted


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("atach pirate", "no verb 'atach'. Did you mean 'attach'?"),
        ("Status", "Did you mean 'status'?"),
        ("xyzzy", "%lora --help"),
        ("attach p --rnk 8", "Unknown flag '--rnk'. Did you mean '--rank'?"),
        ("attach p -rank 8", "Unknown flag '-rank'. Did you mean '--rank'?"),
        ("attach p --ran 8", "Unknown flag '--ran'. Did you mean '--rank'?"),
        ("attach p --rank eight", "'eight' is not a whole number"),
        ("attach p --alpha much", "'much' is not a number"),
        ("attach p --rank", "--rank: expected a value"),
        ("attach p --replace=yes", "--replace"),
        ("attach", "NAME is missing"),
        ("swap", "NAME is missing"),
        ("attach a b c", "unexpected argument 'b c' (quote a value with a space)"),
        ("attach a --targets q v", "separate several values with commas"),
        ("attach a -r 8", "Did you mean '--rank'?"),
        ("attach a --lora_r 8", "Did you mean '--rank'?"),
        ("attach a --target_modules q_proj", "Did you mean '--targets'?"),
        ("train a --learning_rate 1", "Did you mean '--lr'?"),
        ("train a --num_train_epochs 1", "Did you mean '--epochs'?"),
        ("load demo --load_in_4bit", "Did you mean '--4bit'?"),
        ("status now", "unexpected argument 'now'"),
        ("attach 'a", "unclosed quote"),
        ("attach a{m}", "'m' is not defined"),
        ("attach a{1+m}{m+1}", "{m+1} is an expression"),
        ("attach a{text.length}", "str has no 'length'"),
        ("attach a{txt}", "Did you mean 'text'?"),
        ("ask --sed 3 hi", "Unknown flag '--sed'. Did you mean '--seed'?"),
        ("ask --seed three hi", "'three' is not a whole number"),
        ("ask --out x hi", "NAME = %lora ask"),
        ("use", "VAR is missing"),
    ],
)
def test_a_mistake_is_one_line_with_the_way_out(
    shell: Any, session: Any, line: str, told: str
) -> None:
    shell.user_ns["text"] = "words"
    with pytest.raises(CommandError) as error:
        shell.run(f"%lora {line}")
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert session.calls == []


def test_every_unknown_flag_is_named_at_once(shell: Any) -> None:
    with pytest.raises(CommandError, match=r"'--rnk'.*'--alhpa'.*'--bogus'"):
        shell.run("%lora attach p --rnk 8 --alhpa 2 --bogus")


def test_a_body_where_there_is_nothing_to_hold(shell: Any, session: Any) -> None:
    with pytest.raises(CommandError, match="%%lora status takes no text below it"):
        shell.run("%%lora status\nrows")
    assert session.calls == []
    shell.run("%%lora status\n\n")
    assert session.last[0] == "status"


@pytest.mark.parametrize("name", ["not-a-name", "1st", "a.b"])
def test_out_needs_a_variables_name(shell: Any, session: Any, name: str) -> None:
    with pytest.raises(CommandError, match="not a variable's name"):
        shell.run(f"%%lora ask --out {name}\nhi")
    assert session.calls == []


def test_an_error_shows_as_one_line_and_stops_the_cell(
    shell: Any, session: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise AdapterError(f"No adapter {name!r}. Type %lora attach {name}")

    session.answers["swap"] = missing
    ran = shell.run_cell("%lora swap calm\nreached = True")
    assert isinstance(ran.error_in_exec, AdapterError)
    assert "reached" not in shell.user_ns
    shown = capsys.readouterr()
    assert (shown.out + shown.err).strip() == (
        "AdapterError: No adapter 'calm'. Type %lora attach calm"
    )


def test_a_fault_of_ours_passes_through_whole(shell: Any, session: Any) -> None:
    def broken(prompt: str, **_: object) -> None:
        raise ZeroDivisionError

    session.answers["ask"] = broken
    with pytest.raises(ZeroDivisionError):
        shell.run("%lora ask hi")


def test_an_interrupt_is_one_line_that_names_the_verb(shell: Any, session: Any) -> None:
    def stopped(prompt: str, **_: object) -> None:
        raise KeyboardInterrupt

    session.answers["ask"] = stopped
    with pytest.raises(Interrupted, match=r"^%lora ask was stopped; .*type: %lora$"):
        shell.run("%lora ask hi")


def test_names_are_expanded_outside_prompts(shell: Any, session: Any) -> None:
    shell.run("for r in (1, 2):\n    %lora attach a{r} --rank {r}")
    assert session.calls == [("attach", ("a1",), {"rank": 1}), ("attach", ("a2",), {"rank": 2})]
    shell.run("import types\nc = types.SimpleNamespace(d='my file.csv')")
    shell.run("%lora open {c.d} {{x}}")
    assert session.last[1:] == (("my file.csv",), {"name": "{x}"})
    shell.run("def f(rank):\n    %lora attach b --rank {rank}\nf(5)")
    assert session.last == ("attach", ("b",), {"rank": 5})


def test_a_dollar_is_never_a_variable(shell: Any, session: Any) -> None:
    shell.run("x = 5\n%lora open $x")
    assert session.last[1:] == (("$x",), {})
