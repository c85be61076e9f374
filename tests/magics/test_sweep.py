"""`%lora sweep`: lists on a line, one value where arms share it, and the arms while they train."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lora_magic.errors import CommandError
from lora_magic.magics.aliases import verb_for
from lora_magic.magics.completion import offer
from lora_magic.magics.parser import help_for
from lora_magic.magics.progress import LiveReporter
from lora_magic.magics.verbs import VERBS
from lora_magic.training.reporter import RunPlan
from tests.views.samples import sweep, swept

ROWS = [("a", "b")]


def swept_with(shell: Any, session: Any, flags: str) -> dict[str, Any]:
    """The keywords that a line gives to the session."""
    shell.user_ns["rows"] = ROWS
    shell.run(f"%lora sweep best --data rows {flags}")
    verb, args, keywords = session.last
    assert (verb, args) == ("sweep", ("best",))
    assert keywords.pop("data") is ROWS
    assert keywords.pop("variables") == {"data": "rows"}
    del keywords["reporter"]
    return keywords  # type: ignore[no-any-return]  # of the call


@pytest.mark.parametrize(
    ("flags", "keywords"),
    [
        ("--rank 4,8,16", {"rank": [4, 8, 16]}),
        ("--rank 4, 8 --lr 1e-3,3e-3", {"rank": [4, 8], "lr": [1e-3, 3e-3]}),
        ("--rank 4 --rank 8", {"rank": [4, 8]}),
        ("--method lora,dora --dora", {"method": ["lora", "dora"], "dora": True}),
        ("--targets attention,all-linear", {"targets": ["attention", "all-linear"]}),
        ("--targets q_proj,v_proj", {"targets": ["q_proj,v_proj"]}),
        (
            "--targets q_proj,v_proj --targets all-linear --targets 're:a(b,c)'",
            {"targets": ["q_proj,v_proj", "all-linear", "re:a(b,c)"]},
        ),
        ("--rank-pattern q=2,v=4", {"rank_pattern": ["q=2,v=4"]}),
        (
            "--seeds 3 --steps 60 --eval 0.2 --batch-size 8",
            {"seeds": 3, "steps": 60, "eval": 0.2, "batch_size": 8},
        ),
        (
            "--minutes 5 --no-halving --finish --resume --replace",
            {"minutes": 5, "no_halving": True, "finish": True, "resume": True, "replace": True},
        ),
    ],
)
def test_a_line_is_one_call_with_lists(
    shell: Any, session: Any, flags: str, keywords: dict[str, Any]
) -> None:
    assert swept_with(shell, session, flags) == keywords


def test_what_is_a_variable_is_passed_on_with_its_name(shell: Any, session: Any) -> None:
    shell.user_ns |= {"rows": ROWS, "_": ROWS, "others": [("c", "d")], "pair": tuple, "share": 0.2}
    shell.run("%lora sweep best --data rows --eval others --map pair --rank 4,8")
    assert session.last[2]["variables"] == {"data": "rows", "eval": "others", "map_": "pair"}
    shell.run("%lora sweep best --data no/such.csv --eval 0.2 --rank 4,8")
    assert session.last[2]["variables"] == {}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--steps 10,20", "--steps: expected one value, which all arms share, got '10,20'"),
        ("--seeds 2,3", "--seeds: expected one value"),
        ("--minutes 1,2", "--minutes: expected one value"),
        ("--rank 4,x", "--rank: 'x' is not a whole number"),
        ("--lr find", "--lr: 'find' is not a number"),
        ("--targets attention,q_proj", "repeat the flag for each choice"),
    ],
)
def test_a_list_where_none_belongs_is_told_in_one_line(
    shell: Any, session: Any, flags: str, says: str
) -> None:
    with pytest.raises(CommandError) as raised:
        swept_with(shell, session, flags)
    assert says in str(raised.value)
    assert session.calls == []


def test_rows_in_the_cell_are_swept_over(shell: Any, session: Any) -> None:
    shell.run("%%lora sweep best --rank 4,8\na => b")
    assert session.last[2]["text"] == "a => b\n"
    with pytest.raises(CommandError, match=r"%lora sweep best: no rows"):
        shell.run("%lora sweep best --rank 4,8")


@pytest.mark.parametrize("word", ["tune", "grid", "search", "hpo", "grid_search", "sweep"])
def test_words_that_people_try_lead_to_it(word: str) -> None:
    assert verb_for(word, VERBS) == "sweep"


def test_its_flags_and_their_values_are_completed() -> None:
    known = SimpleNamespace(names=lambda thing, begun: [])
    flags = offer("%lora sweep best --no", VERBS, known)
    assert flags is not None
    assert {found.text for found in flags.candidates} == {"--norms", "--no-halving"}
    methods = offer("%lora sweep best --method lo", VERBS, known)
    assert methods is not None
    assert [found.text for found in methods.candidates] == ["lora"]


def test_its_help_says_how_to_type_several_values() -> None:
    text = help_for(VERBS["sweep"])
    assert "--rank N,…" in text
    assert "--lr X,…" in text
    assert "--steps N " in text
    assert "--targets q_proj,v_proj is one choice of two modules" in text


def test_the_arms_are_shown_in_one_place_and_not_too_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[dict[str, Any]] = []
    handle = SimpleNamespace(update=lambda bundle, raw: shown.append(bundle))
    monkeypatch.setattr("lora_magic.magics.progress.display", lambda *a, **k: handle)
    now = [0.0]
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True))
    reporter = LiveReporter(shell, clock=lambda: now[0])
    record = sweep(swept(1, 0.9), swept(2, 0.7), chosen=None)
    asked = 0

    def so_far() -> Any:
        nonlocal asked
        asked += 1
        return record

    reporter.start(RunPlan("best", "best: 2 arms"))
    for _ in range(100):
        now[0] += 0.01
        reporter.arms(so_far)
    assert 1 <= asked <= 6
    assert "Sweep best" in shown[-1]["text/html"]
    reporter.finish(record)  # type: ignore[arg-type]  # it displays itself, as a summary does
    assert shown[-1] == record._repr_mimebundle_()
