"""`compare` over the prompts of data: which are answered, which are not, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lora_magic.compare.comparison import Comparison, Unfinished
from lora_magic.errors import CommandError, DataError, PromptError, StateError
from lora_magic.state.session import Session
from tests.classifiers import saved, tiny_of
from tests.conftest import Saver, perturb

ROWS = ["Hello there", "", "Who is it?", "Hello there", "  ", "Where?"]
PROMPTS = ("Hello there", "Who is it?", "Where?")
NOTES = (
    "rows 2, 5: no prompt, so not answered",
    "1 prompt repeats an earlier one, which is answered once",
)


@pytest.fixture
def session(saved_model: Saver) -> Session:
    made = Session()
    made.load(str(saved_model()))
    for name in ("one", "two"):
        made.attach(name, rank=2)
        perturb(made, name)
    return made


def as_frame(_: Path) -> Any:
    return {"data": pd.DataFrame({"id": range(6), "body": ROWS}), "column": "body"}


def as_list(_: Path) -> Any:
    return {"data": ROWS}


def as_dicts(_: Path) -> Any:
    return {"data": [{"prompt": text, "other": "x"} for text in ROWS]}


def as_file(folder: Path) -> Any:
    (folder / "prompts.csv").write_text("\n".join(["id,body", *(f'1,"{text}"' for text in ROWS)]))
    return {"data": str(folder / "prompts.csv"), "column": "body"}


@pytest.mark.parametrize("given", [as_frame, as_list, as_dicts, as_file])
def test_every_prompt_of_the_data_is_answered_once_and_the_rest_is_said(
    session: Session, tmp_path: Path, given: Callable[[Path], Any]
) -> None:
    found: Any = session.compare(**given(tmp_path), max_new_tokens=4)
    assert isinstance(found, Comparison)
    assert (found.prompts, found.notes) == (PROMPTS, NOTES)
    assert len(found.to_frame()) == 9
    for note in NOTES:
        assert note in str(found)


def test_an_answer_does_not_depend_on_the_other_prompts(session: Session) -> None:
    flags: dict[str, Any] = {"max_new_tokens": 8, "temperature": 0.9, "seed": 3, "scores": True}
    together: Any = session.compare(data=ROWS, **flags)
    alone: list[Any] = [session.compare(prompt, **flags) for prompt in PROMPTS]
    assert [p.text for p in together.panes] == [p.text for one in alone for p in one.panes]
    scored = [answer for one in alone for answer in one.scores.answers]
    assert list(together.scores.answers) == scored


def test_kept_rows_give_their_prompts(session: Session) -> None:
    session.data("greetings", "Hello there => Hi\nWho is it? => Me")
    found: Any = session.compare(data="greetings", max_new_tokens=2)
    assert found.prompts == PROMPTS[:2]
    with pytest.raises(CommandError, match="--column x: the rows kept as greetings have no column"):
        session.compare(data="greetings", column="x")


def test_prompts_that_are_typed_twice_are_answered_once_and_that_is_said(session: Session) -> None:
    found: Any = session.compare("Hi", "Hello", "Hi", "Hi", max_new_tokens=2)
    assert found.prompts == ("Hi", "Hello")
    assert found.notes == ("2 prompts repeat an earlier one, which is answered once",)
    assert session.compare("Hi", "Hello", max_new_tokens=2).notes == ()


@pytest.mark.parametrize(
    ("given", "error", "fault"),
    [
        ({"data": ["", " "]}, DataError, r"every prompt of the data is blank \(2\)"),
        ({"data": []}, DataError, "the data is empty"),
        ({"data": [{"a": "x", "b": "y"}]}, DataError, 'name the one to answer: --column "a"'),
        ({"data": [{"a": "x"}], "column": "b"}, DataError, "--column 'b': no such column"),
        ({"data": ["Hi", ["x"]]}, DataError, "row 2"),
        ({"column": "b"}, CommandError, "--column b names a column of --data; omit it"),
        ({"data": ["Hi", "word " * 900]}, PromptError, "too long for a context"),
    ],
)
def test_data_that_cannot_be_compared_is_one_error(
    session: Session, given: Any, error: type[Exception], fault: str
) -> None:
    with pytest.raises(error, match=fault) as raised:
        session.compare(**given)
    assert "\n" not in str(raised.value)


def test_prompts_and_data_are_not_mixed(session: Session) -> None:
    with pytest.raises(CommandError, match="both prompts and data are given; pass one"):
        session.compare("Hi", data=ROWS)
    with pytest.raises(StateError, match="load"):
        Session().compare(data=ROWS)


def test_progress_counts_the_prompts_that_are_begun(session: Session) -> None:
    seen: list[Unfinished] = []

    def watch(written: Callable[[], Unfinished]) -> bool:
        seen.append(written())
        return False

    session.compare(data=ROWS, max_new_tokens=2, watch=watch)
    assert {one.total for one in seen} == {3}
    assert [len(one.begun) for one in seen] == [1, 1, 1, 2, 2, 3, 3], (
        "the base's first token, then all"
    )


@pytest.fixture
def classifier(tmp_path: Path) -> Session:
    made = Session()
    folder = saved(tiny_of("masked", "bert", num_labels=2), tmp_path / "base")
    made.load(folder, task="classification", labels="day,night")
    return made


def test_a_classifiers_texts_come_from_data_too(classifier: Session) -> None:
    found: Any = classifier.compare(data=ROWS)
    assert (found.prompts, found.notes) == (PROMPTS, NOTES)
    assert all(note in str(found) for note in NOTES)
    many = classifier.compare(data=[f"text {at}" for at in range(13)])
    assert "3 more prompts are not shown; .to_frame() has them all." in str(many)


def test_a_stopped_classification_keeps_the_texts_before(classifier: Session) -> None:
    calls: list[int] = []

    def watch(_: Any) -> bool:
        calls.append(1)
        return len(calls) == end

    end = 2
    found: Any = classifier.compare(data=ROWS, watch=watch)
    assert (found.prompts, found.stopped) == (PROMPTS[:2], True)
    assert "stopped by you" in found.line
    calls.clear()
    end = 3
    assert not classifier.compare(data=ROWS, watch=watch).stopped  # type: ignore[union-attr]
